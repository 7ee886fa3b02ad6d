/** The seam for tests: sockets whose server is the test, and a clock that the test moves. */
import {
  type Client,
  type ClientOptions,
  type Clock,
  createClient,
  type Limits,
  type Socket,
} from '../../src/index.js'
import type { ClientFrame, Row, ServerFrame } from '../../src/protocol.js'

export class TestSocket implements Socket {
  onmessage: Socket['onmessage'] = null
  onclose: Socket['onclose'] = null
  onerror: Socket['onerror'] = null
  readonly sent: ClientFrame[] = []
  closed: number | undefined
  readonly url: URL
  readonly protocols: string[]

  constructor(url: string, protocols: string[]) {
    this.url = new URL(url)
    this.protocols = protocols
  }

  send(text: string): void {
    this.sent.push(JSON.parse(text))
  }

  close(code = 1005): void {
    this.closed = code
  }

  say(frame: ServerFrame): void {
    this.onmessage?.({ data: JSON.stringify(frame) })
  }

  /** Accept the connection, by default with the default limits of the server. */
  accept(heartbeat = 25, limits: Limits = { frameBytes: 65_536, nesting: 128 }): void {
    this.say({ type: 'connected', connectionId: 'c-1', userId: null, heartbeat, version: 'test', limits })
  }

  drop(code = 1006, reason = ''): void {
    this.onclose?.({ code, reason })
  }

  /** The last frame of this type that was sent. Throws when there is none. */
  last<T extends ClientFrame['type']>(type: T): Extract<ClientFrame, { type: T }> {
    const frame = this.sent.findLast((frame) => frame.type === type)
    if (!frame) throw new Error(`No ${type} was sent, only ${this.sent.map(({ type }) => type).join(', ')}.`)
    return frame as Extract<ClientFrame, { type: T }>
  }

  /** Answer the last command of this type with an error. */
  refuse(type: 'subscribe' | 'track', code: string, retryable: boolean): void {
    const { topic, id = '' } = this.last(type)
    this.say({ type: 'error', code, message: 'Not now.', retryable, topic, id })
  }

  /** Answer the last subscribe; `history`: how many stored messages follow. */
  subscribed(cursor = 'e:0', recovered: boolean | null = null, history?: number): void {
    const { topic, id = '' } = this.last('subscribe')
    this.say({ type: 'subscribed', topic, cursor, recovered, id, history })
  }

  /** Answer the last subscribe with a snapshot, in these parts. */
  snapshot(rows: object[], cursor = 'c:0', parts = [rows]): void {
    const { topic, id = '' } = this.last('subscribe')
    this.subscribed(cursor)
    parts.forEach((part, index) => {
      const last = index === parts.length - 1
      this.say({ type: 'snapshot', topic, rows: part as Row[], cursor, last, id })
    })
  }

  /** Answer the last request for members with an empty list. */
  answer(): void {
    const { topic, id } = this.last('presence')
    this.say({ type: 'presence', topic, members: [], id })
  }
}

/** A clock that moves only by `pass`. */
export class TestClock implements Clock {
  #now = 0
  #timers = new Map<number, { at: number; callback: () => void }>()
  #next = 1

  now(): number {
    return this.#now
  }

  setTimeout(callback: () => void, milliseconds: number): number {
    this.#timers.set(this.#next, { at: this.#now + milliseconds, callback })
    return this.#next++
  }

  clearTimeout(timer: unknown): void {
    this.#timers.delete(timer as number)
  }

  /** Let time pass. Timers fire in order, and promises settle after each. */
  async pass(milliseconds: number): Promise<void> {
    const until = this.#now + milliseconds
    for (;;) {
      const due = [...this.#timers].filter(([, { at }]) => at <= until).sort(([, a], [, b]) => a.at - b.at)[0]
      if (!due) break
      this.#timers.delete(due[0])
      this.#now = due[1].at
      due[1].callback()
      await settled()
    }
    this.#now = until
  }
}

/** Resolves when everything that waits only for promises is done. */
export function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}

export interface Bench {
  client: Client
  clock: TestClock
  sockets: TestSocket[]
  /** The socket opened last. */
  readonly socket: TestSocket
  errors: string[]
}

/** A client in a test network, with no randomness: back-off takes its full time. */
export function bench(options: ClientOptions = {}): Bench {
  const sockets: TestSocket[] = []
  const clock = new TestClock()
  const errors: string[] = []
  class Network extends TestSocket {
    constructor(url: string, protocols: string[]) {
      super(url, protocols)
      sockets.push(this)
    }
  }
  const client = createClient({
    url: 'http://server',
    projectId: 'default',
    WebSocket: Network,
    clock,
    random: () => 0,
    onError: (error) => errors.push(error.code),
    ...options,
  })
  return {
    client,
    clock,
    sockets,
    errors,
    get socket() {
      const socket = sockets.at(-1)
      if (!socket) throw new Error('No socket was opened.')
      return socket
    },
  }
}

/** A client that is connected. */
export async function connected(options: ClientOptions = {}): Promise<Bench> {
  const made = bench(options)
  made.client.connect()
  await settled()
  made.socket.accept()
  return made
}
