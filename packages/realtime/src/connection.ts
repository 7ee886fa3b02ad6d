/** One socket to the server: connect, heartbeat, reconnect. Knows no topics. */
import { backoff, longest } from './backoff.js'
import { AerostackError, type ErrorCode, wrap } from './errors.js'
import { type ClientFrame, decode, encode, type ServerFrame, SUBPROTOCOL } from './protocol.js'

export type Status = 'idle' | 'connecting' | 'connected' | 'reconnecting' | 'disconnected'

/** What of a WebSocket is used; the browser's own, Deno's, Bun's, or `ws`. */
export interface Socket {
  onmessage: ((event: { data: unknown }) => void) | null
  onclose: ((event: { code: number; reason: string }) => void) | null
  onerror: ((event: never) => void) | null
  send(text: string): void
  close(code?: number, reason?: string): void
}
export type SocketConstructor = new (url: string, protocols: string[]) => Socket

export interface Clock {
  now(): number
  setTimeout(callback: () => void, milliseconds: number): unknown
  clearTimeout(timer: unknown): void
}

export interface ConnectionOptions {
  url: string
  /** Undefined where the platform has none. */
  Socket: SocketConstructor | undefined
  apiKey?: string | undefined
  /** Asked before every attempt; `renewable` says whether asking again may bring another token. */
  token: () => Promise<string | null>
  renewable: () => boolean
  clock: Clock
  random: () => number
}

/** What the connection tells; none of these may throw. */
export interface ConnectionEvents {
  /** The server has accepted the credentials; frames may be sent. Called before the status is told. */
  opened(): void
  received(frame: ServerFrame): void
  status(status: Status): void
  lost(): void
  /** The server wants no reconnection. */
  ended(error: AerostackError): void
  failed(error: AerostackError): void
}

/** How long the server may take until its `connected` frame. */
const CONNECT_TIMEOUT = 10_000
/** How long an answer to a ping may take: mobile networks that are alive answer within a few seconds. */
const PONG_TIMEOUT = 5_000
/** Until the server's `connected` frame says otherwise. */
const HEARTBEAT = 25_000

/** Close codes after which coming back is of no use, and what they mean. */
const FINAL: Record<number, ErrorCode> = {
  4400: 'bad_message',
  4401: 'unauthorized',
  4403: 'forbidden',
  4408: 'unauthorized',
}
const HEARTBEAT_TIMED_OUT = 4001
const LIMITED = 4429

export class Connection {
  status: Status = 'idle'
  readonly #options: ConnectionOptions & ConnectionEvents
  #socket: Socket | undefined
  /** What the one timer waits for: the next attempt, the `connected` frame, silence, or an answer. */
  #timer: unknown
  /** Raised with every attempt and every loss, so that what belongs to an earlier one is recognised. */
  #turn = 0
  #attempt = 0
  #waiting = false
  #renewed = false
  /** When the last frame came; negative while none has since a ping. */
  #heard = 0
  #heartbeat = HEARTBEAT

  constructor(options: ConnectionOptions & ConnectionEvents) {
    this.#options = options
  }

  /** Connect, or when waiting for the next attempt make it now. */
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

