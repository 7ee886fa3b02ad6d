/** One wire subscription: pure state, frames in and payloads out, shared by every channel handle on its topic. */
import type { AerostackError } from './errors.js'
import { seen } from './filter.js'
import type { Kinds } from './kinds.js'
import type { RealtimePayload } from './payload.js'
import { apply, isPresence, joins, type Members, reconcile } from './presence.js'
import type {
  Answer,
  ChangeFrame,
  ClientFrame,
  EventFrame,
  Filter,
  Member,
  Slow,
  SnapshotFrame,
  SnapshotRequest,
} from './protocol.js'

/** What a channel handle is given; it knows its topic itself. */
type Payload = Omit<RealtimePayload, 'topic'>

/** The two ends of the promise of one who waits for a subscription. */
export interface Settle {
  resolve(): void
  reject(error: AerostackError): void
}

/** A channel handle, as its subscription sees it. */
export interface Subscriber {
  readonly filter: Filter | undefined
  readonly presence: boolean
  /** Continue after this cursor. */
  readonly since: string | undefined
  readonly policy?: Slow | undefined
  /** Calls the listeners; a promise stands for those that have not finished. Never throws or rejects. */
  deliver(payload: Payload): Promise<unknown> | undefined
  /** The rows it still needs. They are asked for before everything else, one subscriber's at a time. */
  readonly wants?: SnapshotRequest | undefined
  /** A part of those rows; with the last one it wants no more. */
  load?(part: SnapshotFrame): void
  /** From now on everything after the subscription's cursor is delivered. */
  live?(): void
  /** The server refused or ended the subscription. */
  failed?(error: AerostackError): void
}

type SubscribeFrame = Extract<ClientFrame, { type: 'subscribe' }>
type Wanted = Pick<SubscribeFrame, 'filter' | 'presence'> & Slow

/** How many cursors back a repeated event is recognised. The server repeats only around a resumption. */
const RECENT = 1_000

/**
 * `off`: the server does not know of it. `asked`: it was asked and has not answered; what arrives until then is
 * left alone, because the answer is followed by everything after the cursor. `live`: it delivers.
 */
type State = 'off' | 'asked' | 'live'

export class Subscription {
  readonly topic: string
  state: State = 'off'
  /** Everything up to here was handled, including what listeners returned promises for. */
  cursor: string | undefined
  /** What the last answer said: true or false after a resumption, null when there was nothing to resume. */
  recovered: boolean | null = null
  /** Of the table's columns. */
  #kinds: Kinds = {}
  readonly waiting: Settle[] = []
  /** How often in a row the server was not able to. */
  refusals = 0
  readonly #subscribers = new Set<Subscriber>()
  readonly #members: Members = new Map()
  #roster: readonly Member[] = []
  readonly #recent = new Set<string>()
  #handling: { cursor: string; finished: boolean }[] = []
  #asked: SubscribeFrame | undefined
  /** The filter and so on of that, written. */
  #covered = ''
  /** Whose rows were asked for; until they are there nobody else is served. */
  #loader: Subscriber | undefined

  constructor(topic: string) {
    this.topic = topic
  }

  get empty(): boolean {
    return !this.#subscribers.size
  }

  /** The members, a new array whenever they change. */
  get members(): readonly Member[] {
    return this.#roster
  }

  get askedId(): string | undefined {
    return this.#asked?.id
  }

  /** Whether `subscriber` is attached already. */
  has(subscriber: Subscriber): boolean {
    return this.#subscribers.has(subscriber)
  }

