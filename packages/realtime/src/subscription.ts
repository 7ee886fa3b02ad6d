/** One subscription on the wire, shared by all channels of a topic: frames in, payloads out. No I/O. */
import type { ColumnTypes } from './column-types.js'
import type { AerostackError } from './errors.js'
import type * as Filters from './filter.js'
import type { Gap, RealtimePayload } from './payload.js'
import { applyPresence, isPresence, joins, type Members, reconcile } from './presence.js'
import type {
  Answer,
  AppendFrame,
  ChangeFrame,
  ClientFrame,
  EventFrame,
  Filter,
  Member,
  Slow,
  SnapshotFrame,
  SnapshotRequest,
} from './protocol.js'
import type { Reader } from './streams.js'

/** A payload without its topic, which the subscriber knows. */
type Payload = Omit<RealtimePayload, 'topic'>

/** A caller that waits for the server's answer. */
export interface Settle {
  resolve(): void
  reject(error: AerostackError): void
}

/** A channel or a live table, as its subscription sees it. */
export interface Subscriber {
  readonly filter?: Filter | undefined
  readonly presence: boolean
  /** Continue after this cursor. */
  readonly since?: string | undefined
  readonly policy?: Slow | undefined
  /** Whether it receives streams while they grow. */
  readonly streams?: boolean | undefined
  /** How many persisted messages it begins with. */
  readonly history?: number | 'all' | undefined
  /** Whether the server has accepted its filter in a request for it alone. Set by the subscription. */
  accepted?: boolean
  /**
   * Call the listeners. The promise, if any, settles when asynchronous listeners have finished. Never throws or
   * rejects.
   */
  deliver(payload: Payload): Promise<unknown> | undefined
  /** The rows it still needs. They are requested before everything else, for one subscriber at a time. */
  readonly wants?: SnapshotRequest | undefined
  /** Receive a part of those rows. After the last part it wants no more. */
  load?(part: SnapshotFrame): void
  /** From now on everything after the subscription's cursor is delivered, first this number of stored messages. */
  live?(history: number | undefined): void
  /** The server refused or ended the subscription. */
  failed?(error: AerostackError): void
  /** Channels only: end this subscriber. */
  unsubscribe?(): void
  /** Channels only: remove a listener. */
  off?(event: string, listener: (payload: RealtimePayload) => unknown): unknown
}

type SubscribeFrame = Extract<ClientFrame, { type: 'subscribe' }>
type Wanted = Pick<SubscribeFrame, 'filter' | 'presence'> & { streams?: true | undefined } & Slow

/** How many cursors are remembered to recognize repeated events. The server repeats only around a resumption. */
const RECENT = 1_000

/**
 * - `off`: the server does not know the subscription.
 * - `requested`: the server has not answered yet. Events are ignored, because the answer is followed by everything
 *   after the cursor.
 * - `live`: events are delivered.
 */
type State = 'off' | 'requested' | 'live'

export class Subscription {
  readonly topic: string
  state: State = 'off'
  /** The last event that all listeners have finished with, including the promises they returned. */
  cursor: string | undefined
  /** Whether the last resumption was without a gap; null when there was nothing to resume. */
  recovered: boolean | null = null
  /** Callers of `subscribe` that wait for the server's answer. */
  readonly waiting = new Map<Settle, Subscriber>()
  /** Retryable refusals in a row. */
  refusals = 0
  /** Make each subscriber's view where the server sends more than one filter lets through. */
  #filters: typeof Filters | undefined
  #columnTypes: ColumnTypes = {}
  readonly #subscribers = new Set<Subscriber>()
  readonly #members: Members = new Map()
  #memberList: readonly Member[] = []
  readonly #recent = new Set<string>()
  #unfinished: { cursor: string; finished: boolean }[] = []
  #request: SubscribeFrame | undefined
  /** What was requested, as JSON. */
  #requested = ''
  /** Whether the server has answered once. */
  #begun = false
  /** The streams that are open, where a subscriber asks for them. */
  #reader: Reader | undefined
  /** The subscriber whose rows were requested, or whose filter. Until the answer nobody else is served. */
  #loader: Subscriber | undefined

  constructor(topic: string) {
    this.topic = topic
  }

  get empty(): boolean {
    return !this.#subscribers.size
  }

