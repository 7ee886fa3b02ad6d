import type { AerostackError } from './errors.js'

export interface Ack {
  /** The id the client gave the event. */
  id: string
  /** Where the event stands in its channel's log. */
  cursor?: string
  timestamp?: number
  /** The server had this event already: an earlier sending of it had arrived. */
  duplicate?: boolean
}

interface Request {
  /** The encoded frame: what was asked, whatever becomes of the object it was made of. */
  text: string
  reply: Answered
  replaces: string | undefined
}

/** Who made a request. */
export interface Answered {
  resolve(answer: unknown): void
  reject(error: AerostackError): void
}

/** Where requests are kept as well. */
export interface OutboxStore {
  keep(id: string, text: string): void
  drop(id: string): void
}

/**
 * What awaits an answer by its id, in the order it was made; first of all publishes. All of it may be sent again on
 * a new connection: the id makes that safe.
 */
export class Outbox {
  store: OutboxStore | undefined
  readonly #requests = new Map<string, Request>()

  get size(): number {
    return this.#requests.size
  }

  /** Of those that share a `replaces` the last one counts: earlier ones are settled without an answer. */
  add(id: string, text: string, reply: Answered, replaces?: string): void {
    if (replaces)
      for (const [earlier, request] of this.#requests)
        if (request.replaces === replaces) this.settle(earlier, undefined)
    this.#requests.set(id, { text, reply, replaces })
    this.store?.keep(id, text)
  }

  texts(): string[] {
    return Array.from(this.#requests.values(), ({ text }) => text)
  }

  /** Settle the request that `id` names; false when there is none. */
  settle(id: string, outcome: unknown): boolean {
    const request = this.#requests.get(id)
    if (!request) return false
    this.#requests.delete(id)
    this.store?.drop(id)
    if (outcome instanceof Error) request.reply.reject(outcome as AerostackError)
    else request.reply.resolve(outcome)
    return true
  }

  /** Give up on all of them. */
  fail(error: AerostackError): void {
    for (const id of this.#requests.keys()) this.settle(id, error)
  }
}
