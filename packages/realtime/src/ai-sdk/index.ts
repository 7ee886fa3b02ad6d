/** The AI SDK's `useChat` over a channel: answers are streams that survive reloads and can be stopped anywhere. */

import type { Channel, Client, RealtimePayload } from 'aerostack-realtime'
import type { ChatRequestOptions, ChatTransport, UIMessage, UIMessageChunk } from 'ai'

/** What an agent gets: it writes its answer as a stream with the id `answer`. */
export interface Question<M extends UIMessage = UIMessage> {
  /** The id of the stream to write. */
  answer: string
  chatId: string
  trigger: 'submit-message' | 'regenerate-message'
  /** The message to answer again, for `regenerate-message`. */
  messageId: string | undefined
  /** The newest message of the user. */
  message: M | undefined
  /** What the app added to this request. */
  body: object | undefined
  metadata: unknown
}

/** Options of `RealtimeChatTransport`. */
export interface RealtimeChatTransportOptions<M extends UIMessage = UIMessage> {
  client: Client
  /** The topic of a chat. Default `chat/<chatId>`. */
  topic?: (chatId: string) => string
  /** The event of answers. Default `answer`. */
  event?: string
  /**
   * Pass a question, and all messages so far, to the agent. Default: publish it on the chat's channel as the event
   * `question`, with `persist`.
   */
  send?: (question: Question<M>, messages: M[], options: ChatRequestOptions) => Promise<unknown>
}

interface Chunks {
  stream: ReadableStream<UIMessageChunk>
  /** The newest open answer, once it is known. */
  open(): string | undefined
  follow(id: string): void
  end(): void
}

/**
 * A transport for `useChat({ transport })`. An answer is a stream of UI message chunks (a list) or of plain text. `stop()`
 * cancels it for everyone; `resume: true` continues it after a reload, on any device.
 */
export class RealtimeChatTransport<M extends UIMessage = UIMessage> implements ChatTransport<M> {
  /** A resumed answer is sent from its beginning. */
  readonly resumeStreamIsReplay = true
  readonly #options: RealtimeChatTransportOptions<M>

  constructor(options: RealtimeChatTransportOptions<M>) {
    this.#options = options
  }

  /** Send the newest message to the agent. Resolves with the chunks of the answer. */
  async sendMessages(options: Parameters<ChatTransport<M>['sendMessages']>[0]) {
    const { chatId, trigger, messageId, messages, abortSignal, body, metadata } = options
    const answer = crypto.getRandomValues(new Uint32Array(4)).join('-')
    const message = messages.filter(({ role }) => role === 'user').at(-1)
    const question = { answer, chatId, trigger, messageId, message, body, metadata }
    const channel = this.#channel(chatId)
    const chunks = chunksOf(channel, this.#event, abortSignal)
    try {
      await channel.subscribe()
      chunks.follow(answer)
      if (this.#options.send) await this.#options.send(question, messages, options)
      else await channel.publish('question', question, { persist: true })
    } catch (error) {
      chunks.end()
      throw error
    }
    return chunks.stream
  }

  /** The chunks of the answer that is being written, from its beginning; null when there is none. */
  async reconnectToStream({ chatId, abortSignal }: Parameters<ChatTransport<M>['reconnectToStream']>[0]) {
    const channel = this.#channel(chatId)
    const chunks = chunksOf(channel, this.#event, abortSignal)
    try {
      await channel.subscribe()
      await channel.presence().catch(() => {}) // its answer, or refusal, comes after all open streams
    } catch (error) {
      chunks.end()
      throw error
    }
    const id = chunks.open()
    if (id === undefined) {
      chunks.end()
      return null
    }
    chunks.follow(id)
    return chunks.stream
  }

  get #event(): string {
    return this.#options.event ?? 'answer'
  }

  #channel(chatId: string): Channel {
    const { client, topic = (id: string) => `chat/${id}` } = this.#options
    return client.channel(topic(chatId), { streams: true })
  }
}

function chunksOf(channel: Channel, event: string, abort: AbortSignal | undefined): Chunks {
  const open = new Map<string, RealtimePayload>()
  let followed: string | undefined
  let sent = 0
  let ended = false
  let controller: ReadableStreamDefaultController<UIMessageChunk>
  const end = () => {
    if (ended) return
    ended = true
    channel.unsubscribe()
    abort?.removeEventListener('abort', stop)
    controller.close()
  }
  const stop = () => {
    if (followed !== undefined) channel.cancel(followed)
    end()
  }
  const add = (payload: RealtimePayload) => {
    const { id = '', data, state } = payload
    if (id !== followed) {
      if (state === 'open') open.set(id, payload)
      else open.delete(id)
      return
    }
    if (ended) return
    for (const chunk of typeof data === 'string' ? textChunks(payload, sent) : data.slice(sent))
      controller.enqueue(chunk)
    sent = Math.max(sent, data.length)
    if (state === 'open') return
    if (state === 'cancelled') controller.enqueue({ type: 'abort' })
    if (state === 'failed')
      controller.enqueue({ type: 'error', errorText: 'The answer was interrupted; send the message again.' })
    end()
  }
  const stream = new ReadableStream<UIMessageChunk>({
    start: (made) => {
      controller = made
    },
    cancel: () => {
      ended = true
      channel.unsubscribe()
      abort?.removeEventListener('abort', stop)
    },
  })
  channel.on(event, add)
  abort?.addEventListener('abort', stop)
  return {
    stream,
    open: () => [...open.keys()].at(-1),
    follow: (id) => {
      followed = id
      const known = open.get(id)
      if (known) add(known)
      if (abort?.aborted) stop()
    },
    end,
  }
}

/** The chunks for what a text has after its first `sent` characters. */
function textChunks({ id = '', data, state }: RealtimePayload<string>, sent: number): UIMessageChunk[] {
  const chunks: UIMessageChunk[] = []
  if (!sent && data) chunks.push({ type: 'start', messageId: id }, { type: 'text-start', id })
  if (data.length > sent) chunks.push({ type: 'text-delta', id, delta: data.slice(sent) })
  if (state === 'complete' && data) chunks.push({ type: 'text-end', id }, { type: 'finish' })
  return chunks
}
