/** All subscriptions of one client: what is wanted, kept equal to what the server was asked. */
import { AerostackError } from './errors.js'
import type { ClientFrame, Member, ServerFrame } from './protocol.js'
import { type Subscriber, Subscription } from './subscription.js'

/** The two ends of somebody's promise. */
export interface Settle {
  resolve(): void
  reject(error: AerostackError): void
}

export interface SubscriptionsOptions {
  /** See that there is a connection; whether there is one already. */
  need: () => boolean
  send: (frame: ClientFrame) => void
  id: () => string
  /** Ask who is present on a topic. */
  members: (topic: string) => Promise<Member[]>
  failed: (error: AerostackError) => void
  /** Call back after a pause that grows with `attempt`. */
  later: (attempt: number, callback: () => void) => void
}

interface Entry {
  subscription: Subscription
  waiting: Settle[]
  /** How often in a row the server was not able to. */
  refusals: number
}

export class Subscriptions {
  readonly #options: SubscriptionsOptions
  readonly #entries = new Map<string, Entry>()

  constructor(options: SubscriptionsOptions) {
    this.#options = options
  }

  get(topic: string): Subscription | undefined {
    return this.#entries.get(topic)?.subscription
  }

  attach(topic: string, subscriber: Subscriber, settle: Settle): Subscription {
    const entry = this.#entries.get(topic) ?? {
      subscription: new Subscription(topic),
      waiting: [],
      refusals: 0,
    }
    this.#entries.set(topic, entry)
    const { subscription } = entry
    const known = subscription.has(subscriber)
    const ask = subscription.attach(subscriber)
    if (!known && subscription.members.length) queueMicrotask(() => subscription.greet(subscriber))
    if (subscription.state === 'live' && !ask) settle.resolve()
    else {
      entry.waiting.push(settle)
      if (ask) this.#ask(entry)
    }
    return subscription
  }

  /** The last one to go ends the subscription, unless another comes within the same tick (as React remounts do). */
  detach(topic: string, subscriber: Subscriber): void {
    const entry = this.#entries.get(topic)
    if (!entry?.subscription.has(subscriber)) return
    entry.subscription.detach(subscriber)
    queueMicrotask(() => {
      if (!entry.subscription.empty || this.#entries.get(topic) !== entry) return
      this.#entries.delete(topic)
      for (const { resolve } of entry.waiting) resolve()
      if (entry.subscription.state !== 'off') this.#options.send({ type: 'unsubscribe', topic })
    })
  }

  /** Ask for all of them, in the order they were made. */
  opened(): void {
    for (const entry of this.#entries.values()) this.#ask(entry)
  }

  lost(): void {
    for (const { subscription } of this.#entries.values()) subscription.lost()
  }

  /** No connection will come: whoever waits is told. */
  ended(error: AerostackError): void {
    for (const entry of this.#entries.values()) this.#refuse(entry, error)
  }

  receive(frame: ServerFrame): void {
    const entry = this.#entries.get((frame as { topic?: string }).topic ?? '')
    if (!entry) return
    const { subscription } = entry
    if (frame.type === 'event' || frame.type === 'db_change') subscription.receive(frame)
    else if (frame.type === 'subscribed') {
      if (!subscription.subscribed(frame)) return
      entry.refusals = 0
      for (const { resolve } of entry.waiting.splice(0)) resolve()
      if (subscription.members.length) this.#reconcile(subscription) // some may have left unseen
    } else if (frame.type === 'unsubscribed' && frame.reason) {
      subscription.lost()
      this.#options.failed(new AerostackError('unavailable', frame.reason, false, frame.topic))
    }
  }

  /** Take the error that answers a subscribe; false when it answers none of ours. */
  refused(id: string, error: AerostackError): boolean {
    for (const entry of this.#entries.values()) {
      if (entry.subscription.askedId !== id) continue
      entry.subscription.lost()
      if (!this.#refuse(entry, error)) this.#options.failed(error)
      if (error.retryable) this.#later(entry)
      return true
    }
    return false
  }

  #ask(entry: Entry): void {
    if (this.#options.need()) this.#options.send(entry.subscription.ask(this.#options.id()))
  }

  #later(entry: Entry): void {
    this.#options.later(entry.refusals++, () => {
      const { subscription } = entry
      if (this.#entries.get(subscription.topic) === entry && subscription.state === 'off') this.#ask(entry)
    })
  }

  /** Reject all who wait; false when nobody did. */
  #refuse(entry: Entry, error: AerostackError): boolean {
    const waiting = entry.waiting.splice(0)
    for (const { reject } of waiting) reject(error)
    return waiting.length > 0
  }

  async #reconcile(subscription: Subscription): Promise<void> {
    const members = await this.#options.members(subscription.topic).catch(() => null)
    if (members && subscription.state === 'live') subscription.reconcile(members)
  }
}
