/** All subscriptions of one client: keeps what the server knows equal to what the app wants. */
import { AerostackError, wrap } from './errors.js'
import type * as Filters from './filter.js'
import type { ClientInternals } from './internals.js'
import type { ServerFrame } from './protocol.js'
import type * as Streams from './streams.js'
import { type Settle, type Subscriber, Subscription } from './subscription.js'
import { withoutProject } from './topic.js'

/** The frames about one subscription. */
export type TopicFrame = Extract<
  ServerFrame,
  {
    type:
      | 'event'
      | 'append'
      | 'chat_message'
      | 'db_change'
      | 'subscribed'
      | 'snapshot'
      | 'unsubscribed'
      | 'presence'
  }
>

/** Loaded when channels of one table first have different filters; not a part of the core. */
let filters: typeof Filters | undefined
/** Loaded when a channel first asks for streams. */
let streams: typeof Streams | undefined

export class Subscriptions {
  readonly #client: { readonly internals: ClientInternals }
  readonly #all = new Map<string, Subscription>()

  constructor(client: { readonly internals: ClientInternals }) {
    this.#client = client
  }

  /** The subscription of a topic as this client writes it. */
  get(topic: string): Subscription | undefined {
    return this.#all.get(topic)
  }

  /** The subscription of a topic in a frame of the server, which always names the project. */
  named(topic = ''): Subscription | undefined {
    return this.#all.get(topic) ?? this.#all.get(withoutProject(topic))
  }

  attach(topic: string, subscriber: Subscriber, settle: Settle): Subscription {
    const subscription = this.#all.get(topic) ?? new Subscription(topic)
    this.#all.set(topic, subscription)
    const known = subscription.has(subscriber)
    const needsRequest = subscription.attach(subscriber)
    if (!known) subscription.sendPresent(subscriber)
    if (subscription.state === 'live' && !needsRequest) settle.resolve()
    else {
      subscription.waiting.set(settle, subscriber)
      if (needsRequest) this.#request(subscription)
    }
    return subscription
  }

  /** The last detach ends the subscription, unless an attach follows within the same tick (as React remounts do). */
  detach(topic: string, subscriber: Subscriber): void {
    const subscription = this.#all.get(topic)
    if (!subscription?.has(subscriber)) return
    subscription.detach(subscriber)
    queueMicrotask(() => {
      if (!subscription.empty || this.#all.get(topic) !== subscription) return
      this.#all.delete(topic)
      subscription.resolve()
      if (subscription.state !== 'off') this.#client.internals.send({ type: 'unsubscribe', topic })
    })
  }

  /** Request all subscriptions, in the order they were made. */
  opened(): void {
    for (const subscription of this.#all.values()) this.#request(subscription)
  }

  /** The id of the oldest request without an answer. */
  oldestRequest(): string | undefined {
    return [...this.#all.values()].find(({ state }) => state === 'requested')?.requestId
  }

  lost(): void {
    for (const subscription of this.#all.values()) subscription.lost()
  }

  /** No connection will come: reject all callers that wait. */
  ended(error: AerostackError): void {
    for (const subscription of this.#all.values()) subscription.failed(error, true)
  }

  receive(frame: TopicFrame): void {
    const subscription = this.named(frame.topic)
    if (!subscription) return
    switch (frame.type) {
      case 'event':
      case 'append':
      case 'chat_message':
      case 'db_change':
        subscription.receive(frame)
        break
      case 'subscribed':
      case 'snapshot': {
        const live = frame.type === 'snapshot' ? subscription.load(frame) : subscription.subscribed(frame)
        if (live) this.#live(subscription)
        else if (live === undefined) this.#request(subscription)
        break
      }
      case 'unsubscribed':
        if (!frame.reason) break // the answer to our own command
        subscription.lost()
        this.#fail(subscription, new AerostackError('unavailable', frame.reason, false, frame.topic))
        break
      case 'presence':
        subscription.reconcile(frame.members)
        break
      default:
        frame satisfies never // a type that this version does not know
    }
  }

  /** Apply the error that answers a subscribe. Returns false when no subscribe has this id. */
  refused(id: string, error: AerostackError): boolean {
    const subscription = [...this.#all.values()].find(({ requestId }) => requestId === id)
    if (!subscription) return false
    const loader = subscription.lost()
    if (loader && !error.retryable) {
      subscription.failed(error, true, loader)
      this.detach(subscription.topic, loader)
      if (!subscription.empty) this.#request(subscription)
    } else {
      this.#fail(subscription, error)
      if (error.retryable) this.#later(subscription)
    }
    return true
  }

  #live(subscription: Subscription): void {
    subscription.refusals = 0
    subscription.resolve()
    // members may have left unnoticed; if this fails, the next connection requests them again
    if (subscription.members.length)
      this.#client.internals.request({ type: 'presence', topic: subscription.topic }).catch(() => {})
  }

  #request(subscription: Subscription): void {
    if (!this.#client.internals.need()) return
    if ((subscription.filters && !filters) || (subscription.streams && !streams)) {
      subscription.pause()
      this.#load(subscription)
      return
    }
    const frame = subscription.request(this.#client.internals.id(), filters, streams?.Reader)
    try {
      this.#client.internals.send(frame)
    } catch (error) {
      this.refused(frame.id as string, error as AerostackError)
    }
  }

  async #load(subscription: Subscription): Promise<void> {
    try {
      if (subscription.filters) filters = await import('./filter.js')
      if (subscription.streams) streams = await import('./streams.js')
      if (this.#all.get(subscription.topic) === subscription) this.#request(subscription)
    } catch (error) {
      subscription.lost()
      this.#fail(subscription, wrap(error, 'network', true))
      this.#later(subscription)
    }
  }

  #later(subscription: Subscription): void {
    this.#client.internals.later(subscription.refusals++, () => {
      if (this.#all.get(subscription.topic) === subscription && subscription.state === 'off')
        this.#request(subscription)
    })
  }

  #fail(subscription: Subscription, error: AerostackError): void {
    if (!subscription.failed(error)) this.#client.internals.failed(error)
  }
}
