/** Local edits on their way to the server. An edit is saved when the server has acknowledged that it is stored. */
import type { AerostackError } from 'aerostack-realtime'
import * as Y from 'yjs'
import { type Message, messagesOf, PIECE } from './updates.js'

export interface OutgoingOptions {
  /** Store one event. Rejects with an AerostackError. */
  publish: (message: Message) => Promise<unknown>
  id: () => string
  /** Call back after a pause that grows with `attempt`. */
  later: (attempt: number, callback: () => void) => void
  /** Whether the client has stopped: what it refuses then was not refused by the server. */
  stopped: () => boolean
  /** `empty` may have changed. */
  changed: () => void
  /** The server refused an edit for good. */
  refused: (error: AerostackError) => void
}

/** No piece is smaller than this, whatever the server's limits are. */
const SMALLEST_PIECE = 512
/** As many updates wait before they are merged into one. */
const MERGE_AFTER = 100

export class Outgoing {
  readonly #options: OutgoingOptions
  #waiting: Uint8Array[] = []
  readonly #sent = new Set<Uint8Array>()
  #refused: Uint8Array[] = []
  #pieceBytes = PIECE

  constructor(options: OutgoingOptions) {
    this.#options = options
  }

  /** Whether every edit was acknowledged. */
  get empty(): boolean {
    return !this.#waiting.length && !this.#sent.size && !this.#refused.length
  }

  add(update: Uint8Array): void {
    this.#waiting.push(update)
    if (this.#waiting.length > MERGE_AFTER) this.#waiting = [Y.mergeUpdates(this.#waiting)]
  }

  /** Send all edits that wait, as one update. */
  send(): void {
    if (!this.#waiting.length) return
    const update = Y.mergeUpdates(this.#waiting.splice(0))
    this.#sent.add(update)
    this.#publish(update)
  }

  /** Send again what was refused: the rights may be others now. */
  retry(): void {
    this.#waiting.unshift(...this.#refused.splice(0))
    this.send()
  }

  async #publish(update: Uint8Array): Promise<void> {
    const { id, changed, refused, stopped } = this.#options
    try {
      const messages = messagesOf(update, this.#pieceBytes, id)
      await Promise.all(messages.map((message) => this.#deliver(message)))
      this.#sent.delete(update)
    } catch (failure) {
      const error = failure as AerostackError
      this.#sent.delete(update)
      if (stopped()) this.#waiting.unshift(update)
      else if (error.code === 'too_large' && this.#pieceBytes > SMALLEST_PIECE) {
        this.#pieceBytes = Math.floor(Math.min(this.#pieceBytes, update.length) / 2)
        this.#waiting.unshift(update)
        this.send()
      } else {
        this.#refused.push(update)
        refused(error)
      }
    }
    changed()
  }

  /** Publish one event, again and again while the server says that a later attempt may succeed. */
  async #deliver(message: Message): Promise<void> {
    for (let attempt = 0; ; attempt++)
      try {
        await this.#options.publish(message)
        return
      } catch (error) {
        if (!(error as AerostackError).retryable || this.#options.stopped()) throw error
        await new Promise<void>((resolve) => this.#options.later(attempt, resolve))
      }
  }
}
