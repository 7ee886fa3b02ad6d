/** The real server as a process, and a network to it that a test can break. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { createHmac, randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { type AddressInfo, createServer, connect as dial, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import WebSocket from 'ws'
import {
  type Client,
  type ClientOptions,
  type Socket as ClientSocket,
  createClient,
  type SocketConstructor,
} from '../../src/index.js'

const ROOT = join(import.meta.dirname, '../../../..')
const SECRET = 'ac_secret_dev'

/** The PostgreSQL server on which to create databases. Without it each server uses a SQLite file. */
const POSTGRES = process.env.AEROSTACK_TEST_DATABASE

/** Ports below those that a system gives to programs which ask for any: they stay free while a server is down. */
const LOWEST_PORT = 20_000
const PORTS = 12_000

/** Call a function of tests/postgres.py with a database's name. */
function postgres(call: 'create_database' | 'drop_database', name: string): void {
  const code = `import sys; from tests.postgres import ${call}; ${call}(*sys.argv[1:])`
  execFileSync(join(ROOT, '.venv/bin/python'), ['-c', code, POSTGRES as string, name], { cwd: ROOT })
}

export class Server {
  readonly #options: readonly string[]
  readonly #directory = mkdtempSync(join(tmpdir(), 'aerostack-'))
  readonly #name = `test_${randomUUID()}`
  #database: string | undefined
  #process: ChildProcess | undefined
  port = 0

  get url(): string {
    return `http://127.0.0.1:${this.port}`
  }

  /** `options` of `aerostack dev`. */
  constructor(...options: string[]) {
    this.#options = options
  }

  /** Start, on the same port as before if there was one. Resolves when the server listens. */
  async start(): Promise<this> {
    this.#database ??= this.#made()
    if (this.port) await this.#startOn(this.port)
    else while (!this.port) await this.#startOn(LOWEST_PORT + Math.floor(Math.random() * PORTS))
    return this
  }

