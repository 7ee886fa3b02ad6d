// @vitest-environment happy-dom
/** The AI SDK's `useChat` with the real server, and an agent that answers questions of the channel. */
import { useChat } from '@ai-sdk/react'
import { act, cleanup, renderHook, waitFor } from '@testing-library/react'
import type { UIMessage, UIMessageChunk } from 'ai'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { type Question, RealtimeChatTransport } from '../../src/ai-sdk/index.js'
import type { Client, Stream } from '../../src/index.js'
import '../support/patience.js'
import { clientOf, Heard, Server } from '../support/server.js'

const server = new Server()
const clients: Client[] = []

beforeAll(() => server.start())
afterAll(() => server.remove())
afterEach(() => {
  cleanup()
  for (const client of clients.splice(0)) client.disconnect()
})

function client(userId: string): Client {
  const made = clientOf(server, { userId, fetch })
  clients.push(made)
  return made
}

/** A device with the chat open. */
function device(userId: string, chatId: string, resume = false) {
  const transport = new RealtimeChatTransport({ client: client(userId) })
  return renderHook(() => useChat({ id: chatId, transport, resume })).result
}

/** The streams that an agent opens as answers to the questions of a chat. */
async function agent(chatId: string): Promise<Heard<Stream<UIMessageChunk[]>>> {
  const heard = new Heard<Stream<UIMessageChunk[]>>()
  const channel = client('agent').channel(`chat/${chatId}`)
  await channel
    .on('question', async ({ data: { answer } }: { data: Question }) => {
      heard.add(await channel.stream<UIMessageChunk[]>('answer', { id: answer, data: [], persist: true }))
    })
    .subscribe()
  return heard
}

function textOf(message: UIMessage | undefined): string {
  return (message?.parts ?? []).map((part) => (part.type === 'text' ? part.text : '')).join('')
}

const delta = (text: string): UIMessageChunk => ({ type: 'text-delta', id: 't', delta: text })

async function begun(chatId: string) {
  const answers = await agent(chatId)
  const asker = device('ada', chatId)
  act(() => void asker.current.sendMessage({ text: 'Hello?' }))
  const answer = await answers.next()
  await answer.append([{ type: 'start', messageId: 'm' }, { type: 'text-start', id: 't' }, delta('Hel')])
  await waitFor(() => expect(textOf(asker.current.messages[1])).toBe('Hel'))
  return { asker, answer }
}

test('another device continues a running answer, and both see its end', async () => {
  const { asker, answer } = await begun('resume')
  const other = device('ada', 'resume', true)
  await waitFor(() => expect(textOf(other.current.messages[0])).toBe('Hel'))
  await answer.append([delta('lo!'), { type: 'text-end', id: 't' }, { type: 'finish' }])
  await answer.finish()
  for (const each of [asker, other]) {
    await waitFor(() => expect(each.current.status).toBe('ready'))
    expect(textOf(each.current.messages.at(-1))).toBe('Hello!')
  }
  const late = device('ada', 'resume', true)
  await waitFor(() => expect(late.current.status).toBe('ready'))
  expect(late.current.messages).toEqual([])
})

test('stop on one device stops the agent, and ends the answer on the other', async () => {
  const { asker, answer } = await begun('stop')
  const other = device('ada', 'stop', true)
  await waitFor(() => expect(other.current.status).toBe('streaming'))
  const aborted = new Promise((resolve) => answer.signal.addEventListener('abort', resolve))
  await act(() => other.current.stop())
  await aborted
  expect(answer.signal.reason).toMatchObject({ code: 'cancelled' })
  for (const each of [asker, other]) await waitFor(() => expect(each.current.status).toBe('ready'))
})
