/** A model of the server and its database for one table: what a test writes is what a client must show. */

import { changeInView, matches } from '../../src/filter.js'
import type {
  ChangeFrame,
  ClientFrame,
  Filter,
  Row,
  ServerFrame,
  SnapshotRequest,
} from '../../src/protocol.js'
import type { TestSocket } from './network.js'

export interface View {
  filter?: Filter | undefined
  order?: string | undefined
  limit?: number | undefined
}

/** The one subscription of the one connection. */
interface Live {
  socket: TestSocket
  filter: Filter | undefined
}
type Collation = 'binary' | 'nocase'
type Change = Omit<ChangeFrame, 'type' | 'topic' | 'cursor'>

const CHUNK = 2

export class Database {
  readonly #topic: string
  readonly #collation: Collation
  /** The rows before the first change and after each change. */
  readonly versions: ReadonlyMap<number, Row>[] = [new Map()]
  #log: { at: number; change: Change }[] = []
  #epoch = 1
  /** Changes up to this one are no longer in the log. */
  #forgotten = 0
  #live: Live | undefined
  #read = new Map<TestSocket, number>()
  #saying: { socket: TestSocket; frame: ServerFrame }[] = []

  constructor(topic: string, collation: Collation = 'binary') {
    this.#topic = topic
    this.#collation = collation
  }

  get now(): number {
    return this.versions.length - 1
  }

  get rows(): ReadonlyMap<number, Row> {
    return this.versions[this.now] as ReadonlyMap<number, Row>
  }

  /** `SELECT … WHERE filter ORDER BY order, id LIMIT limit`, as it was after change number `at`. */
  select({ filter, order, limit }: View, at = this.now): Row[] {
    const column = order?.replace('-', '')
    const rows = [...(this.versions[at] as Map<number, Row>).values()].filter(
      (row) => !filter || matches(filter, row),
    )
    rows.sort((one, other) => {
      const verdict = column
        ? this.#compare(one[column], other[column]) * (order?.startsWith('-') ? -1 : 1)
        : 0
      return verdict || (one.id as number) - (other.id as number)
    })
    return rows.slice(0, limit)
  }

  put(row: Row & { id: number }): void {
    const old = this.rows.get(row.id)
    this.#change(old ? { operation: 'UPDATE', data: row, old } : { operation: 'INSERT', data: row })
  }

  delete(id: number): void {
    const old = this.rows.get(id)
    if (old) this.#change({ operation: 'DELETE', data: old, old })
  }

  /** Restore an earlier version: subscribers get a gap, and earlier cursors become invalid. */
  restore(at: number): void {
    this.versions.push(this.versions[at] as Map<number, Row>)
    this.#epoch++
    this.#log = []
    this.#forgotten = this.now
    if (this.#live) this.#say(this.#live.socket, this.#subscribed(this.#cursor(this.now), false))
  }

  /** Empty the log: a client that reconnects has a gap. */
  forget(): void {
    this.#log = []
    this.#forgotten = this.now
  }

  /** Handle the oldest unhandled command of `socket`. Returns false when there is none. */
  handle(socket: TestSocket): boolean {
    const next = this.#read.get(socket) ?? 0
    const frame = socket.sent[next]
    if (!frame) return false
    this.#read.set(socket, next + 1)
    this.#command(socket, frame)
    return true
  }

  /** Deliver the oldest undelivered frame. Returns false when there is none. */
  deliver(): boolean {
    const next = this.#saying.shift()
    next?.socket.say(next.frame)
    return next !== undefined
  }

  /** Lose the connection and the frames that were not delivered. */
  cut(socket: TestSocket): void {
    this.#live = undefined
    this.#saying = []
    socket.drop()
  }

  #change(change: Change): void {
    const rows = new Map(this.rows)
    if (change.operation === 'DELETE') rows.delete(change.data.id as number)
    else rows.set(change.data.id as number, change.data)
    this.versions.push(rows)
    this.#log.push({ at: this.now, change })
    if (this.#live) this.#tell(this.#live, this.now, change)
  }

  #command(socket: TestSocket, frame: ClientFrame): void {
    if (frame.type === 'presence')
      this.#say(socket, { type: 'presence', topic: frame.topic, members: [], id: frame.id })
    if (frame.type === 'unsubscribe') this.#live = undefined
    if (frame.type !== 'subscribe') return
    const { filter, snapshot, since, id } = frame
    this.#live = { socket, filter }
    if (snapshot) this.#snapshot(socket, snapshot, filter, id)
    else if (since) this.#resume(since, id)
    else this.#say(socket, this.#subscribed(this.#cursor(this.now), null, id))
  }

  #snapshot(
    socket: TestSocket,
    asked: SnapshotRequest,
    filter: Filter | undefined,
    id: string | undefined,
  ): void {
    const rows = this.select({ filter, ...(typeof asked === 'object' && asked) })
    const cursor = this.#cursor(this.now)
    this.#say(socket, this.#subscribed(cursor, null, id))
    for (let from = 0; from === 0 || from < rows.length; from += CHUNK) {
      const part = rows.slice(from, from + CHUNK)
      const last = from + CHUNK >= rows.length
      this.#say(socket, { type: 'snapshot', topic: this.#topic, rows: part, cursor, last, id: id ?? '' })
    }
  }

  #resume(since: string, id: string | undefined): void {
    const [epoch, at] = since.split('.').map(Number) as [number, number]
    const recovered = epoch === this.#epoch && at >= this.#forgotten
    const live = this.#live as Live
    this.#say(live.socket, this.#subscribed(recovered ? since : this.#cursor(this.#forgotten), recovered, id))
    for (const entry of this.#log) if (!recovered || entry.at > at) this.#tell(live, entry.at, entry.change)
  }

  #tell({ socket, filter }: Live, at: number, change: Change): void {
    const shown = filter ? changeInView(filter, change) : change
    if (shown)
      this.#say(socket, { type: 'db_change', topic: this.#topic, ...shown, cursor: this.#cursor(at) })
  }

  #subscribed(cursor: string, recovered: boolean | null, id?: string): ServerFrame {
    return { type: 'subscribed', topic: this.#topic, cursor, recovered, ...(id && { id }) }
  }

  #say(socket: TestSocket, frame: ServerFrame): void {
    this.#saying.push({ socket, frame: structuredClone(frame) })
  }

  #cursor(at: number): string {
    return `${this.#epoch}.${at}`
  }

  #compare(one: unknown, other: unknown): number {
    const rank = (value: unknown) => (value === null ? 0 : typeof value === 'number' ? 1 : 2)
    if (rank(one) !== rank(other)) return rank(one) - rank(other)
    if (typeof one === 'number') return one - (other as number)
    if (typeof one !== 'string') return 0
    const [a, b] = [one, other as string].map((text) =>
      this.#collation === 'nocase' ? text.toLowerCase() : text,
    )
    return Buffer.compare(Buffer.from(a ?? ''), Buffer.from(b ?? ''))
  }
}
