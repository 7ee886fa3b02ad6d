/** Streams, messages that grow: their writer and their reader. Loaded on demand; not a part of the core. */
import { AerostackError } from './errors.js'
import type { ClientInternals } from './internals.js'
import type { Ack } from './outbox.js'
import type { RealtimePayload } from './payload.js'
import type { AppendFrame, EventFrame, StreamEnd, StreamState, StreamsRequest } from './protocol.js'
import type { Reply } from './reply.js'
import { withoutProject } from './topic.js'

/** The content of a stream: text, to which pieces are appended, or a list, to which items are appended. */
export type StreamData = string | readonly unknown[]

/** Options of `channel.stream`. */
export interface StreamOptions<T extends StreamData = string> {
  /** Names the stream in its channel. A writer that was started again continues its stream with the same id. */
  id?: string
  /** What the stream begins with. Default `''`; `[]` makes it a list. */
  data?: NoInfer<T>
  /** Keep the message for history, with what there is so far. */
  persist?: boolean
}

/** The writing end of a stream. Every promise may be ignored; failures then go to `onError`. */
export interface Stream<T extends StreamData = string> {
  readonly id: string
  /** How many pieces the server has. */
  readonly n: number
  /** Aborted when the stream was cancelled or cannot continue; the `reason` is an AerostackError. */
  readonly signal: AbortSignal
  /** Appends what is written to it. Closing it finishes the stream, aborting it fails the stream. */
  readonly writable: WritableStream<T>
  /** Append a piece. Resolves when the server has it; it need not be awaited before the next. */
  append(data: T): Promise<void>
  /** End the stream as complete. Resolves when the server has accepted the end; with `persist`, stored it. */
  finish(): Promise<void>
  /** End the stream as failed. */
  fail(): Promise<void>
}

/** A piece that has no acknowledgement yet, or had one; a server that crashed may ask for it again. */
interface Piece {
  data?: StreamData
  state?: StreamEnd
  reply: Reply<void>
}

/** Characters of a piece. Each takes at most six bytes in JSON, so that a piece fits into a frame of 64 KiB. */
const PIECE = 10_000
/** Pieces that `writable` sends before it waits for the server. */
const AHEAD = 64
const CANCELLED = 'The stream was cancelled.'

/**
 * Sends pieces as they come, without waiting for answers. Their numbers make that safe: the server ignores a repeated
 * piece and names the number to continue with when one is missing. All pieces are kept until the end, because a server
 * that crashed may have lost the last ones.
 */
export class Writer<T extends StreamData = StreamData> implements Stream<T> {
  readonly id: string
  n = 0
  /** Resolves with this stream once the server has accepted it. */
  readonly opened: Promise<Stream<T>>
  readonly #internals: ClientInternals
  readonly #topic: string
  readonly #event: string
  readonly #options: StreamOptions<T>
  readonly #key: string
  readonly #abort = new AbortController()
  #writable: WritableStream<T> | undefined
  readonly #pieces: Piece[] = []
  /** The number of the first of `#pieces`. */
  #first: number | undefined
  /** The number of the next piece to send. */
  #next = 0
  /** Increases when sending continues elsewhere, so that answers to earlier attempts are recognized. */
  #turn = 0
  /** Nothing is sent until the server has said where to continue. */
  #waiting = true
  #opening = false
  #refusals = 0
  /** A high surrogate that waits for its other half. */
  #half = ''
  #ending = false

  constructor(internals: ClientInternals, topic: string, event: string, options: StreamOptions<T>) {
    this.#internals = internals
    this.#topic = topic
    this.#event = event
    this.#options = options
    this.id = options.id ?? crypto.getRandomValues(new Uint32Array(4)).join('-')
    this.#key = JSON.stringify([topic, this.id])
    this.opened = internals.writers.has(this.#key)
      ? Promise.reject(this.#error('conflict', 'This client writes this stream already.'))
      : this.#begin()
  }

  get signal(): AbortSignal {
    return this.#abort.signal
  }

  get writable(): WritableStream<T> {
    this.#writable ??= new WritableStream<T>({
      start: (controller) =>
        this.signal.addEventListener('abort', () => controller.error(this.signal.reason)),
      write: (data) => {
        const done = this.append(data)
        done.catch(() => {}) // the next write reports it
        return this.#unanswered > AHEAD ? done : undefined
      },
      close: () => this.finish(),
      abort: () => this.fail(),
    })
    return this.#writable
  }

  append(data: T): Promise<void> {
    if (typeof data !== 'string') return this.#add({ data })
    const text = this.#half + data
    this.#half = /[\uD800-\uDBFF]$/.exec(text)?.[0] ?? ''
    return this.#addText(text.slice(0, text.length - this.#half.length))
  }

