import { wrap } from './errors.js'
import type { ClientInternals } from './internals.js'
import type { HistoryMessage } from './message-history.js'
import type { Ack } from './outbox.js'
import type { Events, PresenceEvent, RealtimePayload } from './payload.js'
import type { Filter, Member, MemberKind, Slow } from './protocol.js'
import type { Stream, StreamData, StreamOptions } from './streams.js'
import type { Subscriber, Subscription } from './subscription.js'

/** Options of `client.channel`. */
export interface ChannelOptions extends Slow {
  /** Tables only: receive the changes of the rows that match. */
  filter?: Filter
  /** Continue after this cursor. Honoured when this is the first channel to subscribe to the topic. */
  since?: string
  /** `false`: no presence events. */
  presence?: boolean
  /** Receive streams while they grow. Without it a stream arrives as one event when it ends. */
  streams?: boolean
  /**
   * Begin with the newest `history` persisted messages, or all, oldest first. Honoured when this is the first channel
   * to subscribe to the topic; a later one receives a `gap`.
   */
  history?: number | 'all'
}

/** Options of `channel.track`. */
export interface TrackOptions {
  /** What is the member: this user with all connections (the default), or this connection. */
  per?: MemberKind
}

/** Options of `channel.publish`. */
export interface PublishOptions {
  /** Keep the message for history. It is acknowledged once it is stored. */
  persist?: boolean
  /** `false`: do not send it back to this connection. Default true. */
  echo?: boolean
  /** W3C Trace Context: subscribers receive it with the event. */
  traceparent?: string
  /**
   * With `persist`: the message replaces the persisted messages of the same event up to this cursor. Needs the right
   * `compact`; rejects with `conflict` when another compaction came first.
   */
  compacts?: string
}

// biome-ignore lint/suspicious/noExplicitAny: each event has its own type of payload
type Listener = (payload: RealtimePayload<any>) => unknown

const METHODS = [
  'on',
  'off',
  'subscribe',
  'unsubscribe',
  'publish',
  'stream',
  'cancel',
  'track',
  'untrack',
  'presence',
  'getHistory',
] as const

/** The promise that `subscribe` returns. It also has the channel's methods. */
export type Subscribing<E extends Events = Events> = Promise<Channel<E>> &
  Pick<Channel<E>, (typeof METHODS)[number]>

/**
 * A handle on a topic, with its own listeners and its own presence. All handles of a topic share one subscription;
 * ending one does not end the others. A new handle, which has not called `on`, `subscribe` or `track`, has nothing of
 * its own: its `unsubscribe`, `untrack` and `off` act on all handles of the topic.
 */
export class Channel<E extends Events = Events> {
  /** The topic as it was written. */
  readonly topic: string
  /** @internal */
  readonly canonical: string
  readonly #internals: ClientInternals
  readonly #subscriber: Subscriber
  readonly #listeners = new Map<string, Set<Listener>>()
  #subscription: Subscription | undefined
  /** Whether this handle has something of its own. */
  #used = false

  /** Called by the client; apps call `client.channel(topic)`. */
  constructor(topic: string, canonical: string, options: ChannelOptions, internals: ClientInternals) {
    this.topic = topic
    this.canonical = canonical
    this.#internals = internals
    const { presence = true, slow, key } = options
    this.#subscriber = {
      ...options,
      presence,
      policy: { slow, key },
      deliver: (payload) => this.#deliver({ ...payload, topic }),
      unsubscribe: () => {
        this.#listeners.clear()
        internals.subscriptions.detach(canonical, this.#subscriber)
      },
      off: (event, listener) => this.#listeners.get(event)?.delete(listener),
    }
  }

  /** The last event that was handled. Keep it and pass it as `since` to continue there later. */
  get cursor(): string | undefined {
    return this.#subscription?.cursor
  }

  /** Whether the last reconnection was without a gap; null when there was nothing to resume. */
  get recovered(): boolean | null {
    return this.#subscription?.recovered ?? null
  }

  /** The members that this subscription knows of; a new array whenever they change. */
  get members(): readonly Member[] {
    return this.#internals.subscriptions.get(this.canonical)?.members ?? NO_MEMBERS
  }

  /**
   * Call `listener` for every event of this name. `'*'` is every event; `'gap'` reports that events could not be
   * replayed.
   */
  on<K extends keyof E & string>(event: K, listener: (payload: RealtimePayload<E[K]>) => unknown): this
  on(event: PresenceEvent | 'gap' | '*', listener: Listener): this
  on(event: string, listener: Listener): this {
    this.#used = true
    this.#listeners.set(event, new Set(this.#listeners.get(event)).add(listener))
    return this
  }

