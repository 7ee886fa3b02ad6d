import type { AerostackError } from './errors.js'
import { byteLength } from './limits.js'
import type { StreamState } from './protocol.js'

/** The server's answer to a publish. */
export interface Ack {
  /** The id that the client gave the event. */
  id: string
  /** The event's position in its channel's log. */
  cursor?: string
  /** Milliseconds since the Unix epoch. */
  timestamp?: number
  /** True when the server had this event already: an earlier attempt to send it had arrived. */
  duplicate?: boolean
  /** Streams: how many pieces the stream has, and its state. */
  n?: number
  state?: StreamState
}

interface Request {
  /** The encoded frame. Changes to the object it was made from have no effect. */
  text: string
  reply: Pending
  presence: string | false | undefined
}

/** The caller that waits for the answer to a request. */
export interface Pending {
  resolve(answer: unknown): void
  reject(error: AerostackError): void
}

/** A second place that keeps requests. */
export interface OutboxStore {
  keep(id: string, text: string): void
  drop(id: string): void
}

/**
 * Requests that have no answer yet, in the order they were made. Their ids make it safe to send all of them again
 * on a new connection.
 */
export class Outbox {
  store: OutboxStore | undefined
  readonly #send: (text: string) => void
  readonly #requests = new Map<string, Request>()

  /** `send` throws AerostackError for a frame that the server would refuse. */
  constructor(send: (text: string) => void) {
    this.#send = send
  }

  get size(): number {
    return this.#requests.size
  }

  /**
   * `presence` is the topic whose presence this request changes, if any. A later change on the same topic replaces
   * earlier ones, which resolve without an answer.
   */
  add(id: string, text: string, reply: Pending, presence?: string | false): void {
    for (const [earlier, request] of this.#requests)
      if (presence && request.presence === presence) this.settle(earlier, undefined)
    this.#requests.set(id, { text, reply, presence })
    this.store?.keep(id, text)
  }

  /** The text of the change of presence that waits for an answer, by its id or its topic. */
  presence(key: string | undefined): string | undefined {
    for (const [id, { text, presence }] of this.#requests)
      if (presence && (id === key || presence === key)) return text
    return undefined
  }

  /** The ids and texts of all requests, changes of presence first. */
  entries(): [id: string, text: string][] {
    return [...this.#requests]
      .sort(([, one], [, other]) => Number(!one.presence) - Number(!other.presence))
      .map(([id, { text }]) => [id, text])
  }

  /** The id of the oldest request. */
  oldest(): string | undefined {
    return [...this.#requests.keys()][0]
  }

  /**
   * The id of the largest request, the oldest of them if several are. When the server refused a frame for its size and
   * does not say which, this is it: any other is smaller.
   */
  largest(): string | undefined {
    const sizes = [...this.#requests].map(([id, { text }]) => [byteLength(text), id] as const)
    return sizes.sort(([one], [other]) => other - one)[0]?.[1]
  }

  /** Send a request of the outbox again, or for the first time, on a new connection. */
  send(id: string, text: string): void {
    try {
      this.#send(text)
    } catch (error) {
      this.settle(id, error)
    }
  }

  /** Settle the request with this id. An error rejects it. Returns false when there is no such request. */
  settle(id: string, outcome: unknown): boolean {
    const request = this.#requests.get(id)
    if (!request) return false
    this.#requests.delete(id)
    this.store?.drop(id)
    if (outcome instanceof Error) request.reply.reject(outcome as AerostackError)
    else request.reply.resolve(outcome)
    return true
  }

  /** Reject all requests. */
  fail(error: AerostackError): void {
    for (const id of this.#requests.keys()) this.settle(id, error)
  }
}