  finish(): Promise<void> {
    return this.#end('complete')
  }

  fail(): Promise<void> {
    return this.#end('failed')
  }

  /** Open the stream, again on every new connection: the server says how much of it it has. */
  async open(): Promise<void> {
    if (this.#opening) return
    this.#opening = true
    const sent = this.#next
    const { data = '', persist } = this.#options
    try {
      const ack = await this.#internals.request<Ack>({
        type: 'publish',
        topic: this.#topic,
        event: this.#event,
        data,
        persist,
        id: this.id,
        stream: true,
      })
      this.#opening = false
      this.#continue(ack, sent)
    } catch (error) {
      this.#opening = false
      this.#refused(error as AerostackError)
    }
  }

  /** The server reports that a stream of this client was cancelled. */
  cancel({ id, topic, reason }: { id: string; topic: string; reason?: string }): void {
    if (id === this.id && (topic === this.#topic || withoutProject(topic) === this.#topic))
      this.#close(this.#error('cancelled', reason || CANCELLED))
  }

  get #unanswered(): number {
    return (this.#first ?? 0) + this.#pieces.length - this.n
  }

  async #begin(): Promise<Stream<T>> {
    this.#internals.writers.set(this.#key, this as unknown as Writer)
    await this.open()
    if (this.#first === undefined) throw this.signal.reason
    return this
  }

  /** The server has answered an opening that was sent when `sent` pieces had been sent. */
  #continue({ n = 0, state = 'open' }: Ack, sent: number): void {
    if (state !== 'open') this.#ended(state)
    else if (n < (this.#first ?? n) || (this.#first !== undefined && n > this.#next))
      this.#close(this.#error('out_of_step', 'Another writer has continued this stream.'))
    else if (this.#waiting || n < sent) {
      this.#first ??= n
      this.#rewind(n)
    }
  }

  /** Continue with piece number `n`. */
  #rewind(n: number): void {
    this.#turn++
    this.#waiting = false
    this.#answered(n)
    this.n = this.#next = n
    this.#send()
  }

  #addText(text: string): Promise<void> {
    let last = Promise.resolve()
    for (let at = 0; at < text.length; ) {
      const whole = /[\uD800-\uDBFF]/.test(text[at + PIECE - 1] ?? '') ? PIECE - 1 : PIECE
      last = this.#add({ data: text.slice(at, at + whole).replace(/\p{Cs}/gu, '\uFFFD') })
      at += whole
    }
    return last
  }

  #add(piece: Omit<Piece, 'reply'>): Promise<void> {
    const reply = this.#internals.reply<void>()
    const { signal } = this
    if (signal.aborted) reply.reject(signal.reason)
    else if (this.#ending) reply.reject(this.#error('conflict', 'finish() or fail() was called.'))
    else {
      this.#ending = !!piece.state
      this.#pieces.push({ ...piece, reply })
      this.#send()
    }
    return reply
  }

  #end(state: StreamEnd): Promise<void> {
    if (this.#half && !this.signal.aborted) this.#add({ data: '\uFFFD' })
    this.#half = ''
    return this.#add({ state })
  }

  #send(): void {
    for (;;) {
      const piece = this.#pieces[this.#next - (this.#first ?? 0)]
      if (this.#waiting || !piece) return
      this.#sendPiece(piece, this.#next++)
    }
  }

  async #sendPiece({ data, state }: Piece, n: number): Promise<void> {
    const turn = this.#turn
    try {
      const ref = this.#internals.id()
      const request = { type: 'append', topic: this.#topic, id: this.id, n, data, state, ref } as const
      const ack = await this.#internals.request<Ack>(request)
      this.#refusals = 0
      if (ack.state && ack.state !== 'open') this.#ended(ack.state)
      else this.#answered(ack.n ?? n + 1)
    } catch (error) {
      if (turn === this.#turn) this.#refused(error as AerostackError, n)
    }
  }

  /** The server has all pieces before number `n`. */
  #answered(n: number): void {
    for (; this.n < n; this.n++) this.#pieces[this.n - (this.#first ?? 0)]?.reply.resolve()
  }

  /** The stream has ended, as this writer asked for or otherwise. */
  #ended(state: StreamEnd): void {
    const last = this.#pieces.at(-1)
    if (state === last?.state) {
      this.#answered((this.#first ?? 0) + this.#pieces.length - 1)
      last.reply.resolve()
      this.#forget()
    } else if (state === 'cancelled') this.#close(this.#error('cancelled', CANCELLED))
    else this.#close(this.#error('conflict', `The stream has ended as ${state}.`))
  }

  /** Decide what an error of piece `n`, or of the opening, means for this stream. */
  #refused(error: AerostackError, n = this.#next): void {
    const { code, retryable } = error
    const index = n - (this.#first ?? 0)
    if (code === 'out_of_step' && error.n !== undefined && error.n >= (this.#first ?? 0))
      this.#rewind(error.n)
    else if (code === 'not_found') this.#pause(() => this.open())
    else if ((code === 'too_large' || code === 'bad_message') && this.#pieces[index]) {
      if (this.#pieces[index]?.state) this.#ending = false
      this.#pieces.splice(index, 1)[0]?.reply.reject(error)
      this.#rewind(n)
    } else if (retryable && code !== 'network' && this.#first !== undefined)
      this.#pause(() => this.#internals.later(this.#refusals++, () => this.open()))
    else this.#close(error)
  }

  #pause(then: () => void): void {
    this.#turn++
    this.#waiting = true
    then()
  }

  #close(error: AerostackError): void {
    if (this.signal.aborted) return
    this.#forget()
    this.#turn++
    this.#waiting = true
    this.#abort.abort(error)
    for (const { reply } of this.#pieces) {
      if (error.code === 'cancelled') reply.catch(() => {}) // no failure; `signal` reports it
      reply.reject(error)
    }
  }

  #error(code: 'cancelled' | 'conflict' | 'out_of_step', message: string): AerostackError {
    return new AerostackError(code, message, false, this.#topic)
  }

  #forget(): void {
    this.#internals.writers.delete(this.#key)
  }
}

