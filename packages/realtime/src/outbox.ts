import type { AerostackError } from './errors.js'
import type { Reply } from './reply.js'

export interface Ack {
  /** The id the client gave the event. */
  id: string
  /** Where the event stands in its channel's log. */
  cursor?: string
  timestamp?: number
  /** The server had this event already: an earlier sending of it had arrived. */
  duplicate?: boolean
}

interface Item {
  /** The encoded frame: what was published, whatever becomes of the object it was made of. */
  text: string
  reply: Reply<Ack>
}

/** Publishes that are not acknowledged yet, in the order they were made. The id makes sending one twice safe. */
export class Outbox {
  readonly #items = new Map<string, Item>()

  get size(): number {
    return this.#items.size
  }

  add(id: string, text: string, reply: Reply<Ack>): void {
    this.#items.set(id, { text, reply })
  }

  /** All of them, to be sent (again) on a new connection. */
  texts(): string[] {
    return Array.from(this.#items.values(), (item) => item.text)
  }

  /** Settle the publish that `id` names; false when there is none. */
  settle(id: string, outcome: Ack | AerostackError): boolean {
    const item = this.#items.get(id)
    if (!item) return false
    this.#items.delete(id)
    if (outcome instanceof Error) item.reply.reject(outcome)
    else item.reply.resolve(outcome)
    return true
  }

  /** Give up on all of them. */
  fail(error: AerostackError): void {
    for (const id of [...this.#items.keys()]) this.settle(id, error)
  }
}
