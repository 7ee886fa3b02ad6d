/** One socket to the server: connect, heartbeat, reconnect. Knows nothing about topics. */
import { backoff, longestBackoff } from './backoff.js'
import { errorCodeOfClose, HEARTBEAT_TIMED_OUT, isFinal, RATE_LIMITED, TOKEN_REFUSED } from './close-codes.js'
import { AerostackError, wrap } from './errors.js'
import type { Limits } from './limits.js'
import {
  type ClientFrame,
  type ConnectedFrame,
  decode,
  encode,
  type ServerFrame,
  SUBPROTOCOL,
} from './protocol.js'

/**
 * The state of a client's connection. `reconnecting`: it was lost, or could not be made, and the client will try
 * again. `disconnected`: the client does not try again until `connect()` is called.
 */
export type Status = 'idle' | 'connecting' | 'connected' | 'reconnecting' | 'disconnected'

/** The parts of a WebSocket that the client uses: the browser's own, Deno's, Bun's, or the one of `ws`. */
export interface Socket {
  onmessage: ((event: { data: unknown }) => void) | null
  onclose: ((event: { code: number; reason: string }) => void) | null
  onerror: ((event: never) => void) | null
  send(text: string): void
  close(code?: number, reason?: string): void
}
/** A WebSocket class. */
export type SocketConstructor = new (url: string, protocols: string[]) => Socket

/** Time and timers, replaceable in tests. */
export interface Clock {
  /** Milliseconds. */
  now(): number
  setTimeout(callback: () => void, milliseconds: number): unknown
  clearTimeout(timer: unknown): void
}

export interface ConnectionOptions {
  /** WebSocket addresses, tried in this order, over and over. */
  urls: readonly string[]
  /** Undefined where the platform has none. */
  Socket: SocketConstructor | undefined
  apiKey?: string | undefined
  /** Called before every attempt. */
  token: () => Promise<string | null>
  /** Whether calling `token` again may return another one than `token`. */
  renewable: (token: string | null) => boolean
  /** Attempts to reconnect before the client stops. */
  maxAttempts: number
  clock: Clock
  random: () => number
}

/** Notifications of a connection. None of these may throw. */
export interface ConnectionEvents {
  /** The server has accepted the credentials: frames may be sent. Called before the status changes. */
  opened(limits: Limits | undefined): void
  received(frame: ServerFrame): void
  status(status: Status): void
  /** An open connection is gone. `code` is the close code if the server closed it. */
  lost(code: number | undefined): void
  /** The client stops reconnecting: the server refuses it or, if `exhausted`, all attempts have failed. */
  ended(error: AerostackError, exhausted: boolean): void
  failed(error: AerostackError): void
}

/** How long the server may take to send its `connected` frame. */
const CONNECT_TIMEOUT = 10_000
/** How long the answer to a ping may take. Mobile networks that are alive answer within a few seconds. */
const PONG_TIMEOUT = 5_000
/** Used until the server's `connected` frame names another heartbeat. */
const HEARTBEAT = 25_000

export class Connection {
  status: Status = 'idle'
  readonly #options: ConnectionOptions & ConnectionEvents
  #socket: Socket | undefined
  /** The only timer. It waits for the next attempt, the `connected` frame, the end of the heartbeat, or a pong. */
  #timer: unknown
  /** Increases with every attempt and every loss, so that events of earlier sockets are recognized. */
  #turn = 0
  /** Failed attempts since the last success. */
  #attempt = 0
  /** Which of the addresses is in use. */
  #address = 0
  #waiting = false
  #renewed = false
  /** When the last frame arrived; negative while a ping has no answer. */
  #lastFrame = 0
  #heartbeat = HEARTBEAT
  /** Why the server refuses the connection that is being made. */
  #refusal: AerostackError | undefined

  constructor(options: ConnectionOptions & ConnectionEvents) {
    this.#options = options
  }

  /** Which of the addresses is in use. */
  get address(): number {
    return this.#address % this.#options.urls.length
  }