  /** Start on a port. If another program has a port that was only tried, it does nothing. */
  async #startOn(port: number): Promise<void> {
    const args = ['dev', '--port', String(port), '--db', this.#database as string, ...this.#options]
    const child = spawn(join(ROOT, '.venv/bin/aerostack'), args, {
      cwd: this.#directory,
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    this.#process = child
    const closed = once(child, 'close')
    const said: string[] = []
    createInterface(child.stderr).on('line', (line) => said.push(line))
    for await (const line of createInterface(child.stdout)) {
      said.push(line)
      if (!line.includes('listening on http://')) continue
      this.port = port
      child.stdout.resume()
      return
    }
    await closed
    if (!this.port && said.some((line) => line.includes('the port is in use'))) return
    throw new Error(`The server did not start:\n${said.join('\n')}`)
  }

  /** Kill it, so that it cannot close its connections. */
  async kill(): Promise<void> {
    const child = this.#process
    if (child?.exitCode !== null || child.signalCode !== null) return
    child.kill('SIGKILL')
    await once(child, 'exit')
  }

  async remove(): Promise<void> {
    await this.kill()
    if (POSTGRES && this.#database) postgres('drop_database', this.#name)
    rmSync(this.#directory, { recursive: true, force: true })
  }

  /** The address of a new database. */
  #made(): string {
    if (!POSTGRES) return join(this.#directory, 'app.db')
    postgres('create_database', this.#name)
    return POSTGRES.replace(/\/[^/?]*(\?|$)/, `/${this.#name}$1`)
  }

  /** Run SQL as the owner of the database. */
  async query(sql: string, ...params: unknown[]): Promise<unknown[]> {
    const response = await fetch(`${this.url}/v1/db/query`, {
      method: 'POST',
      headers: { Authorization: `Bearer ${SECRET}`, 'Content-Type': 'application/json' },
      body: JSON.stringify({ sql, params }),
    })
    if (!response.ok) throw new Error(`${sql}: ${await response.text()}`)
    return (await response.json()).results
  }
}

/**
 * The network between client and server: a TCP proxy that cuts connections, freezes them, or pauses what comes from the
 * server.
 */
export class Cable {
  readonly #server = createServer((client) => this.#forward(client))
  readonly #sockets = new Set<Socket>()
  readonly #pairs = new Map<Socket, Socket>()
  readonly #target: Server
  #plugged = true
  #deaf = false

  constructor(target: Server) {
    this.#target = target
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  async start(): Promise<this> {
    this.#server.listen(0, '127.0.0.1')
    await once(this.#server, 'listening')
    return this
  }

  /** Cut all connections. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy()
  }

  /** Cut all connections, also new ones, until `plug`. */
  unplug(): void {
    this.#plugged = false
    this.cut()
  }

  plug(): void {
    this.#plugged = true
  }

  /** Forward to the server, but lose its next answer and the connection with it. */
  loseAnswer(): void {
    this.#deaf = true
  }

  /** Read nothing from the server, like a slow client, until `release`. */
  hold(): void {
    for (const [upstream, client] of this.#pairs) {
      upstream.unpipe(client)
      upstream.pause()
    }
  }

  release(): void {
    for (const [upstream, client] of this.#pairs) upstream.pipe(client)
  }

  /** Forward nothing more on open connections. New connections work. */
  freeze(): void {
    for (const socket of this.#sockets) {
      socket.unpipe()
      socket.pause()
    }
  }

  async stop(): Promise<void> {
    this.cut()
    this.#server.close()
    await once(this.#server, 'close')
  }

  #forward(client: Socket): void {
    if (!this.#plugged) {
      client.destroy()
      return
    }
    const upstream = dial(this.#target.port, '127.0.0.1')
    client.pipe(upstream)
    upstream.on('data', () => {
      if (this.#deaf) client.destroy()
      this.#deaf = false
    })
    upstream.pipe(client)
    this.#pairs.set(upstream, client)
    for (const [socket, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      this.#sockets.add(socket)
      socket.on('error', () => {}) // a cut connection
      socket.on('close', () => {
        this.#sockets.delete(socket)
        this.#pairs.delete(socket)
        other.destroy()
      })
    }
  }
}

/** A token for a user, which `aerostack dev` accepts: its secret is public. */
export function tokenOf(user: string): string {
  const claims = { sub: user, exp: Math.floor(Date.now() / 1000) + 3_600, jti: randomUUID() }
  const text = [{ alg: 'HS256', typ: 'JWT' }, claims]
    .map((part) => Buffer.from(JSON.stringify(part)).toString('base64url'))
    .join('.')
  const signature = createHmac('sha256', 'aerostack-dev-token-secret-for-loopback-only').update(text)
  return `${text}.${signature.digest('base64url')}`
}

/** A client of the real server. */
export function clientOf(target: { url: string }, options: ClientOptions = {}): Client {
  return createClient({ url: target.url, WebSocket: WebSocket as unknown as SocketConstructor, ...options })
}

/** A socket that hides the limits of the server, so that the client sends frames of any size. */
export class Unlimited implements ClientSocket {
  onmessage: ClientSocket['onmessage'] = null
  onclose: ClientSocket['onclose'] = null
  onerror: ClientSocket['onerror'] = null
  readonly #socket: WebSocket

  constructor(url: string, protocols: string[]) {
    this.#socket = new WebSocket(url, protocols)
    this.#socket.onmessage = ({ data }) => {
      const frame = JSON.parse(String(data))
      if (frame.type === 'connected') frame.limits = { frameBytes: Number.MAX_VALUE }
      this.onmessage?.({ data: JSON.stringify(frame) })
    }
    this.#socket.onclose = ({ code, reason }) => this.onclose?.({ code, reason })
    this.#socket.onerror = () => {} // a close event follows
  }

  send(text: string): void {
    this.#socket.send(text)
  }

  close(code?: number): void {
    this.#socket.close(code)
  }
}

/** Events that a test awaits one after another, in the order they arrived. */
export class Heard<T> {
  readonly #items: T[] = []
  #waiting: (() => void) | undefined

  readonly add = (item: T): void => {
    this.#items.push(item)
    this.#waiting?.()
  }

  /** Remove and return the next one. */
  async next(): Promise<T> {
    while (!this.#items.length) await new Promise<void>((resolve) => (this.#waiting = resolve))
    return this.#items.shift() as T
  }

  /** Skip to the first one that `wanted` accepts. */
  async until(wanted: (item: T) => boolean): Promise<T> {
    for (;;) {
      const item = await this.next()
      if (wanted(item)) return item
    }
  }

  /** Those that have arrived and were not awaited. */
  get rest(): readonly T[] {
    return this.#items
  }
}