  /** Add `subscriber`; true when the server has to be asked (again) for its sake. */
  attach(subscriber: Subscriber): boolean {
    if (this.empty) this.cursor ??= subscriber.since
    else if (subscriber.since && !this.has(subscriber)) subscriber.deliver(gap())
    this.#subscribers.add(subscriber)
    return (
      this.state === 'off' ||
      (!this.#loader && (!!subscriber.wants || JSON.stringify(this.#wanted()) !== this.#covered))
    )
  }

  detach(subscriber: Subscriber): void {
    this.#subscribers.delete(subscriber)
  }

  /** Tell `subscriber`, which came later, who is there. */
  greet(subscriber: Subscriber): void {
    if (!this.has(subscriber) || !subscriber.presence) return
    for (const join of joins(this.#members)) subscriber.deliver(join)
  }

  /** The frame that asks the server: for a subscriber's rows, or for the union of what the subscribers want. */
  ask(id: string): SubscribeFrame {
    this.state = 'asked'
    const loader = [...this.#subscribers].find(({ wants }) => wants)
    this.#loader = loader
    const wanted = loader ? { filter: loader.filter, presence: false, ...loader.policy } : this.#wanted()
    this.#covered = JSON.stringify(wanted)
    this.#asked = {
      type: 'subscribe',
      topic: this.topic,
      id,
      ...wanted,
      ...(loader ? { snapshot: loader.wants } : { since: this.cursor }),
    }
    return this.#asked
  }

  /** The connection is gone, or the server ended the subscription. Returns whose rows it was to bring. */
  lost(): Subscriber | undefined {
    this.state = 'off'
    return this.#loader
  }

  /** Whoever waits for it has it. */
  resolve(): void {
    for (const { resolve } of this.waiting.splice(0)) resolve()
  }

  /** Tell whoever waits for it; false when nobody does. */
  failed(error: AerostackError): boolean {
    for (const subscriber of this.#subscribers) subscriber.failed?.(error)
    return this.waiting.splice(0).map(({ reject }) => reject(error)).length > 0
  }

  /** Take an answer; true when it is the one awaited. One without an id tells of a gap in a live subscription. */
  subscribed({ id, cursor, recovered = null, dropped, kinds }: Answer): boolean {
    if (id ? id !== this.#asked?.id || this.#loader : this.state !== 'live') return false
    if (id || kinds) this.#kinds = kinds ?? {}
    this.state = 'live'
    this.recovered = recovered
    if (!recovered) this.#goTo(cursor ?? this.cursor)
    if (recovered === false) this.#tell(() => gap(dropped))
    if (id) for (const subscriber of this.#subscribers) subscriber.live?.()
    return !!id
  }

  /**
   * Take rows. With the last of them: true when the changes after them follow, which is so for an only subscriber;
   * false when the server has to be asked for what the others lack. They go on from where they were.
   */
  load(frame: SnapshotFrame): boolean | undefined {
    const loader = this.#loader
    if (!loader || frame.id !== this.#asked?.id) return undefined
    loader.load?.(frame)
    if (!frame.last) return undefined
    this.#loader = undefined
    const alone = this.#subscribers.size === 1 && this.has(loader)
    if (!alone) this.cursor ??= frame.cursor
    return alone && this.subscribed(frame)
  }

  receive(frame: EventFrame | ChangeFrame): void {
    if (this.state !== 'live') return
    const { cursor } = frame
    const positioned = cursor && !(frame as EventFrame).snapshot
    if (positioned) {
      if (this.#recent.has(cursor)) return
      this.#remember(cursor)
    }
    const unfinished = frame.type === 'event' ? this.#event(frame) : this.#change(frame)
    if (positioned) this.#handled(cursor, unfinished)
  }

  /** Take the server's list of members, and tell what it changes. */
  reconcile(members: readonly Member[]): void {
    for (const event of reconcile(this.#members, members)) this.#presence(event)
  }

  #event(frame: EventFrame): Promise<unknown>[] {
    if (!isPresence(frame.event)) return this.#tell(() => frame)
    const event = apply(this.#members, frame)
    return event ? this.#presence(event) : []
  }

  #presence(event: EventFrame): Promise<unknown>[] {
    this.#roster = [...this.#members.values()]
    return this.#tell(({ presence }) => presence && event)
  }

  #change(frame: ChangeFrame): Promise<unknown>[] {
    const shared = this.#asked?.filter
    return this.#tell(({ filter }) => (filter && !shared ? seen(filter, frame, this.#kinds) : frame))
  }

  /** Deliver to each subscriber what `view` makes of it, and return what has not finished. */
  #tell(view: (subscriber: Subscriber) => Payload | false | undefined): Promise<unknown>[] {
    return [...this.#subscribers].flatMap((subscriber) => {
      const payload = view(subscriber)
      return (payload && subscriber.deliver(payload)) || []
    })
  }

  #goTo(cursor: string | undefined): void {
    this.cursor = cursor
    this.#handling = []
  }

  #remember(cursor: string): void {
    this.#recent.add(cursor)
    if (this.#recent.size > RECENT + this.#handling.length)
      this.#recent.delete(this.#recent.values().next().value as string)
  }

  /** Advance the cursor over what is finished, and no further than the first that is not. */
  #handled(cursor: string, unfinished: Promise<unknown>[]): void {
    const entry = { cursor, finished: false }
    const finish = () => {
      entry.finished = true
      while (this.#handling[0]?.finished) this.cursor = this.#handling.shift()?.cursor
    }
    this.#handling.push(entry)
    if (unfinished.length) Promise.all(unfinished).then(finish)
    else finish()
  }

  /** What all agree on; what they do not, the server is not asked for. */
  #wanted(): Wanted {
    const all = [...this.#subscribers]
    const agreed = <K extends 'filter' | 'policy'>(what: K): Subscriber[K] | undefined =>
      new Set(all.map((each) => JSON.stringify(each[what]))).size > 1 ? undefined : all[0]?.[what]
    return {
      filter: agreed('filter'),
      presence: all.some(({ presence }) => presence) ? undefined : false,
      ...agreed('policy'),
    }
  }
}

function gap(dropped?: number): Payload {
  return { type: 'event', event: 'gap', data: { reason: 'events may be missing', dropped } }
}
