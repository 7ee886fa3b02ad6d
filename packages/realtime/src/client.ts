import { origins, shuffled, socketUrl } from './address.js'
import { backoff } from './backoff.js'
import { Channel, type ChannelOptions } from './channel.js'
import { type ClientOptions, SYSTEM_CLOCK } from './client-options.js'
import { FRAME_TOO_LARGE } from './close-codes.js'
import { type Clock, Connection, type SocketConstructor, type Status } from './connection.js'
import { AerostackError, wrap } from './errors.js'
import type { ClientInternals } from './internals.js'
import { checkLimits, type Limits } from './limits.js'
import { addListener, notify, watchPage } from './listeners.js'
import { Outbox, type Pending } from './outbox.js'
import type { Events } from './payload.js'
import { Tracking } from './presence.js'
import { type ClientFrame, encode, type Request, type ServerFrame } from './protocol.js'
import { Reply } from './reply.js'
import { Subscriptions, type TopicFrame } from './subscriptions.js'
import { canonical } from './topic.js'

/** Requests that may wait for the server. More than this means a fault that memory does not cure. */
const OUTBOX_LIMIT = 10_000

/** A connection to one project of a server. It connects with `connect` or with the first call that needs it. */
export class Client {
  /** The project this client was created for; empty for the project of the server. */
  readonly projectId: string
  readonly #options: ClientOptions & { clock: Clock; random: () => number }
  readonly #origins: string[]
  readonly #connection: Connection
  readonly #outbox = new Outbox((text) => this.#send(text))
  readonly #tracking = new Tracking()
  /** Legacy chat messages that wait for a connection. */
  readonly #chats: string[] = []
  readonly #onStatus = new Set<(status: Status) => void>()
  readonly #onError = new Set<(error: AerostackError) => void>()
  readonly #onExhausted = new Set<() => void>()
  readonly #reported = new WeakSet<AerostackError>()
  #connecting: Reply<void> | undefined
  /** The server needs other credentials. */
  #unauthorized = false
  #token: string | null
  #limits: Limits | undefined
  #number = 0
  readonly #name = crypto.getRandomValues(new Uint32Array(3)).join('-')