  /** Remove a listener. */
  off<K extends keyof E & string>(event: K, listener: (payload: RealtimePayload<E[K]>) => unknown): this
  off(event: PresenceEvent | 'gap' | '*', listener: Listener): this
  off(event: string, listener: Listener): this {
    for (const each of this.#targets()) each.off?.(event, listener)
    return this
  }

  /**
   * Start receiving events. Resolves with this channel once delivery is certain; rejects when the server refuses.
   * Connects if necessary. May be called in any state; subscribing twice has no effect.
   */
  subscribe(): Subscribing<E> {
    this.#used = true
    // biome-ignore lint/suspicious/noExplicitAny: the methods are added below
    const reply: any = this.#internals.reply<Channel<E>>()
    this.#subscription = this.#internals.subscriptions.attach(this.canonical, this.#subscriber, {
      resolve: () => reply.resolve(this),
      reject: reply.reject,
    })
    for (const name of METHODS) reply[name] = this[name].bind(this)
    return reply
  }

  /** Stop receiving events and remove all listeners. The channel may subscribe again. */
  unsubscribe(): void {
    for (const each of this.#targets()) each.unsubscribe?.()
  }

  /**
   * Send an event to all subscribers of the topic. Resolves when the server has accepted it or, with `persist`, stored
   * it. Without a connection it waits; it is sent again until it is acknowledged, and arrives once.
   */
  publish<K extends keyof E & string>(event: K, data: E[K], options: PublishOptions = {}): Promise<Ack> {
    return this.#internals.request({ ...options, type: 'publish', topic: this.canonical, event, data })
  }

  /**
   * Open a stream: a message that grows. With the `id` of a stream of one's own that is open, it is continued. Resolves
   * when the server has accepted it.
   */
  stream<T extends StreamData = string>(
    event: keyof E & string,
    options: StreamOptions<T> = {},
  ): Promise<Stream<T>> {
    const reply = this.#internals.reply<Stream<T>>()
    import('./streams.js')
      .then(({ Writer }) => new Writer<T>(this.#internals, this.canonical, event, options).opened)
      .then(reply.resolve, (error) => reply.reject(wrap(error, 'network', true)))
    return reply
  }

  /** Stop the stream with this id: it ends as `cancelled`, and its writer is asked to stop. */
  cancel(id: string, reason?: string): Promise<Ack> {
    const ref = this.#internals.id()
    return this.#internals.request({ type: 'cancel', topic: this.canonical, id, reason, ref })
  }

  /**
   * Be present with `state`, now and after every reconnection. Call it again to change the state. A user is one member
   * with all connections; with `per: 'connection'` this connection is a member of its own, so that two tabs of one user
   * have a cursor each.
   */
  track(state: object, options?: TrackOptions): Promise<void> {
    this.#used = true
    return this.#internals.track(this, { ...options, type: 'track', topic: this.canonical, state })
  }

  /** Stop being present. */
  untrack(): void {
    this.#internals.untrack(this.canonical, this.#used ? this : undefined)
  }

  /** Request the members from the server. Needs no subscription. */
  // biome-ignore lint/suspicious/noExplicitAny: a member's state is whatever the app tracks
  presence<S = any>(): Promise<Member<S>[]> {
    return this.#internals.request({ type: 'presence', topic: this.canonical })
  }

  /** Persisted messages, newest first. `before` is the `created_at` of the oldest message you have. */
  // biome-ignore lint/suspicious/noExplicitAny: untyped unless the app names a type
  getHistory<T = any>(limit = 50, before?: number): Promise<HistoryMessage<T>[]> {
    return this.#internals.history(this.canonical, limit, before)
  }

  /** The subscribers that `off` and `unsubscribe` act on. */
  #targets(): readonly Subscriber[] {
    if (this.#used) return [this.#subscriber]
    return this.#internals.subscriptions.get(this.canonical)?.subscribers ?? []
  }

  #deliver(payload: RealtimePayload): Promise<unknown> | undefined {
    const name = payload.operation ?? payload.event ?? ''
    const failed = (error: unknown) => this.#internals.failed(wrap(error, 'listener', false, this.topic))
    const unfinished: Promise<unknown>[] = []
    for (const listener of [...(this.#listeners.get(name) ?? []), ...(this.#listeners.get('*') ?? [])])
      try {
        const returned = listener(payload)
        if (returned instanceof Promise) unfinished.push(returned.catch(failed))
      } catch (error) {
        failed(error)
      }
    return unfinished.length ? Promise.all(unfinished) : undefined
  }
}

const NO_MEMBERS: readonly Member[] = []
