/** A Yjs document that is edited together: updates are persisted events of a channel, awareness is its presence. */
import { AerostackError, type Channel, type Client, type RealtimePayload } from 'aerostack-realtime'
import { ObservableV2 } from 'lib0/observable'
import { Awareness } from 'y-protocols/awareness'
import type * as Y from 'yjs'
import type { Subscriber } from '../subscription.js'
import { Cursors } from './cursors.js'
import { Outgoing } from './outgoing.js'
import { Assembly, applyAll, EVENT, missingIn } from './updates.js'

/** `connected`: the server delivers the document's updates. */
export type ProviderStatus = 'connecting' | 'connected' | 'disconnected'

/** Options of `AerostackProvider`. */
export interface ProviderOptions {
  /** Cursors and names of the editors. Default: a new one for the document. */
  awareness?: Awareness
  /** `false`: connect later, by `connect()`. */
  connect?: boolean
  /**
   * The least time between two updates, in milliseconds. An edit after a pause is sent at once; those that follow
   * sooner are sent as one update. Default 20.
   */
  interval?: number
}

/** Events, called as those of y-websocket's provider. */
export type ProviderEvents = {
  status: (event: { status: ProviderStatus }) => void
  /** Whether the document has everything that the server had. */
  sync: (synced: boolean) => void
  synced: (synced: boolean) => void
  /** Whether the server has stored every local edit. */
  saved: (saved: boolean) => void
  /** The connection was lost or closed; it is made again unless `closed` follows. */
  'connection-close': (event: { code: string; reason: string } | null, provider: AerostackProvider) => void
  'connection-error': (error: AerostackError, provider: AerostackProvider) => void
  /** The server ended the session for good, for instance because a membership was deleted. */
  closed: (event: { code: string; reason: string }, provider: AerostackProvider) => void
  /** The server refused a local edit, for instance because this user may only read. The edit stays in the document. */
  refused: (error: AerostackError, provider: AerostackProvider) => void
}

/**
 * Connects a Yjs document to the documents that others edit on `topic`. Many providers share the connection of one
 * client. Local edits are kept while there is no connection, and sent when there is one; with y-indexeddb also after a
 * reload.
 *
 * Throws AerostackError `invalid_topic`.
 */
export class AerostackProvider extends ObservableV2<ProviderEvents> {
  readonly client: Client
  readonly topic: string
  readonly doc: Y.Doc
  readonly awareness: Awareness
  readonly #channel: Channel
  readonly #cursors: Cursors
  readonly #outgoing: Outgoing
  readonly #assembly = new Assembly()
  readonly #interval: number
  readonly #ownAwareness: boolean
  readonly #stopWatching: () => void
  /** What the channel's subscription calls. A new one with each `connect`. */
  #subscriber: Subscriber | undefined
  #status: ProviderStatus = 'disconnected'
  #synced = false
  #saved = true
  /** Increases whenever a session begins or ends, so that late answers are recognized. */
  #session = 0
  /** Updates that wait until the document is complete. */
  #received: Uint8Array[] = []
  /** Whether the document has content that the server may not have, and that is not in `#outgoing`. */
  #unknown: boolean
  /** Whether the document was complete once. From then on `#outgoing` knows all local edits. */
  #begun = false
  /** Reads the history after a gap. */
  #reading: Promise<void> | undefined
  /** Continue after this event. */
  #cursor: string | undefined
  #timer: ReturnType<typeof setTimeout> | undefined
  #flushedAt = Number.NEGATIVE_INFINITY
  #moved = false

