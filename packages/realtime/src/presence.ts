/** Presence: the members of a channel as pure functions, and where this client itself is present. */
import type { ClientFrame, EventFrame, Member } from './protocol.js'

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
  const { data: state, userId = '', connectionId } = frame
  const key = keyOf({ userId, connectionId })
  const known = members.get(key)
  if (frame.event === LEAVE) return members.delete(key) ? frame : undefined
  if (known && JSON.stringify(known.state) === JSON.stringify(state)) return undefined
  members.set(key, { userId, connectionId, state, since: known?.since ?? frame.timestamp ?? 0 })
  const event = known ? UPDATE : JOIN
  return frame.event === event ? frame : { ...frame, event }
}

/**
 * Replace `members` with the server's list, and return the events that describe the difference. This is how an app
 * learns who left while it was disconnected.
 */
export function reconcile(members: Members, actual: readonly Member[]): EventFrame[] {
  const gone = new Map(members)
  for (const member of actual) gone.delete(keyOf(member))
  const frames = [
    ...[...gone.values()].map((member) => event(LEAVE, member)),
    ...actual.map((member) => event(JOIN, member)),
  ]
  return frames.flatMap((frame) => applyPresence(members, frame) ?? [])
}

/** One join per member, for a listener that was added after they joined. */
export function joins(members: Members): EventFrame[] {
  return [...members.values()].map((member) => ({ ...event(JOIN, member), snapshot: true }))
}

function event(event: string, { state, since, ...member }: Member): EventFrame {
  return { type: 'event', event, data: state, ...member, timestamp: since } as EventFrame
}

/** A connection id has no space, so no user id can pass for a connection. */
function keyOf({ userId, connectionId }: Pick<Member, 'userId' | 'connectionId'>): string {
  return `${connectionId} ${userId}`
}

/** The command that makes a client present. */
export type Track = Extract<ClientFrame, { type: 'track' }>

/**
 * Where this client is present and with which state. Several channels may track on one topic; the state of the one
 * that tracked last counts.
 */
export class Tracking {
  /** By the channel that tracks, the last one at the end. */
  readonly #tracked = new Map<object, Track>()

  track(owner: object, command: Track): void {
    this.#tracked.delete(owner)
    this.#tracked.set(owner, command)
  }

  /** End what `owner` tracks, or without an owner everything. Returns false when there was nothing. */
  untrack(topic: string, owner?: object): boolean {
    let ended = false
    for (const [each, command] of this.#tracked)
      if (command.topic === topic && each === (owner ?? each)) ended = this.#tracked.delete(each)
    return ended
  }

  /** The command that counts on each topic where this client is present. */
  commands(): Map<string, Track> {
    return new Map([...this.#tracked.values()].map((command) => [command.topic, command]))
  }
}