  get subscribers(): readonly Subscriber[] {
    return [...this.#subscribers]
  }

  /** The members; a new array whenever they change. */
  get members(): readonly Member[] {
    return this.#memberList
  }

  get requestId(): string | undefined {
    return this.#request?.id
  }

  has(subscriber: Subscriber): boolean {
    return this.#subscribers.has(subscriber)
  }

  /** Add `subscriber`. Returns true when a new request to the server is necessary. */
  attach(subscriber: Subscriber): boolean {
    const { since, history } = subscriber
    if (this.empty) this.cursor ??= since
    else if ((since || (history && this.#begun)) && !this.has(subscriber))
      subscriber.deliver(this.#gap('not_recovered', since))
    this.#subscribers.add(subscriber)
    return (
      this.state === 'off' ||
      (!this.#loader &&
        (!!this.#next() ||
          JSON.stringify(this.#wanted()) !== this.#requested ||
          (!this.#begun && this.#agreed('history') !== this.#request?.history) ||
          (this.filters && !this.#filters)))
    )
  }

  detach(subscriber: Subscriber): void {
    this.#subscribers.delete(subscriber)
  }

  /** Send the present members, and the open streams, to a subscriber that was added after them. */
  sendPresent(subscriber: Subscriber): void {
    const present = [
      ...(subscriber.presence ? joins(this.#members) : []),
      ...((subscriber.streams && this.#reader?.open()) || []),
    ]
    queueMicrotask(() => {
      if (this.has(subscriber)) for (const each of present) subscriber.deliver(each)
    })
  }

  /** Whether a subscriber asks for streams, so that `request` needs the `Reader`. */
  get streams(): boolean {
    return this.subscribers.some(({ streams }) => streams)
  }

  /** Whether the next request is for subscribers with different filters, so that it needs `Filters`. */
  get filters(): boolean {
    const all = this.subscribers
    return all.some(({ filter }) => filter) && !all.some(({ wants }) => wants) && !this.#agreed('filter')
  }

  /** Deliver nothing until the answer to the next request. */
  pause(): void {
    this.state = 'requested'
    this.#request = undefined
  }

  /**
   * The next request to the server: for one subscriber's rows; or else for one subscriber's filter, which the server
   * would not see otherwise; or else for everything that is wanted.
   */
  request(id: string, filters?: typeof Filters, reader?: typeof Reader): SubscribeFrame {
    this.pause()
    this.#reader = this.streams && reader ? (this.#reader ?? new reader()) : undefined
    this.#filters = filters
    const loader = this.#next()
    this.#loader = loader
    const wanted = loader ? { filter: loader.filter, presence: false, ...loader.policy } : this.#wanted()
    this.#requested = JSON.stringify(wanted)
    this.#request = {
      type: 'subscribe',
      topic: this.topic,
      advice: true,
      id,
      ...wanted,
      ...(loader ? { snapshot: loader.wants } : { since: this.cursor }),
      streams: this.#reader?.request(),
      history: this.#begun || loader ? undefined : this.#agreed('history'),
    }
    return this.#request
  }

  /** The connection is gone, or the server ended the subscription. Returns the subscriber that waits for rows. */
  lost(): Subscriber | undefined {
    this.state = 'off'
    return this.#loader
  }

  /** Resolve all callers that wait. */
  resolve(): void {
    for (const { resolve } of this.waiting.keys()) resolve()
    this.waiting.clear()
  }

  /**
   * Reject all callers that wait, or those of the `only` subscriber, if the error is `final`; the others wait for the
   * next request. Returns false when no caller receives the error.
   */
  failed(error: AerostackError, final = !error.retryable, only?: Subscriber): boolean {
    for (const subscriber of only ? [only] : this.#subscribers) subscriber.failed?.(error)
    let received = false
    for (const [settle, subscriber] of final ? this.waiting : [])
      if (!only || subscriber === only) {
        settle.reject(error)
        received = this.waiting.delete(settle)
      }
    return received
  }

  /**
   * Apply a `subscribed` frame. Returns true when it answers the current request for everything that is wanted;
   * undefined when another request is necessary, because this one was about one subscriber's filter.
   */
  subscribed({ id, cursor, recovered = null, dropped, columnTypes, history }: Answer): boolean | undefined {
    const loader = this.#loader
    if (id ? id !== this.#request?.id : this.state !== 'live') return false
    if (loader) {
      loader.accepted = true
      if (loader.wants) return false // its rows follow
      this.#loader = undefined
      return undefined
    }
    if (id || columnTypes) this.#columnTypes = columnTypes ?? {}
    this.state = 'live'
    this.recovered = recovered
    const since = this.cursor
    const begins = !this.#begun
    this.#begun = true
    this.#reader?.live()
    if (!recovered) {
      this.cursor = cursor ?? this.cursor
      this.#unfinished = []
    }
    if (recovered === false) {
      const reason = id ? 'not_recovered' : dropped === undefined ? 'interrupted' : 'dropped'
      this.#deliver(() => this.#gap(reason, since, dropped))
    }
    if (begins && !this.#request?.history)
      this.#deliver(({ history }) => history && this.#gap('not_recovered', since))
    if (id) for (const subscriber of this.#subscribers) subscriber.live?.(history)
    return !!id
  }

  /**
   * Apply a part of a snapshot. After the last part: true when its changes follow, which is the case for an only
   * subscriber; undefined when another request is necessary, so that the other subscribers continue where they were.
   */
  load(frame: SnapshotFrame): boolean | undefined {
    const loader = this.#loader
    if (!loader || frame.id !== this.#request?.id) return false
    loader.load?.(frame)
    if (!frame.last) return false
    this.#loader = undefined
    if (this.#subscribers.size === 1 && this.has(loader)) return this.subscribed(frame)
    this.cursor ??= frame.cursor
    return undefined
  }

  /** Deliver an event, unless it is a repetition. */
  receive(frame: EventFrame | AppendFrame | ChangeFrame): void {
    if (this.state !== 'live') return
    const { cursor } = frame
    if (frame.type === 'append' || (frame as EventFrame).stream) {
      this.#handled(cursor as string, this.#stream(frame as AppendFrame))
      return
    }
    const positioned = cursor && !(frame as EventFrame).snapshot
    if (positioned) {
      if (this.#recent.has(cursor)) return
      if (this.#recent.add(cursor).size > RECENT + this.#unfinished.length)
        this.#recent.delete(this.#recent.values().next().value as string)
    }
    const unfinished = frame.type === 'db_change' ? this.#change(frame) : this.#event(frame)
    if (positioned) this.#handled(cursor, unfinished)
  }

  /**
   * Apply the server's list of members, if some are known, and deliver the differences. The list counts at its place
   * among the frames: an event that follows it is newer.
   */
  reconcile(members: readonly Member[]): void {
    if (this.state === 'live' && this.#members.size)
      for (const event of reconcile(this.#members, members)) this.#presence(event)
  }

  #event(frame: EventFrame): Promise<unknown>[] {
    const { event = frame.type } = frame // a chat message may come without a name
    if (!isPresence(event)) return this.#deliver(() => ({ ...frame, event }))
    const change = applyPresence(this.#members, frame)
    return change ? this.#presence(change) : []
  }

  /** Deliver what is new in a stream; its whole content at the end to subscribers that do not ask for streams. */
  #stream(frame: EventFrame | AppendFrame): Promise<unknown>[] {
    const payload = this.#reader?.read(frame)
    if (!payload) return []
    const { delta, state, ...whole } = payload
    return this.#deliver(({ streams }) => (streams ? payload : state !== 'open' && whole))
  }

  #presence(event: EventFrame): Promise<unknown>[] {
    this.#memberList = [...this.#members.values()]
    return this.#deliver(({ presence }) => presence && event)
  }

  #change(frame: ChangeFrame): Promise<unknown>[] {
    const view = this.#request?.filter ? undefined : this.#filters?.changeInView // the server may have filtered already
    return this.#deliver(({ filter }) => (filter && view ? view(filter, frame, this.#columnTypes) : frame))
  }

  /** Deliver to each subscriber its `view` of an event. Returns the listeners that have not finished. */
  #deliver(view: (subscriber: Subscriber) => Payload | 0 | '' | false | undefined): Promise<unknown>[] {
    return this.subscribers.flatMap((subscriber) => {
      const payload = view(subscriber)
      return (payload && subscriber.deliver(payload)) || []
    })
  }

  #gap(reason: Gap['reason'], since: string | null = null, dropped?: number): Payload {
    return { type: 'event', event: 'gap', cursor: this.cursor, data: { reason, since, dropped } }
  }

  /** Advance the cursor over finished events, up to the first that is not finished. */
  #handled(cursor: string, listeners: Promise<unknown>[]): void {
    const entry = { cursor, finished: false }
    const finish = () => {
      entry.finished = true
      while (this.#unfinished[0]?.finished) this.cursor = this.#unfinished.shift()?.cursor
    }
    this.#unfinished.push(entry)
    if (listeners.length) Promise.all(listeners).then(finish)
    else finish()
  }

  /** The subscriber that is to be served alone next, for its rows or because the server has not seen its filter. */
  #next(): Subscriber | undefined {
    const all = this.subscribers
    return all.find(({ wants }) => wants) ?? this.#filters?.unseen(all)
  }

  /** What all subscribers agree on. Where they disagree, everything is requested. */
  #wanted(): Wanted {
    return {
      filter: this.#agreed('filter'),
      presence: this.subscribers.some(({ presence }) => presence) ? undefined : false,
      streams: this.streams || undefined,
      ...this.#agreed('policy'),
    }
  }

  #agreed<K extends 'filter' | 'policy' | 'history'>(what: K): Subscriber[K] | undefined {
    const all = this.subscribers
    return new Set(all.map((each) => JSON.stringify(each[what]))).size > 1 ? undefined : all[0]?.[what]
  }
}