/** A payload without its topic, which the subscriber knows. */
type Payload = Omit<RealtimePayload, 'topic'>

/** How many ended streams are remembered, to recognize repeated frames. The server repeats only around a resumption. */
const RECENT = 1_000

/** How a stream ended. */
interface Ended {
  n: number
  state: StreamState | undefined
  timestamp: Payload['timestamp']
}

/** An open stream. `before` is how it had failed, as long as listeners have had all of it. */
interface Open {
  n: number
  payload: Payload
  before: Ended | undefined
}

/** The open streams of one subscription: frames in, payloads out. */
export class Reader {
  readonly #open = new Map<string, Open>()
  readonly #ended = new Map<string, Ended>()
  #live = false

  /** From now on the server sends all that follows. */
  live(): void {
    this.#live = true
  }

  /** The streams that are open, as a subscriber receives them that joins late. */
  open(): Payload[] {
    return [...this.#open.values()]
      .filter(({ before }) => !before)
      .map(({ payload }) => ({ ...payload, delta: payload.data }))
  }

  /** What to ask the server for: all streams, or the rest of those that are open here. */
  request(): StreamsRequest {
    return !this.#live || Object.fromEntries([...this.#open].map(([id, { n }]) => [id, n]))
  }

  /** Apply a frame. Returns what listeners receive, or undefined when it has nothing new. */
  read(frame: EventFrame | AppendFrame): Payload | undefined {
    const { id = '' } = frame
    const known = this.#open.get(id)
    if (frame.type !== 'append') {
      const ended = known ? undefined : this.#ended.get(id)
      const { stream = { n: 0, state: 'open' }, ...rest } = frame
      const same = ended?.timestamp === rest.timestamp // otherwise its id is used again
      if (ended && (same ? ended.state !== 'failed' : stream.state !== 'open')) return undefined
      const payload: Payload = { ...rest, state: stream.state }
      if (!known && !ended) payload.delta = rest.data
      return this.#keep(id, stream.n, payload, known?.before ?? (same ? ended : undefined))
    }
    const { n, to, data, state = 'open', cursor } = frame
    if (!known || (to <= known.n && state === 'open')) return undefined
    const { delta: _, ...earlier } = known.payload
    const payload: Payload = { ...earlier, state, cursor }
    if (data !== undefined && n === known.n && to > n) {
      if (n === (known.before?.n ?? n)) payload.delta = data
      payload.data = typeof data === 'string' ? earlier.data + data : [...earlier.data, ...data]
    }
    return this.#keep(id, Math.max(known.n, to), payload, known.before)
  }

  /** Remember it. A stream that has failed here may continue, because a server that did not know it said so. */
  #keep(id: string, n: number, payload: Payload, before: Ended | undefined): Payload | undefined {
    const { state, timestamp } = payload
    const repeats = before && n <= before.n && (state === 'open' || state === 'failed')
    if (state === 'open') this.#open.set(id, { n, payload, before: repeats ? before : undefined })
    else {
      this.#open.delete(id)
      this.#ended.set(id, repeats ? before : { n, state, timestamp })
      if (this.#ended.size > RECENT) this.#ended.delete(this.#ended.keys().next().value as string)
    }
    return repeats ? undefined : payload
  }
}