  readonly #subscriptions = new Subscriptions(this)
  /** @internal */
  readonly internals: ClientInternals = {
    subscriptions: this.#subscriptions,
    request: (request) => this.#request(request),
    track: (owner, command) => this.#request(command, () => this.#tracking.track(owner, command)),
    untrack: (topic, owner) => {
      // announce the state that counts now, or that this client is not present
      if (this.#tracking.untrack(topic, owner))
        queueMicrotask(() =>
          this.#request(this.#tracking.commands().get(topic) ?? { type: 'untrack', topic }),
        )
    },
    writers: new Map(),
    later: (attempt, callback) => {
      const { clock, random } = this.#options
      clock.setTimeout(callback, backoff(attempt, random()))
    },
    history: async (room, limit, before) => {
      const { fetchHistory } = await import('./message-history.js').catch((error) => {
        throw wrap(error, 'network', true, room)
      })
      const origin = this.#origins[this.#connection.address] as string
      return fetchHistory({ ...this.#options, origin, token: this.internals.token }, room, limit, before)
    },
    token: async () => this.#token ?? this.#currentToken(),
    need: () => {
      if (this.status === 'idle') this.connect()
      return this.connected
    },
    send: (frame) => this.#send(encode(frame)),
    id: () => `${this.#name}-${++this.#number}`,
    reply: () => new Reply((error) => this.#failed(error)),
    failed: (error) => this.#failed(error),
  }

  /** Throws AerostackError `invalid_url`. */
  constructor(options: ClientOptions) {
    const { projectId = '', userId, maxReconnectAttempts: maxAttempts = Infinity } = options
    this.#options = { clock: SYSTEM_CLOCK, random: Math.random, ...options }
    const written = origins(options.url ?? options.baseUrl)
    this.#origins = shuffled(written, this.#options.random)
    this.#token = options.token ?? null
    this.projectId = projectId
    if (options.onError) this.#onError.add(options.onError)
    this.#connection = new Connection({
      ...this.#options,
      maxAttempts,
      urls: this.#origins.map((origin) => socketUrl(origin, projectId, userId)),
      Socket: options.WebSocket ?? (globalThis.WebSocket as unknown as SocketConstructor | undefined),
      token: () => this.#currentToken(),
      renewable: (token) => !!options.getToken || this.#token !== token,
      opened: (limits) => this.#opened(limits),
      received: (frame) => this.#received(frame),
      status: (status) => this.#statusChanged(status),
      lost: (code) => this.#lost(code),
      ended: (error, exhausted) => this.#ended(error, exhausted),
      failed: (error) => this.#failed(error),
    })
    if (options.persistOutbox) {
      const place = socketUrl(written[0] as string, projectId, userId)
      import('./outbox-store.js')
        .then(({ persist }) => persist(this, this.#outbox, place, this.#name))
        .catch((error) => this.#failed(wrap(error, 'storage')))
    }
  }

  /** The client itself, for code that was written for a larger SDK: `sdk.realtime`. */
  get realtime(): this {
    return this
  }

  get status(): Status {
    return this.#connection.status
  }

  /** Whether the status is `connected`. */
  get connected(): boolean {
    return this.status === 'connected'
  }

  /** The token in use, if any. */
  get token(): string | null {
    return this.#token
  }

  /** Connect now. Resolves when the server has accepted the credentials; rejects when it refuses for good. */
  connect(): Promise<void> {
    if (this.connected) return Promise.resolve()
    this.#unauthorized = false
    watchPage(this.#wake, true)
    this.#connecting ??= new Reply<void>((error) => error.code === 'disconnected' || this.#failed(error))
    const connecting = this.#connecting
    this.#connection.connect()
    return connecting
  }

  /** Disconnect until `connect` is called. Subscriptions, presence and unsent publishes are kept for then. */
  disconnect(): void {
    watchPage(this.#wake, false)
    this.#connection.disconnect()
    this.#connecting?.reject(new AerostackError('disconnected', 'disconnect() was called.'))
    this.#connecting = undefined
  }

  /**
   * A handle on a topic. `'orders'` is the changes of that table, `'chat/general'` a custom channel. All handles of a
   * topic share one subscription.
   *
   * Throws AerostackError `invalid_topic`.
   */
  channel<E extends Events = Events>(topic: string, options: ChannelOptions = {}): Channel<E> {
    return new Channel<E>(topic, canonical(topic, this.projectId), options, this.internals)
  }

  /** The channel of a legacy chat room: `channel('chat/<roomId>')`. */
  chatRoom<E extends Events = Events>(roomId: string): Channel<E> {
    return this.channel<E>(`chat/${roomId}`)
  }

  /**
   * Send a legacy chat message, which arrives as the event `chat_message`. It has no acknowledgement: prefer
   * `chatRoom(roomId).publish(…)`. Throws AerostackError for a message that the server would refuse.
   */
  sendChat(roomId: string, text: string, metadata?: unknown): void {
    const frame = encode({ type: 'chat', roomId, text, metadata })
    if (this.internals.need()) this.#send(frame)
    else this.#chats.push(frame)
  }

  /** Call `listener` with the current status, and then with every new one. Returns a function that stops it. */
  onStatusChange(listener: (status: Status) => void): () => void {
    let last: Status | undefined
    const each = (status: Status) => {
      if (status === last) return
      last = status
      listener(status)
    }
    queueMicrotask(() => this.#onStatus.has(each) && each(this.status))
    return addListener(this.#onStatus, each)
  }

  /** Call `listener` for every error that no promise of the app receives. Returns a function that stops it. */
  onError(listener: (error: AerostackError) => void): () => void {
    return addListener(this.#onError, listener)
  }

  /** Call `listener` when `maxReconnectAttempts` have failed. Returns a function that stops it. */
  onMaxRetriesExceeded(listener: () => void): () => void {
    return addListener(this.#onExhausted, listener)
  }

  /** Use another token from now on, on the same connection. Null: reconnect as an anonymous client. */
  setToken(token: string | null): void {
    if (token === this.#token) return
    this.#token = token
    if (this.connected && token) this.#connection.send({ type: 'auth', token })
    else if (this.#unauthorized) this.connect()
    else this.#connection.reopen()
  }

  readonly #wake = (): void => {
    if (!globalThis.document?.hidden) this.#connection.wake()
  }

  /** Send a frame if there is a connection. Throws AerostackError for a frame that the server would refuse. */
  #send(text: string): void {
    checkLimits(text, this.#limits)
    this.#connection.send(text)
  }

  /** Send a command until it is answered. Calls `accepted` if the server can read it. */
  #request<T>(request: Request, accepted?: () => void): Promise<T> {
    const reply = this.internals.reply<T>()
    const { id = this.internals.id(), ref = id } = request as { ref?: string; id?: string }
    try {
      if (this.#outbox.size >= OUTBOX_LIMIT)
        throw new AerostackError('overloaded', 'Too many unanswered calls; retry later.', true, request.topic)
      const text = encode({ ...request, id } as ClientFrame)
      this.#send(text)
      accepted?.()
      this.#outbox.add(ref, text, reply as Pending, request.type.includes('track') && request.topic)
    } catch (error) {
      reply.reject(error as AerostackError)
    }
    this.internals.need()
    return reply
  }

  async #currentToken(): Promise<string | null> {
    const token = await this.#options.getToken?.()
    if (token) this.#token = token
    return this.#token
  }

  async #renewToken(expired: AerostackError): Promise<void> {
    const before = this.#token
    try {
      const token = await this.#currentToken()
      if (!token || token === before) throw expired
      this.#connection.send({ type: 'auth', token })
    } catch (error) {
      this.#failed(wrap(error, 'token_expired'))
    }
  }

  /** A new connection knows nothing. Subscriptions come first, so that they miss nothing of what follows. */
  #opened(limits: Limits | undefined): void {
    this.#limits = limits
    this.#subscriptions.opened()
    const unanswered = this.#outbox.entries()
    for (const [topic, command] of this.#tracking.commands())
      if (!this.#outbox.presence(topic)) this.#request(command)
    for (const [id, text] of unanswered) this.#outbox.send(id, text)
    for (const writer of this.internals.writers.values()) writer.open()
    for (const chat of this.#chats.splice(0)) this.#connection.send(chat)
  }

  #received(frame: ServerFrame): void {
    switch (frame.type) {
      case 'ack': {
        const { type: _, ref, ...ack } = frame
        this.#outbox.settle(ref ?? frame.id, ack)
        break
      }
      case 'presence':
        this.#subscriptions.receive(frame)
        this.#outbox.settle(frame.id, frame.members)
        break
      case 'error': {
        const error = new AerostackError(frame.code, frame.message, frame.retryable, frame.topic)
        error.n = frame.n
        this.#refused(error, frame.ref ?? frame.id)
        break
      }
      case 'cancel':
        for (const writer of this.internals.writers.values()) writer.cancel(frame)
        break
      case 'advice':
        console.info(frame.message)
        break
      default:
        this.#subscriptions.receive(frame as TopicFrame) // it ignores a frame without a topic
    }
  }

  #refused(error: AerostackError, id: string | undefined): void {
    if (this.#reject(id, error)) return
    if (!id && error.code === 'token_expired') this.#renewToken(error)
    else if (id || error.topic || !this.#rejectUnnamed(error)) {
      this.#subscriptions.named(error.topic)?.failed(error)
      this.#failed(error)
    }
  }

  /**
   * Reject the command with this id; a change of presence is sent again if the error is retryable. Returns false when
   * there is none.
   */
  #reject(id: string | undefined, error: AerostackError): boolean {
    const text = error.retryable && this.#outbox.presence(id)
    if (!text) return !!id && (this.#outbox.settle(id, error) || this.#subscriptions.refused(id, error))
    this.#failed(error)
    this.internals.later(1, () => this.#outbox.presence(id) && this.#send(text))
    return true
  }

  /** Reject the command that the server could not read and therefore does not name. Returns false when none can be it. */
  #rejectUnnamed(error: AerostackError): boolean {
    const tooLarge = error.code === 'too_large'
    if (!tooLarge && error.code !== 'bad_message') return false
    const id = tooLarge ? this.#outbox.largest() : this.#outbox.oldest()
    return this.#reject(id ?? this.#subscriptions.oldestRequest(), error)
  }

  #statusChanged(status: Status): void {
    if (status === 'connected') {
      this.#connecting?.resolve()
      this.#connecting = undefined
    }
    notify(this.#onStatus, status)
  }

  #lost(code: number | undefined): void {
    this.#subscriptions.lost()
    if (code === FRAME_TOO_LARGE)
      this.#rejectUnnamed(
        new AerostackError('too_large', 'The server accepts no message of this size. Send less data.'),
      )
  }

  #ended(error: AerostackError, exhausted: boolean): void {
    watchPage(this.#wake, false)
    this.#unauthorized = error.code === 'unauthorized'
    if (this.#connecting) this.#connecting.reject(error)
    else this.#failed(error)
    this.#connecting = undefined
    this.#subscriptions.ended(error)
    this.#outbox.fail(error)
    if (exhausted) notify(this.#onExhausted, undefined)
  }

  #failed(error: AerostackError): void {
    if (this.#reported.has(error)) return // one failure may reject many promises
    this.#reported.add(error)
    if (!this.#onError.size) console.error(error)
    notify(this.#onError, error)
  }
}

/** A client of a server; see `ClientOptions`. Throws AerostackError `invalid_url`. */
export function createClient(options: ClientOptions = {}): Client {
  return new Client(options)
}
