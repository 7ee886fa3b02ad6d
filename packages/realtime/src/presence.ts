/** Who is present on one channel, as pure functions over the members known. */
import type { EventFrame, Member } from './protocol.js'

export type Members = Map<string, Member>
export type Transition = Pick<EventFrame, 'event' | 'data' | 'userId' | 'timestamp' | 'snapshot'>

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
 * Make `members` what the server says they are, and return the transitions that lead there: this is how an app
 * hears of those who left while it was away.
 */
export function reconcile(members: Members, actual: readonly Member[]): Transition[] {
  const transitions: Transition[] = []
  const present = new Set(actual.map((member) => member.userId))
  for (const [userId, member] of [...members])
    if (!present.has(userId)) {
      members.delete(userId)
      transitions.push({ event: LEAVE, data: member.state, userId })
    }
  for (const member of actual) {
    const known = members.get(member.userId)
    members.set(member.userId, member)
    if (!known || !same(known.state, member.state))
      transitions.push({ event: known ? UPDATE : JOIN, data: member.state, userId: member.userId })
  }
  return transitions
}

/** One join per member, for a listener that comes later than they did. */
export function joins(members: Members): Transition[] {
  return Array.from(members.values(), ({ userId, state, since }) => ({
    event: JOIN,
    data: state,
    userId,
    timestamp: since,
    snapshot: true,
  }))
}

function same(one: unknown, other: unknown): boolean {
  return JSON.stringify(one) === JSON.stringify(other)
}
