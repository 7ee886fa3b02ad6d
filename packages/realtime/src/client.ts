import { backoff } from './backoff.js'
import { Channel, type ChannelOptions, type Wire } from './channel.js'
import { type Clock, Connection, type SocketConstructor, type Status } from './connection.js'
import { AerostackError, wrap } from './errors.js'
import { fetchHistory } from './history.js'
import { type Answered, Outbox } from './outbox.js'
import type { Events } from './payload.js'
import { Tracking } from './presence.js'
import { encode, type Request, type ServerFrame } from './protocol.js'
import { Reply } from './reply.js'
import { Subscriptions } from './subscriptions.js'
import { canonical } from './topic.js'

export interface ClientOptions {
  /** The server's address: `http(s)://` or `ws(s)://`. Default: the page's own origin. */
  url?: string
  /** Default `default`. */
  projectId?: string
  /** A JWT that says who the user is. */
  token?: string | null
  /** Asked for a token at every connection, and when the server says that the one it has expired. */
  getToken?: () => string | null | undefined | Promise<string | null | undefined>
  /** Who an anonymous client is, where the server allows them. */
  userId?: string
  apiKey?: string
  /**
   * Browsers: keep unanswered publishes in IndexedDB, so that the next page of this origin sends those that a closed
   * one left.
   */
  persistOutbox?: boolean
  /** Hears every error that no promise of the app's carries. */
  onError?: (error: AerostackError) => void
  /** Where the platform has no global one (Node 20): that of `ws`. */
  WebSocket?: SocketConstructor
  fetch?: typeof globalThis.fetch
  clock?: Clock
  /** In [0, 1), for back-off. */
  random?: () => number
}

/** Publishes that may wait for the server; beyond it something is wrong that memory does not cure. */
const OUTBOX_LIMIT = 10_000

const CLOCK: Clock = {
  now: () => Date.now(),
  setTimeout: (callback, milliseconds) => setTimeout(callback, milliseconds),
  clearTimeout: (timer) => clearTimeout(timer as number),
}

/** A connection to one project of a server. It does nothing until `connect` or the first call that needs it. */
export class Client {
  readonly projectId: string
  readonly #options: ClientOptions & { clock: Clock; random: () => number }
  readonly #origin: string
  readonly #connection: Connection
  readonly #outbox = new Outbox()
  readonly #tracking = new Tracking()
  readonly #onStatus = new Set<(status: Status) => void>()
  readonly #onError = new Set<(error: AerostackError) => void>()
  readonly #told = new WeakSet<AerostackError>()
  #connecting: Reply<void> | undefined
  /** The server wants other credentials. */
  #unauthorized = false
  #token: string | null
  #number = 0
  readonly #name = crypto.getRandomValues(new Uint32Array(3)).join('-')