  constructor(client: Client, topic: string, doc: Y.Doc, options: ProviderOptions = {}) {
    super()
    const { connect = true, interval = 20 } = options
    this.client = client
    this.topic = topic
    this.doc = doc
    this.awareness = options.awareness ?? new Awareness(doc)
    this.#ownAwareness = !options.awareness
    this.#interval = interval
    this.#channel = client.channel(topic)
    this.#cursors = new Cursors(this.awareness, this.#channel, this)
    this.#unknown = doc.store.clients.size > 0
    this.#saved = !this.#unknown
    const { internals } = client
    this.#outgoing = new Outgoing({
      publish: ({ id, data }) =>
        internals.request({
          type: 'publish',
          topic: this.#channel.canonical,
          event: EVENT,
          data,
          persist: true,
          ...(id && { id }),
        }),
      id: () => crypto.getRandomValues(new Uint32Array(4)).join('-'),
      later: internals.later,
      stopped: () => client.status === 'disconnected',
      changed: () => this.#checkSaved(),
      refused: (error) => this.#refusedEdit(error),
    })
    doc.on('update', this.#edited)
    doc.on('destroy', this.#documentEnded)
    this.awareness.on('update', this.#awarenessChanged)
    this.#stopWatching = client.onStatusChange((status) => {
      if (status !== 'connected') this.#lost(status === 'disconnected' ? 'disconnected' : 'connecting')
    })
    if (connect) this.connect()
  }

  get status(): ProviderStatus {
    return this.#status
  }

  /** Whether the document has everything that the server had when the connection was made, and all that came since. */
  get synced(): boolean {
    return this.#synced
  }

  /** Whether the server has stored every local edit. */
  get saved(): boolean {
    return this.#saved
  }

  /** Whether the status is `connected`; the name is the one of y-websocket. */
  get wsconnected(): boolean {
    return this.#status === 'connected'
  }

  /** Whether `disconnect` was not called. */
  get shouldConnect(): boolean {
    return this.#subscriber !== undefined
  }

  /** Receive updates, and send local edits. Also after `closed`, to try again. */
  connect(): void {
    if (this.#subscriber && this.#status !== 'disconnected') return
    this.#leave()
    const { subscriptions, failed } = this.client.internals
    const subscriber: Subscriber = {
      filter: undefined,
      presence: true,
      since: this.#cursor,
      history: 'all',
      deliver: (payload) => this.#deliver(payload as RealtimePayload),
      live: () => this.#connected(),
      failed: (error) => this.#failed(error),
    }
    this.#subscriber = subscriber
    this.#setStatus('connecting')
    subscriptions.attach(this.#channel.canonical, subscriber, {
      resolve: () => this.#subscriber === subscriber && this.#connected(),
      reject: failed,
    })
    this.#moved = true
    this.#schedule()
  }

  /** Stop receiving updates. Edits made until now are sent; later ones wait for `connect`. */
  disconnect(): void {
    if (!this.#subscriber) return
    if (this.#begun) this.#outgoing.send() // the client sends them when it is connected again
    this.#leave()
    this.#lost('disconnected')
  }

  /** Disconnect, and let go of the document. */
  override destroy(): void {
    this.disconnect()
    clearTimeout(this.#timer)
    this.#stopWatching()
    this.doc.off('update', this.#edited)
    this.doc.off('destroy', this.#documentEnded)
    this.awareness.off('update', this.#awarenessChanged)
    if (this.#ownAwareness) this.awareness.destroy()
    super.destroy()
  }

  readonly #documentEnded = () => this.destroy()

  readonly #edited = (update: Uint8Array, origin: unknown): void => {
    if (origin === this) return
    // Before the first synchronization it may be content that the server has, such as that of y-indexeddb.
    if (this.#begun) this.#outgoing.add(update)
    else this.#unknown = true
    this.#checkSaved()
    this.#schedule()
  }

  readonly #awarenessChanged = (
    { added, updated, removed }: Record<'added' | 'updated' | 'removed', number[]>,
    origin: unknown,
  ): void => {
    if (origin === this || ![added, updated, removed].some((ids) => ids.includes(this.awareness.clientID)))
      return
    this.#moved = true
    this.#schedule()
  }

  #schedule(): void {
    if (!this.#subscriber) return
    const wait = Math.max(0, this.#flushedAt + this.#interval - performance.now())
    this.#timer ??= setTimeout(() => this.#flush(), wait)
  }

  /** Send edits first, so that cursors are at places that the others know. */
  #flush(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#flushedAt = performance.now()
    if (this.#synced) this.#outgoing.send()
    if (this.#moved && this.#subscriber) this.#cursors.announce()
    this.#moved = false
  }

  /** The subscription is live. What the server sends first is complete when it answers the next request. */
  async #connected(): Promise<void> {
    if (this.#status === 'connected') return
    const session = ++this.#session
    this.#setStatus('connected')
    await this.#answered(session)
    while (this.#reading) await this.#reading
    if (session !== this.#session) return
    this.#cursors.reconcile(this.#channel.members)
    this.#complete()
  }

  /** Wait for the answer to a request, or its refusal: both come after the history. */
  async #answered(session: number): Promise<void> {
    for (let attempt = 0; session === this.#session; attempt++)
      try {
        await this.#channel.presence()
        return
      } catch (error) {
        if (!(error as AerostackError).retryable) return
        await new Promise<void>((resolve) => this.client.internals.later(attempt, resolve))
      }
  }

  #complete(): void {
    const updates = this.#received.splice(0)
    applyAll(this.doc, updates, this, this.#unreadable)
    if (!this.#begun && this.#unknown) {
      const missing = missingIn(updates, this.doc)
      if (missing) this.#outgoing.add(missing)
    }
    this.#begun = true
    this.#unknown = false
    this.#setSynced(true)
    this.#outgoing.retry()
    this.#checkSaved()
  }

  #deliver(payload: RealtimePayload): undefined {
    const { event = '', data, userId, cursor } = payload
    if (event === 'gap') this.#readAgain()
    else if (event === EVENT) this.#receive(data, userId)
    else if (event.startsWith('presence:')) this.#cursors.receive(payload, this.#channel.members)
    if (cursor && !payload.snapshot) this.#cursor = cursor
  }

  #receive(data: unknown, userId: string | undefined): void {
    try {
      const update = this.#assembly.add(data, userId)
      if (!update) return
      if (this.#synced) applyAll(this.doc, [update], this, this.#unreadable)
      else this.#received.push(update)
    } catch (error) {
      this.#unreadable(error)
    }
  }

  readonly #unreadable = (error: unknown): void => {
    const message = `An update of ${this.topic} cannot be read: ${(error as Error).message}`
    this.client.internals.failed(new AerostackError('bad_message', message, false, this.topic, error))
  }

  /** Events are missing: read the whole history. Updates may be applied twice and in any order. */
  #readAgain(): void {
    if (this.#reading) return
    this.#setSynced(false)
    const session = this.#session
    this.#reading = this.#readHistory().finally(() => {
      this.#reading = undefined
      if (session === this.#session && this.#status === 'connected') this.#complete()
    })
  }

  async #readHistory(): Promise<void> {
    let before: number | undefined
    for (let attempt = 0; this.#subscriber; )
      try {
        const page = await this.#channel.getHistory(1_000, before)
        for (const { event, data, user_id } of page) if (event === EVENT) this.#receive(data, user_id)
        before = page.at(-1)?.created_at
        if (before === undefined) return
      } catch (error) {
        if (!(error as AerostackError).retryable) {
          this.#failed(error as AerostackError)
          return
        }
        await new Promise<void>((resolve) => this.client.internals.later(attempt++, resolve))
      }
  }

  /** The server refused the subscription, or ended it. */
  #failed(error: AerostackError): void {
    if (!this.#subscriber) return
    const event = { code: error.code, reason: error.message }
    this.emit('connection-error', [error, this])
    this.#lost(error.retryable ? 'connecting' : 'disconnected', event)
    if (!error.retryable) this.emit('closed', [event, this])
  }

  /** There is no connection, or no right to the document. */
  #lost(status: ProviderStatus, event: { code: string; reason: string } | null = null): void {
    const wanted = this.#subscriber ? status : 'disconnected'
    if (this.#status === wanted) return
    const connected = this.#status === 'connected'
    this.#session++
    if (connected) {
      this.#cursors.clear()
      this.#setSynced(false)
      this.emit('connection-close', [event, this])
    }
    this.#setStatus(wanted)
  }

  #leave(): void {
    const { canonical } = this.#channel
    if (this.#subscriber) this.client.internals.subscriptions.detach(canonical, this.#subscriber)
    this.#subscriber = undefined
    this.#cursors.leave()
  }

  #refusedEdit(error: AerostackError): void {
    this.emit('refused', [error, this])
    this.emit('connection-error', [error, this])
  }

  #checkSaved(): void {
    const saved = this.#outgoing.empty && !this.#unknown
    if (saved === this.#saved) return
    this.#saved = saved
    this.emit('saved', [saved])
  }

  #setSynced(synced: boolean): void {
    if (synced === this.#synced) return
    this.#synced = synced
    this.emit('synced', [synced])
    this.emit('sync', [synced])
  }

  #setStatus(status: ProviderStatus): void {
    if (status === this.#status) return
    this.#status = status
    this.emit('status', [{ status }])
  }
}
