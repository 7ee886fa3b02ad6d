import type { AerostackError } from './errors.js'
import type { Reply } from './reply.js'

interface Tracked {
  /** Per channel handle, the one that tracked last at the end. */
  states: Map<object, object>
  /** The id of the last `track` sent; its acknowledgement answers all who wait. */
  asked: string | undefined
  waiting: Reply<void>[]
}

/** Where this client is present, and with which state: per topic the one tracked last by a handle that still tracks. */
export class Tracking {
  readonly #topics = new Map<string, Tracked>()

  track(topic: string, by: object, state: object, reply: Reply<void>): void {
    const tracked: Tracked = this.#topics.get(topic) ?? { states: new Map(), asked: undefined, waiting: [] }
    this.#topics.set(topic, tracked)
    tracked.states.delete(by)
    tracked.states.set(by, state)
    tracked.waiting.push(reply)
  }

  /** End what `by` tracks; false when it tracked nothing. */
  untrack(topic: string, by: object): boolean {
    const tracked = this.#topics.get(topic)
    if (!tracked?.states.delete(by)) return false
    if (!tracked.states.size) {
      this.#topics.delete(topic)
      for (const reply of tracked.waiting) reply.resolve()
    }
    return true
  }

  topics(): string[] {
    return [...this.#topics.keys()]
  }

  /** The state that stands for this client, or undefined when it is not present on `topic`. */
  state(topic: string): object | undefined {
    return [...(this.#topics.get(topic)?.states.values() ?? [])].at(-1)
  }

  /** Remember that `id` asks for the state that stands. */
  asked(topic: string, id: string): void {
    const tracked = this.#topics.get(topic)
    if (tracked) tracked.asked = id
  }

  /** Settle those who wait for `id`; false when it is none of ours. */
  settle(id: string, error?: AerostackError): boolean {
    for (const tracked of this.#topics.values())
      if (tracked.asked === id) {
        settleAll(tracked.waiting, error)
        return true
      }
    return false
  }

  /** No connection will come. The states are kept for when one does. */
  fail(error: AerostackError): void {
    for (const tracked of this.#topics.values()) settleAll(tracked.waiting, error)
  }
}

function settleAll(waiting: Reply<void>[], error: AerostackError | undefined): void {
  for (const reply of waiting.splice(0))
    if (error) reply.reject(error)
    else reply.resolve()
}
