/** Who is present: the members of one channel, as pure functions, and where this client is present itself. */
import type { EventFrame, Member } from './protocol.js'

export type Members = Map<string, Member>

const JOIN = 'presence:join'
const UPDATE = 'presence:update'
const LEAVE = 'presence:leave'

export function isPresence(event: string): boolean {
  return event === JOIN || event === UPDATE || event === LEAVE
}

/**
 * Apply a presence event to `members` and return what it is to an app that has been told of them: a join of a
 * member already known is an update, or undefined when nothing changed. Returns `frame` itself when it stands.
 */
export function apply(members: Members, frame: EventFrame): EventFrame | undefined {
  const state = frame.data as { userId?: string } | null
  const userId = frame.userId ?? state?.userId ?? ''
  const known = members.get(userId)
  if (frame.event === LEAVE) return members.delete(userId) ? frame : undefined
  if (known && same(known.state, state)) return undefined
  members.set(userId, { userId, state, since: known?.since ?? frame.timestamp ?? 0 })
  const event = known ? UPDATE : JOIN
  return frame.event === event ? frame : { ...frame, event }
}

/**
 * Make `members` what the server says they are, and return the events that lead there: this is how an app hears
 * of those who left while it was away.
 */
export function reconcile(members: Members, actual: readonly Member[]): EventFrame[] {
  const present = new Set(actual.map(({ userId }) => userId))
  const gone = [...members.values()].filter(({ userId }) => !present.has(userId))
  const frames = [
    ...gone.map((member) => event(LEAVE, member)),
    ...actual.map((member) => event(JOIN, member)),
  ]
  return frames.flatMap((frame) => apply(members, frame) ?? [])
}

/** One join per member, for a listener that comes later than they did. */
export function joins(members: Members): EventFrame[] {
  return Array.from(members.values(), (member) => ({ ...event(JOIN, member), snapshot: true }))
}

function event(event: string, { userId, state, since }: Member): EventFrame {
  return { type: 'event', event, data: state, userId, timestamp: since } as EventFrame
}

function same(one: unknown, other: unknown): boolean {
  return JSON.stringify(one) === JSON.stringify(other)
}

/** Where this client is present, and with which state: per topic the one tracked last by a handle that still tracks. */
export class Tracking {
  readonly #topics = new Map<string, Map<object, object>>()

  track(topic: string, by: object, state: object): void {
    const states = this.#topics.get(topic) ?? new Map<object, object>()
    states.delete(by)
    this.#topics.set(topic, states.set(by, state))
  }

  /** End what `by` tracks; false when it tracked nothing. */
  untrack(topic: string, by: object): boolean {
    return this.#topics.get(topic)?.delete(by) ?? false
  }

  /** The state that stands for this client, or undefined when it is not present on `topic`. */
  state(topic: string): object | undefined {
    return [...(this.#topics.get(topic)?.values() ?? [])].at(-1)
  }

  topics(): string[] {
    return [...this.#topics.keys()].filter((topic) => this.state(topic))
  }
}
