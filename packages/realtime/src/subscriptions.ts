/** All subscriptions of one client: what is wanted, kept equal to what the server was asked. */
import { AerostackError } from './errors.js'
import type { ClientFrame, Member, ServerFrame } from './protocol.js'
import { type Settle, type Subscriber, Subscription } from './subscription.js'

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

export class Subscriptions {
  readonly #options: SubscriptionsOptions
  readonly #all = new Map<string, Subscription>()

  constructor(options: SubscriptionsOptions) {
    this.#options = options
  }

  get(topic: string | undefined): Subscription | undefined {
    return this.#all.get(topic as string)
  }

  attach(topic: string, subscriber: Subscriber, settle: Settle): Subscription {
    const subscription = this.#all.get(topic) ?? new Subscription(topic)
    this.#all.set(topic, subscription)
    const known = subscription.has(subscriber)
    const ask = subscription.attach(subscriber)
    if (!known && subscription.members.length) queueMicrotask(() => subscription.greet(subscriber))
    if (subscription.state === 'live' && !ask) settle.resolve()
    else {
      subscription.waiting.push(settle)
      if (ask) this.#ask(subscription)
    }
    return subscription
  }

  /** The last one to go ends the subscription, unless another comes within the same tick (as React remounts do). */
  detach(topic: string, subscriber: Subscriber): void {
    const subscription = this.#all.get(topic)
    if (!subscription?.has(subscriber)) return
    subscription.detach(subscriber)
    queueMicrotask(() => {
      if (!subscription.empty || this.#all.get(topic) !== subscription) return
      this.#all.delete(topic)
      subscription.resolve()
      if (subscription.state !== 'off') this.#options.send({ type: 'unsubscribe', topic })
    })
  }

  /** Ask for all of them, in the order they were made. */
  opened(): void {
    for (const subscription of this.#all.values()) this.#ask(subscription)
  }

  lost(): void {
    for (const subscription of this.#all.values()) subscription.lost()
  }

  /** No connection will come: whoever waits is told. */
  ended(error: AerostackError): void {
    for (const subscription of this.#all.values()) subscription.failed(error)
  }

  receive(frame: ServerFrame): void {
    const subscription = this.get((frame as { topic?: string }).topic)
    if (!subscription) return
    if (frame.type === 'event' || frame.type === 'db_change') subscription.receive(frame)
    else if (frame.type === 'subscribed') subscription.subscribed(frame) && this.#live(subscription)
    else if (frame.type === 'snapshot') {
      const live = subscription.load(frame)
      if (live) this.#live(subscription)
      else if (live === false) this.#ask(subscription)
    } else if (frame.type === 'unsubscribed' && frame.reason) {
      subscription.lost()
      this.#fail(subscription, new AerostackError('unavailable', frame.reason, false, frame.topic))
    }
  }

  /** Take the error that answers a subscribe; false when it answers none of ours. */
  refused(id: string, error: AerostackError): boolean {
    const subscription = [...this.#all.values()].find(({ askedId }) => askedId === id)
    if (!subscription) return false
    const loader = subscription.lost()
    if (loader && !error.retryable) {
      loader.failed?.(error)
      this.detach(subscription.topic, loader)
      if (!subscription.empty) this.#ask(subscription)
    } else {
      this.#fail(subscription, error)
      if (error.retryable) this.#later(subscription)
    }
    return true
  }

  #live(subscription: Subscription): void {
    subscription.refusals = 0
    subscription.resolve()
    if (subscription.members.length) this.#reconcile(subscription) // some may have left unseen
  }

  #ask(subscription: Subscription): void {
    if (this.#options.need()) this.#options.send(subscription.ask(this.#options.id()))
  }

  #later(subscription: Subscription): void {
    this.#options.later(subscription.refusals++, () => {
      if (this.#all.get(subscription.topic) === subscription && subscription.state === 'off')
        this.#ask(subscription)
    })
  }

  #fail(subscription: Subscription, error: AerostackError): void {
    if (!subscription.failed(error)) this.#options.failed(error)
  }

  async #reconcile(subscription: Subscription): Promise<void> {
    const members = await this.#options.members(subscription.topic).catch(() => null)
    if (members && subscription.state === 'live') subscription.reconcile(members)
  }
}