  readonly #subscriptions = new Subscriptions({
    need: () => this.#need(),
    send: (frame) => this.#connection.send(frame),
    id: () => this.#id(),
    members: (topic) => this.#request({ type: 'presence', topic }),
    failed: (error) => this.#failed(error),
    later: (attempt, callback) => {
      const { clock, random } = this.#options
      clock.setTimeout(callback, backoff(attempt, random()))
    },
  })
  /**
   * What channels and tables need of this client.
   *
   * @internal
   */
  readonly wire: Wire = {
    subscriptions: this.#subscriptions,
    request: (request) => this.#request(request),
    track: (topic, by, state) =>
      this.#request({ type: 'track', topic, state }, () => this.#tracking.track(topic, by, state)),
    untrack: (topic, by) => {
      if (this.#tracking.untrack(topic, by)) queueMicrotask(() => this.#untracked(topic))
    },
    history: async (room, limit, before) => {
      const { apiKey, fetch = globalThis.fetch } = this.#options
      const token = await this.wire.token()
      return fetchHistory({ origin: this.#origin, apiKey, token, fetch }, room, limit, before)
    },
    failed: (error) => this.#failed(error),
    send: (text) => this.#connection.send(text),
    token: async () => this.#token ?? this.#currentToken(),
  }

  constructor(options: ClientOptions) {
    const { projectId = 'default' } = options
    this.#options = { clock: CLOCK, random: Math.random, ...options }
    this.#origin = origin(options.url)
    this.#token = options.token ?? null
    this.projectId = projectId
    if (options.onError) this.#onError.add(options.onError)
    const url = address(this.#origin, projectId, options.userId)
    this.#connection = new Connection({
      ...this.#options,
      url,
      Socket: options.WebSocket ?? (globalThis.WebSocket as unknown as SocketConstructor | undefined),
      token: () => this.#currentToken(),
      renewable: () => options.getToken !== undefined,
      opened: () => this.#opened(),
      received: (frame) => this.#received(frame),
      status: (status) => this.#statusChanged(status),
      lost: () => this.#subscriptions.lost(),
      ended: (error) => this.#ended(error),
      failed: (error) => this.#failed(error),
    })
    if (options.persistOutbox)
      import('./durable.js')
        .then(({ persist }) => persist(this, this.#outbox, url, this.#name))
        .catch((error) => this.#failed(wrap(error, 'storage')))
  }

  get status(): Status {
    return this.#connection.status
  }

  /** The token in use, if any. */
  get token(): string | null {
    return this.#token
  }

  /** Connect now. Resolves when the server has accepted the credentials; rejects when it refuses for good. */
  connect(): Promise<void> {
    if (this.status === 'connected') return Promise.resolve()
    this.#unauthorized = false
    watch(this.#wake, true)
    this.#connection.connect()
    this.#connecting ??= new Reply<void>((error) => error.code === 'disconnected' || this.#failed(error))
    return this.#connecting
  }

  /** Leave and stay away until `connect`. Subscriptions, presence and unsent publishes are kept for then. */
  disconnect(): void {
    watch(this.#wake, false)
    this.#connection.disconnect()
    this.#connecting?.reject(new AerostackError('disconnected', 'disconnect() was called.'))
    this.#connecting = undefined
  }

  /**
   * A handle on a topic: `'orders'` is the changes of that table, `'chat/general'` a custom channel. Every call
   * gives a new handle; they share one subscription on the wire.
   *
   * Throws AerostackError `invalid_topic`.
   */
  channel<E extends Events = Events>(topic: string, options: ChannelOptions = {}): Channel<E> {
    return new Channel<E>(topic, canonical(topic, this.projectId), options, this.wire)
  }

  /** Call `listener` with the status, soon with the one that is and then with every new one; returns how to stop. */
  onStatusChange(listener: (status: Status) => void): () => void {
    let told = false
    const each = (status: Status) => {
      told = true
      listener(status)
    }
    queueMicrotask(() => {
      if (!told && this.#onStatus.has(each)) each(this.status)
    })
    return heard(this.#onStatus, each)
  }

  /** Call `listener` with every error that no promise of the app's carries; returns how to stop. */
  onError(listener: (error: AerostackError) => void): () => void {
    return heard(this.#onError, listener)
  }

  /** Use another token from now on, on the connection that is; null: reconnect as nobody. */
  setToken(token: string | null): void {
    if (token === this.#token) return
    this.#token = token
    if (this.status === 'connected' && token) this.#connection.send({ type: 'auth', token })
    else if (this.#unauthorized) this.connect()
    else this.#connection.reopen()
  }

  readonly #wake = (): void => {
    if (globalThis.document?.visibilityState !== 'hidden') this.#connection.wake()
  }

  /**
   * Whether there is a connection. The first call that needs one makes it; after `disconnect` it waits for `connect`.
   */
  #need(): boolean {
    if (this.status === 'idle') this.connect()
    return this.status === 'connected'
  }

  #id(): string {
    return `${this.#name}-${++this.#number}`
  }

  /** Send what is answered by its id, now and until it is; `accepted` is called when it is fit to be sent. */
  #request<T>(request: Request, accepted?: () => void): Promise<T> {
    const reply = new Reply<T>((error) => this.#failed(error))
    const id = this.#id()
    try {
      if (this.#outbox.size >= OUTBOX_LIMIT)
        throw new AerostackError('overloaded', 'Too many unanswered calls.', true, request.topic)
      const text = encode({ ...request, id })
      accepted?.()
      this.#outbox.add(
        id,
        text,
        reply as Answered,
        request.type.includes('track') ? request.topic : undefined,
      )
      this.#connection.send(text)
    } catch (error) {
      reply.reject(error as AerostackError)
    }
    this.#need()
    return reply
  }

  /** A handle does not track any more: the state of another stands, or nobody is present. */
  #untracked(topic: string): void {
    const state = this.#tracking.state(topic)
    this.#request(state ? { type: 'track', topic, state } : { type: 'untrack', topic })
  }

  async #currentToken(): Promise<string | null> {
    const token = await this.#options.getToken?.()
    if (token) this.#token = token
    return this.#token
  }

  async #renew(expired: AerostackError): Promise<void> {
    const before = this.#token
    try {
      const token = await this.#currentToken()
      if (!token || token === before) throw expired
      this.#connection.send({ type: 'auth', token })
    } catch (error) {
      this.#failed(wrap(error, 'token_expired'))
    }
  }

  /** A new connection knows nothing: subscriptions first, so that they miss nothing of what follows. */
  #opened(): void {
    this.#subscriptions.opened()
    for (const topic of this.#tracking.topics())
      this.#connection.send({ type: 'track', topic, state: this.#tracking.state(topic) as object })
    for (const text of this.#outbox.texts()) this.#connection.send(text)
  }

  #received(frame: ServerFrame): void {
    if (frame.type === 'ack') {
      const { type: _, ...ack } = frame
      this.#outbox.settle(frame.id, ack)
    } else if (frame.type === 'presence') this.#outbox.settle(frame.id, frame.members)
    else if (frame.type === 'error') {
      const { code, message, retryable, topic, id } = frame
      this.#refused(new AerostackError(code, message, retryable, topic), id)
    } else this.#subscriptions.receive(frame)
  }

  #refused(error: AerostackError, id: string | undefined): void {
    if (id && (this.#outbox.settle(id, error) || this.#subscriptions.refused(id, error))) return
    if (!id && error.code === 'token_expired') this.#renew(error)
    else {
      this.#subscriptions.get(error.topic)?.failed(error)
      this.#failed(error)
    }
  }

  #statusChanged(status: Status): void {
    if (status === 'connected') {
      this.#connecting?.resolve()
      this.#connecting = undefined
    }
    for (const listener of [...this.#onStatus]) listener(status)
  }

  #ended(error: AerostackError): void {
    watch(this.#wake, false)
    this.#unauthorized = error.code === 'unauthorized'
    if (this.#connecting) this.#connecting.reject(error)
    else this.#failed(error)
    this.#connecting = undefined
    this.#subscriptions.ended(error)
    this.#outbox.fail(error)
  }

  #failed(error: AerostackError): void {
    if (this.#told.has(error)) return // one failure may reject many promises
    this.#told.add(error)
    if (!this.#onError.size) console.error(error)
    for (const listener of [...this.#onError]) listener(error)
  }
}

export function createClient(options: ClientOptions = {}): Client {
  return new Client(options)
}

/** Put `listener` among `listeners`; returns how to take it out. */
function heard<L>(listeners: Set<L>, listener: L): () => void {
  listeners.add(listener)
  return () => {
    listeners.delete(listener)
  }
}

function origin(url: string | undefined): string {
  return (url ?? globalThis.location?.origin ?? '').replace(/^ws/, 'http').replace(/\/+$/, '')
}

function address(origin: string, projectId: string, userId: string | undefined): string {
  const query = new URLSearchParams({ projectId, ...(userId && { userId }) })
  return `${origin.replace(/^http/, 'ws')}/api/realtime?${query}`
}

/** Hear when the network goes or comes back, or the page is looked at again, where there is such a thing. */
function watch(wake: () => void, on: boolean): void {
  const change = on ? 'addEventListener' : 'removeEventListener'
  globalThis[change]?.('online', wake)
  globalThis[change]?.('offline', wake)
  globalThis.document?.[change]('visibilitychange', wake)
}
