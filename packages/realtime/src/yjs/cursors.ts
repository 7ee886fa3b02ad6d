/** Awareness over presence: each connection that edits is a member, with its awareness state. */
import type { Channel, Member, RealtimePayload } from 'aerostack-realtime'
import { createEncoder, toUint8Array, writeVarString, writeVarUint } from 'lib0/encoding'
import { type Awareness, applyAwarenessUpdate, removeAwarenessStates } from 'y-protocols/awareness'

/** What a connection tracks. */
interface Tracked {
  /** The client id of the Yjs document. */
  clientId: number
  /** The clock of the awareness state. */
  clock: number
  awareness: Record<string, unknown>
}

export class Cursors {
  readonly #awareness: Awareness
  readonly #channel: Channel
  readonly #origin: object
  #present = false

  /** `origin` marks the changes of `awareness` that come from others. */
  constructor(awareness: Awareness, channel: Channel, origin: object) {
    this.#awareness = awareness
    this.#channel = channel
    this.#origin = origin
  }

  /** Announce the local state. Without the right to be present, nothing is announced. */
  announce(): void {
    const state = this.#awareness.getLocalState()
    if (state === null) {
      this.leave()
      return
    }
    this.#present = true
    const { clientID } = this.#awareness
    const clock = this.#awareness.meta.get(clientID)?.clock ?? 0
    const tracked: Tracked = { clientId: clientID, clock, awareness: state }
    this.#channel.track(tracked, { per: 'connection' }).catch(() => {})
  }

  leave(): void {
    if (this.#present) this.#channel.untrack()
    this.#present = false
  }

  /** Apply a presence event. `members` are the members after it. */
  receive({ event, data }: RealtimePayload<Partial<Tracked> | null>, members: readonly Member[]): void {
    const { clientId } = data ?? {}
    if (typeof clientId !== 'number') return
    if (event !== 'presence:leave') this.#apply(data as Tracked)
    // A client that reconnected may be there twice for a moment, until its old connection times out.
    else if (!members.some(({ state }) => state?.clientId === clientId)) this.#remove([clientId])
  }

  /** Make the others those of `members`. */
  reconcile(members: readonly Member<Partial<Tracked> | null>[]): void {
    const here = new Set(members.map(({ state }) => state?.clientId))
    const { clientID, states } = this.#awareness
    this.#remove([...states.keys()].filter((id) => id !== clientID && !here.has(id)))
    for (const { state } of members) if (typeof state?.clientId === 'number') this.#apply(state as Tracked)
  }

  /** Nobody else is known to be here. */
  clear(): void {
    this.reconcile([])
  }

  #apply({ clientId, clock, awareness }: Tracked): void {
    if (clientId === this.#awareness.clientID) return
    const encoder = createEncoder()
    writeVarUint(encoder, 1)
    writeVarUint(encoder, clientId)
    writeVarUint(encoder, Number.isSafeInteger(clock) ? clock : 0)
    writeVarString(encoder, JSON.stringify(awareness ?? {}))
    applyAwarenessUpdate(this.#awareness, toUint8Array(encoder), this.#origin)
  }

  #remove(clientIds: number[]): void {
    if (!clientIds.length) return
    removeAwarenessStates(this.#awareness, clientIds, this.#origin)
    // Its clock is forgotten too: the same client may return with the same state.
    for (const id of clientIds) this.#awareness.meta.delete(id)
  }
}
