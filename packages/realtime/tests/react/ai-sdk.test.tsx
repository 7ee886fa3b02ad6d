// @vitest-environment happy-dom
/** The real `useChat` of the AI SDK, on a channel whose server is the test. */

import { useChat } from '@ai-sdk/react'
import { act, cleanup, renderHook, waitFor } from '@testing-library/react'
import type { UIMessage, UIMessageChunk } from 'ai'
import { afterEach, expect, test } from 'vitest'
import { type Question, RealtimeChatTransport } from '../../src/ai-sdk/index.js'
import { eventually } from '../support/eventually.js'
import { type Bench, connected, settled } from '../support/network.js'
import { append, stream, subscribed } from '../support/page.js'
import '../support/patience.js'

afterEach(cleanup)

const BEGIN: UIMessageChunk[] = [
  { type: 'start', messageId: 'm' },
  { type: 'tool-input-available', toolCallId: 't', toolName: 'weather', input: { city: 'Oslo' } },
  { type: 'tool-output-available', toolCallId: 't', output: { degrees: 7 } },
  { type: 'text-start', id: 'text' },
  { type: 'text-delta', id: 'text', delta: 'It is 7 ' },
]
const REST: UIMessageChunk[] = [
  { type: 'text-delta', id: 'text', delta: 'degrees.' },
  { type: 'text-end', id: 'text' },
  { type: 'finish' },
]

function chat(made: Bench, options: object = {}) {
  const transport = new RealtimeChatTransport({ client: made.client })
  return renderHook(() => useChat({ id: '1', transport, ...options })).result
}

/** Ask, and answer the transport's commands. Returns the question that the agent gets. */
async function ask(made: Bench, result: ReturnType<typeof chat>): Promise<Question> {
  act(() => void result.current.sendMessage({ text: 'How warm is it?' }))
  await subscribed(made)
  const { id, data } = await eventually(() => made.socket.last('publish'))
  made.socket.say({ type: 'ack', id })
  await act(settled)
  return data as Question
}

/** Answer the commands of a transport that looks for a running answer. */
async function resumed(made: Bench, open: () => void): Promise<void> {
  await subscribed(made)
  open()
  await eventually(() => made.socket.last('presence'))
  made.socket.answer()
  await act(settled)
}

function parts(message: UIMessage | undefined): unknown[] {
  return (message?.parts ?? []).map((part) =>
    part.type === 'text' ? part.text : 'output' in part ? [part.type, part.output] : part.type,
  )
}

test('a message is sent to the agent, and its answer is shown as it grows', async () => {
  const made = await connected()
  const result = chat(made)
  const { answer, message, ...question } = await ask(made, result)
  expect(question).toEqual({ chatId: '1', trigger: 'submit-message' })
  expect(message).toMatchObject({ role: 'user', parts: [{ type: 'text', text: 'How warm is it?' }] })
  stream(made, BEGIN, 1, 'open', answer)
  await waitFor(() =>
    expect(parts(result.current.messages[1])).toEqual([['tool-weather', { degrees: 7 }], 'It is 7 ']),
  )
  expect(result.current.status).toBe('streaming')
  append(made, REST, 1, 'complete', answer)
  await waitFor(() => expect(result.current.status).toBe('ready'))
  expect(parts(result.current.messages[1])).toEqual([['tool-weather', { degrees: 7 }], 'It is 7 degrees.'])
  expect(made.socket.last('unsubscribe').topic).toBe('chat/1/default')
})

test('a running answer continues after a reload', async () => {
  const made = await connected()
  const result = chat(made, { resume: true })
  await resumed(made, () => stream(made, BEGIN, 5, 'open', 'a'))
  await waitFor(() => expect(parts(result.current.messages[0])[1]).toBe('It is 7 '))
  append(made, REST, 5, 'complete', 'a')
  await waitFor(() => expect(parts(result.current.messages[0])[1]).toBe('It is 7 degrees.'))
  await waitFor(() => expect(result.current.status).toBe('ready'))
})

test('without a running answer there is nothing to continue', async () => {
  const made = await connected()
  const result = chat(made, { resume: true })
  await resumed(made, () => {})
  await waitFor(() => expect(result.current.status).toBe('ready'))
  expect(result.current.messages).toEqual([])
})

test('stop cancels the answer for everyone', async () => {
  const made = await connected()
  const result = chat(made)
  const { answer } = await ask(made, result)
  stream(made, BEGIN, 1, 'open', answer)
  await waitFor(() => expect(result.current.status).toBe('streaming'))
  await act(() => result.current.stop())
  expect(made.socket.last('cancel').id).toBe(answer)
  await waitFor(() => expect(result.current.status).toBe('ready'))
})

test('an answer that was stopped on another device ends here', async () => {
  const made = await connected()
  const result = chat(made)
  const { answer } = await ask(made, result)
  stream(made, BEGIN, 1, 'open', answer)
  append(made, [], 1, 'cancelled', answer)
  await waitFor(() => expect(result.current.status).toBe('ready'))
  expect(parts(result.current.messages[1])[1]).toBe('It is 7 ')
  expect(result.current.error).toBeUndefined()
})

test('a writer that disappeared is an error', async () => {
  const made = await connected()
  const result = chat(made)
  const { answer } = await ask(made, result)
  stream(made, BEGIN, 1, 'open', answer)
  append(made, [], 1, 'failed', answer)
  await waitFor(() => expect(result.current.status).toBe('error'))
  expect(result.current.error?.message).toContain('interrupted')
})

test('an answer may be plain text', async () => {
  const made = await connected()
  const result = chat(made)
  const { answer } = await ask(made, result)
  stream(made, '', 0, 'open', answer)
  append(made, 'It is ', 0, undefined, answer)
  append(made, '7 degrees.', 1, 'complete', answer)
  await waitFor(() => expect(result.current.status).toBe('ready'))
  expect(parts(result.current.messages[1])).toEqual(['It is 7 degrees.'])
})

test('a refused question is an error, and nothing stays subscribed', async () => {
  const made = await connected()
  const result = chat(made)
  act(() => void result.current.sendMessage({ text: 'May I?' }))
  await subscribed(made)
  const { id } = await eventually(() => made.socket.last('publish'))
  made.socket.say({ type: 'error', code: 'forbidden', message: 'No.', retryable: false, id })
  await waitFor(() => expect(result.current.status).toBe('error'))
  expect(made.socket.last('unsubscribe').topic).toBe('chat/1/default')
})