  /** Leave this socket and open another at once, with credentials asked anew. */
  reopen(): void {
    if (!this.#socket) return
    this.#abandon(1000)
    this.#become('reconnecting')
    this.#open()
  }

  /** The network or the page came back: try now what would be tried later. */
  wake(): void {
    if (this.#waiting) this.#open()
    else if (this.status === 'connected') this.#probe()
  }

  /** Send on a connected socket; elsewhere nothing happens. */
  send(frame: ClientFrame | string): void {
    if (this.status === 'connected') this.#socket?.send(typeof frame === 'string' ? frame : encode(frame))
  }

  async #open(): Promise<void> {
    const turn = ++this.#turn
    this.#waiting = false
    this.#after(CONNECT_TIMEOUT, () => this.#drop())
    let token: string | null
    try {
      token = await this.#options.token()
    } catch (error) {
      if (turn !== this.#turn) return
      this.#options.failed(wrap(error, 'unauthorized', true))
      this.#become('reconnecting')
      this.#retry()
      return
    }
    if (turn !== this.#turn) return
    try {
      this.#socket = this.#dial(turn, token)
    } catch (error) {
      this.#end(wrap(error, 'unsupported')) // a wrong address or credential, or no WebSocket at all
    }
  }

  #dial(turn: number, token: string | null): Socket {
    const { Socket, url, apiKey } = this.#options
    if (!Socket) throw new AerostackError('unsupported', 'No WebSocket here: pass `WebSocket`.')
    const protocols = [SUBPROTOCOL]
    if (apiKey) protocols.push(`aerostack-key.${apiKey}`)
    if (token) protocols.push(`aerostack-token.${token}`)
    const socket = new Socket(url, protocols)
    socket.onmessage = ({ data }) => {
      if (turn === this.#turn) this.#receive(data)
    }
    socket.onclose = ({ code, reason }) => {
      if (turn === this.#turn) this.#closed(code, reason)
    }
    socket.onerror = () => {} // a close follows
    return socket
  }

  #receive(data: unknown): void {
    this.#heard = this.#options.clock.now()
    let frame: ServerFrame
    try {
      frame = decode(data)
    } catch (error) {
      this.#options.failed(wrap(error, 'bad_message'))
      return
    }
    if (frame.type === 'connected') this.#connected(frame.heartbeat)
    else if (frame.type !== 'pong') this.#options.received(frame)
  }

  #connected(heartbeat: number): void {
    this.#attempt = 0
    this.#renewed = false
    if (heartbeat > 0) this.#heartbeat = heartbeat * 1000
    this.#listen()
    this.status = 'connected'
    this.#options.opened()
    this.#options.status('connected')
  }

  /** Wait for silence, then ask whether anybody is there. */
  #listen(): void {
    const silence = this.#options.clock.now() - this.#heard
    if (silence >= this.#heartbeat) this.#probe()
    else this.#after(this.#heartbeat - silence, () => this.#listen())
  }

  #probe(): void {
    this.#heard = -1
    this.send({ type: 'ping' })
    this.#after(PONG_TIMEOUT, () => {
      if (this.#heard < 0) this.#drop()
      else this.#listen()
    })
  }

  /** Give up on a socket that may never close by itself. */
  #drop(): void {
    this.#abandon(HEARTBEAT_TIMED_OUT)
    this.#retry()
  }

  #closed(code: number, reason: string): void {
    this.#abandon()
    const final = FINAL[code]
    if (code === 4401 && !this.#renewed && this.#options.renewable()) {
      this.#renewed = true
      this.#become('reconnecting')
      this.#open()
    } else if (final) this.#end(new AerostackError(final, `${reason || 'Closed'} (${code})`))
    else this.#retry(code === LIMITED)
  }

  #end(error: AerostackError): void {
    this.#abandon()
    this.#become('disconnected')
    this.#options.ended(error)
  }

  /** Try again later. That a first attempt failed is told: an address may be wrong, an origin not allowed. */
  #retry(limited = false): void {
    if (this.status === 'connecting')
      this.#options.failed(new AerostackError('network', 'The server does not answer.', true))
    const random = this.#options.random()
    this.#waiting = true
    this.#after(limited ? longest(random) : backoff(this.#attempt++, random), () => this.#open())
    this.#become('reconnecting')
  }

  /** Leave the socket, if there is one, so that nothing it still says is heard. */
  #abandon(code?: number): void {
    const socket = this.#socket
    this.#turn++
    this.#waiting = false
    this.#socket = undefined
    this.#options.clock.clearTimeout(this.#timer)
    if (code) socket?.close(code)
    if (this.status === 'connected') this.#options.lost()
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
