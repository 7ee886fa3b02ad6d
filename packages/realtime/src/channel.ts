import { type AerostackError, wrap } from './errors.js'
import type { HistoryMessage } from './history.js'
import type { Ack } from './outbox.js'
import type { Events, PresenceEvent, RealtimePayload } from './payload.js'
import type { Filter, Member, Request, Slow } from './protocol.js'
import { Reply } from './reply.js'
import type { Subscriber, Subscription } from './subscription.js'
import type { Subscriptions } from './subscriptions.js'

export interface ChannelOptions extends Slow {
  /** Tables only: see the table as the view of these conditions. */
  filter?: Filter
  /** Continue after this cursor; honoured when this is the first channel to subscribe to the topic. */
  since?: string
  /** `false`: no presence events. */
  presence?: boolean
}

export interface PublishOptions {
  /** Keep the message for history; the acknowledgement then comes after the commit. */
  persist?: boolean
  /** `false`: do not send it back to this connection. Default true. */
  echo?: boolean
}

/** What a channel needs of its client. */
export interface Wire {
  readonly subscriptions: Subscriptions
  request<T>(request: Request): Promise<T>
  track(topic: string, by: object, state: object): Promise<void>
  untrack(topic: string, by: object): void
  history(topic: string, limit: number, before?: number): Promise<HistoryMessage[]>
  failed(error: AerostackError): void
  send(text: string): void
  /** The token in use, or that which the app has. */
  token(): Promise<string | null>
}

// biome-ignore lint/suspicious/noExplicitAny: each event has its own type of payload
type Listener = (payload: RealtimePayload<any>) => unknown

/**
 * A handle on a topic: its own listeners and its own presence over a subscription that all handles of the topic
 * share. Ending one does not end the others.
 */
export class Channel<E extends Events = Events> {
  /** As it was written. */
  readonly topic: string
  /** @internal */
  readonly canonical: string
  readonly #wire: Wire
  readonly #subscriber: Subscriber
  readonly #listeners = new Map<string, Set<Listener>>()
  #subscription: Subscription | undefined

  /** For the client; apps call `client.channel(topic)`. */
  constructor(topic: string, canonical: string, options: ChannelOptions, wire: Wire) {
    this.topic = topic
    this.canonical = canonical
    this.#wire = wire
    const { filter, since, presence = true, slow, key } = options
    const deliver: Subscriber['deliver'] = (payload) => this.#deliver({ ...payload, topic })
    this.#subscriber = { filter, since, presence, policy: { slow, key }, deliver }
  }

  /** Everything up to here was handled. Keep it and pass it as `since` to continue there another day. */
  get cursor(): string | undefined {
    return this.#subscription?.cursor
  }

  /** Whether the last return to the server was without a gap; null when there was nothing to resume. */
  get recovered(): boolean | null {
    return this.#subscription?.recovered ?? null
  }

  /** Who is present, as far as this subscription was told; a new array whenever it changes. */
  get members(): readonly Member[] {
    return this.#wire.subscriptions.get(this.canonical)?.members ?? NOBODY
  }

  /** Call `listener` for an event; `'*'` is every event, `'gap'` tells that some could not be replayed. */
  on<K extends keyof E & string>(event: K, listener: (payload: RealtimePayload<E[K]>) => unknown): this
  on(event: PresenceEvent | 'gap' | '*', listener: Listener): this
  on(event: string, listener: Listener): this {
    const listeners = this.#listeners.get(event) ?? new Set()
    this.#listeners.set(event, listeners.add(listener))
    return this
  }

  off<K extends keyof E & string>(event: K, listener: (payload: RealtimePayload<E[K]>) => unknown): this
  off(event: PresenceEvent | 'gap' | '*', listener: Listener): this
  off(event: string, listener: Listener): this {
    this.#listeners.get(event)?.delete(listener)
    return this
  }

  /**
   * Start receiving. Resolves with this channel when delivery is certain; rejects when the server refuses.
   * Connects when nothing did so yet, and may be called in any state; once subscribed it does nothing more.
   */
  subscribe(): Promise<this> {
    const reply = new Reply<this>((error) => this.#wire.failed(error))
    this.#subscription = this.#wire.subscriptions.attach(this.canonical, this.#subscriber, {
      resolve: () => reply.resolve(this),
      reject: (error) => reply.reject(error),
    })
    return reply
  }

  /** Stop receiving and remove all listeners of this channel. It may be subscribed again. */
  unsubscribe(): void {
    this.#listeners.clear()
    this.#wire.subscriptions.detach(this.canonical, this.#subscriber)
  }

  /**
   * Send an event to all subscribers of the topic. Resolves when the server has accepted it, for a persisted one
   * when it is stored. While away it waits, and is sent again until acknowledged; it arrives once.
   */
  publish<K extends keyof E & string>(event: K, data: E[K], options: PublishOptions = {}): Promise<Ack> {
    return this.#wire.request({ ...options, type: 'publish', topic: this.canonical, event, data })
  }

  /** Be present with `state`, now and after every reconnection; call again to change it. */
  track(state: object): Promise<void> {
    return this.#wire.track(this.canonical, this, state)
  }

  untrack(): void {
    this.#wire.untrack(this.canonical, this)
  }

  /** Ask the server who is present; needs no subscription. */
  // biome-ignore lint/suspicious/noExplicitAny: what a state holds is the app's affair
  presence<S = any>(): Promise<Member<S>[]> {
    return this.#wire.request({ type: 'presence', topic: this.canonical })
  }

  /** Persisted messages, newest first; `before` is the `created_at` of the oldest one had. */
  // biome-ignore lint/suspicious/noExplicitAny: untyped unless the app says better
  getHistory<T = any>(limit = 50, before?: number): Promise<HistoryMessage<T>[]> {
    return this.#wire.history(this.canonical, limit, before)
  }

  #deliver(payload: RealtimePayload): Promise<unknown> | undefined {
    const name = payload.operation ?? payload.event ?? ''
    const unfinished: Promise<unknown>[] = []
    for (const listener of [...(this.#listeners.get(name) ?? []), ...(this.#listeners.get('*') ?? [])])
      try {
        const returned = listener(payload)
        if (returned instanceof Promise) unfinished.push(returned.catch((error) => this.#failed(error)))
      } catch (error) {
        this.#failed(error)
      }
    return unfinished.length ? Promise.all(unfinished) : undefined
  }

  #failed(error: unknown): void {
    this.#wire.failed(wrap(error, 'listener', false, this.topic))
  }
}

const NOBODY: readonly Member[] = []
