/** Yjs updates as the data of events: base64, in pieces where one frame is too small. No I/O. */
import { fromBase64, toBase64 } from 'lib0/buffer'
import * as Y from 'yjs'

/** The event that carries updates. */
export const EVENT = 'yjs'

/** Bytes of an update in one frame: base64 and the rest of the frame stay below 64 KiB. */
export const PIECE = 40_000

/** A piece of an update that is larger than a frame. */
export interface Piece {
  /** The id of the update, chosen by its writer. */
  of: string
  part: number
  parts: number
  update: string
}

/** An event to publish. */
export interface Message {
  id: string | undefined
  data: string | Piece
}

/** The events for an update. The ids of pieces are fixed, so that a repeated piece is recognized. */
export function messagesOf(update: Uint8Array, pieceBytes: number, id: () => string): Message[] {
  if (update.length <= pieceBytes) return [{ id: undefined, data: toBase64(update) }]
  const of = id()
  const parts = Math.ceil(update.length / pieceBytes)
  return Array.from({ length: parts }, (_, part) => {
    const piece = update.subarray(part * pieceBytes, (part + 1) * pieceBytes)
    return { id: `${of}.${part}`, data: { of, part, parts, update: toBase64(piece) } }
  })
}

/** Pieces that wait for the others of their update. Those of an update that never becomes complete are few. */
const GROUPS = 1_000

/** Puts updates together. */
export class Assembly {
  readonly #groups = new Map<string, Map<number, Uint8Array>>()

  /**
   * The update that is complete with `data`, an event's data; undefined when pieces are missing.
   *
   * Throws an error for other data.
   */
  add(data: unknown, userId = ''): Uint8Array | undefined {
    if (typeof data === 'string') return fromBase64(data)
    const { of, part, parts, update } = data as Piece
    const name = JSON.stringify([userId, of])
    const group = this.#groups.get(name) ?? new Map<number, Uint8Array>()
    this.#groups.set(name, group.set(part, fromBase64(update)))
    if (group.size < parts) {
      if (this.#groups.size > GROUPS) this.#groups.delete(this.#groups.keys().next().value as string)
      return undefined
    }
    this.#groups.delete(name)
    return joined(Array.from({ length: parts }, (_, index) => group.get(index) ?? new Uint8Array()))
  }
}

function joined(pieces: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(pieces.reduce((bytes, { length }) => bytes + length, 0))
  let at = 0
  for (const piece of pieces) {
    whole.set(piece, at)
    at += piece.length
  }
  return whole
}

/** Apply updates as one transaction. Calls `failed` for each that cannot be read. */
export function applyAll(
  doc: Y.Doc,
  updates: readonly Uint8Array[],
  origin: unknown,
  failed: (error: unknown) => void = () => {},
): void {
  doc.transact(() => {
    for (const update of updates)
      try {
        Y.applyUpdate(doc, update, origin)
      } catch (error) {
        failed(error)
      }
  }, origin)
}

/** What `doc` has beyond `updates`; undefined when that is nothing. */
export function missingIn(updates: readonly Uint8Array[], doc: Y.Doc): Uint8Array | undefined {
  const other = new Y.Doc()
  applyAll(other, updates, undefined)
  const missing = Y.encodeStateAsUpdate(doc, Y.encodeStateVector(other))
  const known = Y.snapshotContainsUpdate(Y.snapshot(other), missing)
  other.destroy()
  return known ? undefined : missing
}