  /** Connect, or make the next attempt now instead of later. */
  connect(): void {
    if (this.status === 'idle' || this.status === 'disconnected') {
      this.#attempt = 0
      this.#renewed = false
      this.#become('connecting')
      this.#open()
    } else if (this.#waiting) this.#open()
  }

  disconnect(): void {
    if (this.status === 'idle') return
    this.#abandon(1000)
    this.#become('disconnected')
  }

  /** Close this socket and open another at once, with new credentials. */
  reopen(): void {
    if (!this.#socket) return
    this.#abandon(1000)
    this.#become('reconnecting')
    this.#open()
  }

  /** The network or the page is back: make a waiting attempt now, or check an open connection. */
  wake(): void {
    if (this.#waiting) this.#open()
    else if (this.status === 'connected') this.#probe()
  }

  /** Send a frame if there is a connection. */
  send(frame: ClientFrame | string): void {
    if (this.status === 'connected') this.#socket?.send(typeof frame === 'string' ? frame : encode(frame))
  }

  async #open(): Promise<void> {
    const turn = ++this.#turn
    this.#waiting = false
    this.#refusal = undefined
    this.#after(CONNECT_TIMEOUT, () => this.#drop())
    let token: string | null
    try {
      token = await this.#options.token()
    } catch (error) {
      if (turn === this.#turn) {
        this.#options.failed(wrap(error, 'unauthorized', true))
        this.#become('reconnecting')
        this.#retry()
      }
      return
    }
    if (turn !== this.#turn) return
    try {
      this.#socket = this.#dial(turn, token)
    } catch (error) {
      this.#end(wrap(error, 'unsupported')) // a malformed address or credential, or no WebSocket at all
    }
  }

  #dial(turn: number, token: string | null): Socket {
    const { Socket, urls, apiKey } = this.#options
    const url = urls[this.address] as string
    if (!Socket) throw new AerostackError('unsupported', 'No WebSocket here: pass `WebSocket`.')
    if (!url.startsWith('ws')) throw new AerostackError('invalid_url', 'No page here: pass `url`.')
    const protocols = [SUBPROTOCOL]
    if (apiKey) protocols.push(`aerostack-key.${apiKey}`)
    if (token) protocols.push(`aerostack-token.${token}`)
    const socket = new Socket(url, protocols)
    socket.onmessage = ({ data }) => {
      if (turn === this.#turn) this.#receive(data)
    }
    socket.onclose = ({ code, reason }) => {
      if (turn === this.#turn) this.#closed(code, reason, token)
    }
    socket.onerror = () => {} // a close event follows
    return socket
  }

  #receive(data: unknown): void {
    this.#lastFrame = this.#options.clock.now()
    let frame: ServerFrame
    try {
      frame = decode(data)
    } catch (error) {
      this.#options.failed(wrap(error, 'bad_message'))
      return
    }
    if (frame.type === 'connected') this.#connected(frame)
    else if (frame.type === 'error' && this.status !== 'connected')
      this.#refusal = new AerostackError(frame.code, frame.message, frame.retryable)
    else this.#options.received(frame)
  }

  #connected({ heartbeat, limits }: ConnectedFrame): void {
    this.#attempt = 0
    this.#renewed = false
    if (heartbeat > 0) this.#heartbeat = heartbeat * 1000
    this.#listen()
    this.status = 'connected'
    this.#options.opened(limits)
    this.#options.status('connected')
  }

  /** Wait until the server has been silent for a heartbeat, then send a ping. */
  #listen(): void {
    const wait = this.#lastFrame + this.#heartbeat - this.#options.clock.now()
    if (wait <= 0) this.#probe()
    else this.#after(wait, () => this.#listen())
  }

  #probe(): void {
    this.#lastFrame = -1
    this.send({ type: 'ping' })
    this.#after(PONG_TIMEOUT, () => {
      if (this.#lastFrame < 0) this.#drop()
      else this.#listen()
    })
  }

  /** Abandon a socket that may never close, and reconnect. */
  #drop(): void {
    this.#abandon(HEARTBEAT_TIMED_OUT)
    this.#retry()
  }

  #closed(code: number, reason: string, token: string | null): void {
    this.#abandon(undefined, code)
    if (code === TOKEN_REFUSED && !this.#renewed && this.#options.renewable(token)) {
      this.#renewed = true
      this.#become('reconnecting')
      this.#open()
    } else if (isFinal(code)) {
      const said = this.#refusal?.message ?? `${reason || 'Closed by the server'} (${code})`
      this.#end(new AerostackError(errorCodeOfClose(code), said))
    } else this.#retry(code === RATE_LIMITED)
  }

  #end(error: AerostackError, exhausted = false): void {
    this.#abandon()
    this.#become('disconnected')
    this.#options.ended(error, exhausted)
  }

  /** Try the next address later. A failed first attempt is reported: the address may be wrong. */
  #retry(late = false): void {
    const { random, urls, maxAttempts, failed } = this.#options
    const unreachable = new AerostackError(
      'network',
      'The server does not answer or refuses this origin: check `url` and `origins`.',
      true,
    )
    if (this.#attempt >= maxAttempts) {
      this.#end(unreachable, true)
      return
    }
    if (this.#refusal || this.status === 'connecting') failed(this.#refusal ?? unreachable)
    this.#waiting = true
    this.#address++
    const round = Math.floor(this.#attempt++ / urls.length)
    this.#after(late ? longestBackoff(random()) : backoff(round, random()), () => this.#open())
    this.#become('reconnecting')
  }

  /** Let go of the socket, if there is one, and ignore everything that it still does. */
  #abandon(closeWith?: number, closedWith?: number): void {
    const socket = this.#socket
    this.#turn++
    this.#waiting = false
    this.#socket = undefined
    this.#options.clock.clearTimeout(this.#timer)
    if (closeWith) socket?.close(closeWith)
    if (this.status === 'connected') this.#options.lost(closedWith)
  }

  #after(delay: number, callback: () => void): void {
    this.#options.clock.clearTimeout(this.#timer)
    this.#timer = this.#options.clock.setTimeout(callback, delay)
  }

  #become(status: Status): void {
    if (this.status === status) return
    this.status = status
    this.#options.status(status)
  }
}
