/** Presence: the members of a channel as pure functions, and where this client itself is present. */
import type { EventFrame, Member } from './protocol.js'

export type Members = Map<string, Member>

const JOIN = 'presence:join'
const UPDATE = 'presence:update'
const LEAVE = 'presence:leave'

export function isPresence(event: string): boolean {
  return event === JOIN || event === UPDATE || event === LEAVE
}

/**
 * Apply a presence event to `members` and return what it means to an app that knows them: the join of a known
 * member is an update, or undefined when nothing changed. Returns `frame` itself when it needs no change.
 */
export function applyPresence(members: Members, frame: EventFrame): EventFrame | undefined {
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
 * Replace `members` with the server's list, and return the events that describe the difference. This is how an app
 * learns who left while it was disconnected.
 */
export function reconcile(members: Members, actual: readonly Member[]): EventFrame[] {
  const present = new Set(actual.map(({ userId }) => userId))
  const gone = [...members.values()].filter(({ userId }) => !present.has(userId))
  const frames = [
    ...gone.map((member) => event(LEAVE, member)),
    ...actual.map((member) => event(JOIN, member)),
  ]
  return frames.flatMap((frame) => applyPresence(members, frame) ?? [])
}

/** One join per member, for a listener that was added after they joined. */
export function joins(members: Members): EventFrame[] {
  return Array.from(members.values(), (member) => ({ ...event(JOIN, member), snapshot: true }))
}

function event(event: string, { userId, state, since }: Member): EventFrame {
  return { type: 'event', event, data: state, userId, timestamp: since } as EventFrame
}

function same(one: unknown, other: unknown): boolean {
  return JSON.stringify(one) === JSON.stringify(other)
}

/**
 * Where this client is present and with which state. Several channels may track on one topic; the state of the one
 * that tracked last counts.
 */
export class Tracking {
  readonly #topics = new Map<string, Map<object, object>>()

  track(topic: string, owner: object, state: object): void {
    const states = this.#topics.get(topic) ?? new Map<object, object>()
    states.delete(owner)
    this.#topics.set(topic, states.set(owner, state))
  }

  /** End what `owner` tracks, or without an owner everything. Returns false when there was nothing. */
  untrack(topic: string, owner?: object): boolean {
    const states = this.#topics.get(topic)
    if (owner) return states?.delete(owner) ?? false
    states?.clear()
    return states !== undefined
  }

  /** The state that counts, or undefined when this client is not present on `topic`. */
  state(topic: string): object | undefined {
    return [...(this.#topics.get(topic)?.values() ?? [])].at(-1)
  }

  topics(): string[] {
    return [...this.#topics.keys()].filter((topic) => this.state(topic))
  }
}
