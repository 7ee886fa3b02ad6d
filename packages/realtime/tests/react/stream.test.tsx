// @vitest-environment happy-dom
import { act, cleanup, renderHook, waitFor } from '@testing-library/react'
import { afterEach, expect, test } from 'vitest'
import { useStream } from '../../src/react/index.js'
import { connected } from '../support/network.js'
import { append, stream, subscribed, within } from '../support/page.js'
import '../support/patience.js'

afterEach(cleanup)

test('useStream shows the text so far, the state and the writer', async () => {
  const made = await connected()
  const { result } = renderHook(() => useStream('chat/1', 's'), { wrapper: within(made) })
  await subscribed(made)
  expect(result.current).toMatchObject({ data: undefined, state: undefined })
  stream(made, 'He', 1)
  stream(made, 'other', 1, 'open', 'other')
  await waitFor(() =>
    expect(result.current).toMatchObject({ data: 'He', state: 'open', event: 'answer', userId: 'bob' }),
  )
  append(made, 'llo', 1, 'complete')
  await waitFor(() => expect(result.current).toMatchObject({ data: 'Hello', state: 'complete' }))
})

test('useStream renders once per frame, however many pieces arrive', async () => {
  const made = await connected()
  let renders = 0
  const { result } = renderHook(
    () => {
      renders++
      return useStream('chat/1', 's')
    },
    { wrapper: within(made) },
  )
  await subscribed(made)
  const before = renders
  stream(made, '', 0)
  for (let n = 0; n < 500; n++) append(made, 'x', n)
  await waitFor(() => expect(result.current.data).toHaveLength(500))
  expect(renders - before).toBeLessThanOrEqual(2) // StrictMode renders twice
})

test('stop cancels the stream, and rejects with the reason of a refusal', async () => {
  const made = await connected()
  const { result } = renderHook(() => useStream('chat/1', 's'), { wrapper: within(made) })
  await subscribed(made)
  const stopping = result.current.stop('Enough.')
  const { ref = '' } = made.socket.last('cancel')
  made.socket.say({ type: 'error', code: 'forbidden', message: 'No.', retryable: false, ref })
  await expect(stopping).rejects.toMatchObject({ code: 'forbidden' })
})

test('a component that mounts late shows what there is so far', async () => {
  const made = await connected()
  renderHook(() => useStream('chat/1', 's'), { wrapper: within(made) })
  await subscribed(made)
  act(() => stream(made, 'so far', 3))
  const late = renderHook(() => useStream('chat/1', 's'), { wrapper: within(made) })
  await waitFor(() => expect(late.result.current.data).toBe('so far'))
})
