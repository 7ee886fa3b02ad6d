/** Names that the shorter samples of the documentation take from their app. */
import type { createClient } from 'aerostack-realtime'
import type { Doc } from 'yjs'
import type { AerostackProvider } from 'aerostack-realtime/yjs'

declare global {
  const realtime: ReturnType<typeof createClient>
  const auth: { accessToken(): Promise<string> }
  const token: string
  const report: (error: Error) => void
  const show: (id: string | undefined, data: unknown, state: string | undefined) => void
  const draw: (payload: unknown) => void
  const question: string
  const model: ((question: string, options: { signal: AbortSignal }) => AsyncIterable<string>) & {
    answer(question: string, options: { signal: AbortSignal }): AsyncIterable<string>
  }
  const stopButton: HTMLButtonElement
  const doc: Doc
  const provider: AerostackProvider
}
