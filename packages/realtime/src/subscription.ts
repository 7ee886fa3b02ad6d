/** One wire subscription: pure state, frames in and payloads out, shared by every channel handle on its topic. */
import { seen } from './filter.js'
import type { RealtimePayload } from './payload.js'
import { apply, isPresence, joins, type Members, reconcile } from './presence.js'
import type { ChangeFrame, ClientFrame, EventFrame, Filter, Member, ServerFrame } from './protocol.js'

/** What a channel handle is given; it knows its topic itself. */
type Payload = Omit<RealtimePayload, 'topic'>

/** A channel handle, as its subscription sees it. */
export interface Subscriber {
  readonly filter: Filter | undefined
  readonly presence: boolean
  /** Continue after this cursor. */
  readonly since: string | undefined
  /** Calls the listeners; a promise stands for those that have not finished. Never throws or rejects. */
  deliver(payload: Payload): Promise<unknown> | undefined
}

type SubscribeFrame = Extract<ClientFrame, { type: 'subscribe' }>
type SubscribedFrame = Extract<ServerFrame, { type: 'subscribed' }>

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
  readonly #subscribers = new Set<Subscriber>()
  readonly #members: Members = new Map()
  #roster: readonly Member[] = []
  readonly #recent = new Set<string>()
  #handling: { cursor: string; finished: boolean }[] = []
  #asked: SubscribeFrame | undefined

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
    else if (subscriber.since && !this.has(subscriber)) subscriber.deliver(gap('subscribed already'))
    this.#subscribers.add(subscriber)
    return this.state === 'off' || !this.#covers()
  }

  detach(subscriber: Subscriber): void {
    this.#subscribers.delete(subscriber)
  }

  /** Tell `subscriber`, which came later, who is there. */
  greet(subscriber: Subscriber): void {
    if (!this.has(subscriber) || !subscriber.presence) return
    for (const join of joins(this.#members)) subscriber.deliver(join)
  }

  /** The frame that asks the server; what it covers is the union of what the subscribers want. */
  ask(id: string): SubscribeFrame {
    this.state = 'asked'
    const frame: SubscribeFrame = { type: 'subscribe', topic: this.topic, id, ...this.#wanted() }
    if (this.cursor) frame.since = this.cursor
    this.#asked = frame
    return frame
  }

  /** The connection is gone, or the server ended the subscription. */
  lost(): void {
    this.state = 'off'
  }

  /** Take an answer; true when it is the one awaited. One without an id tells of a gap in a live subscription. */
  subscribed(frame: SubscribedFrame): boolean {
    if (frame.id ? frame.id !== this.#asked?.id : this.state !== 'live') return false
    this.state = 'live'
    this.recovered = frame.recovered ?? null
    if (frame.recovered !== true) {
      this.cursor = frame.cursor ?? this.cursor
      this.#handling = []
    }
    if (frame.recovered === false) this.#tell(() => gap('some events could not be replayed'))
    return !!frame.id
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
    return this.#tell(({ filter }) => (filter && !shared ? seen(filter, frame) : frame))
  }

  /** Deliver to each subscriber what `view` makes of it, and return what has not finished. */
  #tell(view: (subscriber: Subscriber) => Payload | false | undefined): Promise<unknown>[] {
    return [...this.#subscribers].flatMap((subscriber) => {
      const payload = view(subscriber)
      return (payload && subscriber.deliver(payload)) || []
    })
  }

  #remember(cursor: string): void {
    this.#recent.add(cursor)
    if (this.#recent.size > RECENT) this.#recent.delete(this.#recent.values().next().value as string)
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

  #wanted(): { filter?: Filter; presence?: boolean } {
    const filters = new Map([...this.#subscribers].map(({ filter }) => [JSON.stringify(filter), filter]))
    const filter = filters.size === 1 ? [...filters.values()][0] : undefined
    const presence = [...this.#subscribers].some((subscriber) => subscriber.presence)
    return { ...(filter && { filter }), ...(!presence && { presence }) }
  }

  /** Whether what was asked for includes what is wanted now. */
  #covers(): boolean {
    const { filter, presence } = this.#wanted()
    const asked = this.#asked as SubscribeFrame
    const rows = !asked.filter || JSON.stringify(asked.filter) === JSON.stringify(filter)
    return rows && (asked.presence ?? true) >= (presence ?? true)
  }
}

function gap(reason: string): Payload {
  return { type: 'event', event: 'gap', data: { reason } }
}
