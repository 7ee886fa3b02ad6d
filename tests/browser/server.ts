/** A server for one test file: its own process, its own port, its own database with the examples' rows in it. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import type { Server as NetworkServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { test } from '@playwright/test'
import { delayed } from './latency.ts'

const ROOT = join(import.meta.dirname, '../..')
const PYTHON = process.env.PYTHON ?? join(ROOT, '.venv/bin/python')
const AEROSTACK = process.env.AEROSTACK ?? join(ROOT, '.venv/bin/aerostack')
const LISTENING = /listening on (http:\/\/[^\s,]+)/

export class Server {
  /** Where browsers reach it. */
  url = ''
  /** Its own address, the same one unless the network has delays. */
  #origin = ''
  #proxy: NetworkServer | undefined
  #directory = ''
  #process: ChildProcess | undefined

  get #database(): string {
    return join(this.#directory, 'examples.db')
  }

  /** Start on any free port; after a `kill`, on the port it had. Resolves when it listens. */
  async start(): Promise<void> {
    if (!this.#origin) this.#directory = mkdtempSync(join(tmpdir(), 'aerostack-browser-'))
    const port = this.#origin ? new URL(this.#origin).port : '0'
    const arguments_ = ['demo', '--no-browser', '--no-messages', '--port', port, '--db', this.#database]
    const child = spawn(AEROSTACK, arguments_, { stdio: ['ignore', 'pipe', 'pipe'] })
    this.#process = child
    const said: string[] = []
    child.stderr.on('data', (text) => said.push(String(text)))
    for await (const line of createInterface(child.stdout)) {
      said.push(line)
      const url = LISTENING.exec(line)?.[1]
      if (!url) continue
      child.stdout.resume()
      if (!this.#origin) {
        this.#origin = url
        const { url: address, proxy } = await delayed(url)
        this.url = address
        this.#proxy = proxy
      }
      return
    }
    throw new Error(`The server ended before it listened:\n${said.join('\n')}`)
  }

  /** End it without a word, as a crash does. */
  async kill(): Promise<void> {
    const child = this.#process
    this.#process = undefined
    if (!child || child.exitCode !== null || child.signalCode !== null) return
    const ended = once(child, 'exit')
    child.kill('SIGKILL')
    await ended
  }

  /** Run one statement as a backend would. */
  async query(sql: string, params: unknown[] = []): Promise<Record<string, unknown>[]> {
    return (await this.#call('/v1/db/query', { sql, params })).results
  }

  /** Publish as a backend would, and keep it in the history. */
  async publish(topic: string, event: string, data: unknown): Promise<void> {
    await this.#call('/api/v1/realtime/publish', { topic, event, data, persist: true })
  }

  /** The ids of those present on `topic`. */
  async members(topic: string): Promise<string[]> {
    const { members } = await this.#call(`/api/v1/realtime/presence?topic=${encodeURIComponent(topic)}`)
    return members.map(({ userId }: { userId: string }) => userId)
  }

  /** Run one statement on the file, as the sqlite3 shell does; the server need not be there. */
  queryFile(sql: string): void {
    const program =
      'import sqlite3, sys; d = sqlite3.connect(sys.argv[1]); d.execute(sys.argv[2]); d.commit()'
    execFileSync(PYTHON, ['-c', program, this.#database, sql])
  }

  async end(): Promise<void> {
    await this.kill()
    this.#proxy?.close()
    if (this.#directory) rmSync(this.#directory, { recursive: true, force: true })
  }

  /** A call with the secret key: a GET, or with a body a POST. */
  // biome-ignore lint/suspicious/noExplicitAny: each call answers with something of its own
  async #call(path: string, body?: unknown): Promise<any> {
    const response = await fetch(`${this.#origin}${path}`, {
      method: body === undefined ? 'GET' : 'POST',
      headers: { 'Content-Type': 'application/json', Authorization: 'Bearer ac_secret_dev' },
      body: JSON.stringify(body),
    })
    const answer = await response.json()
    if (!response.ok) throw new Error(answer.error.message)
    return answer
  }
}

/** A server that runs while the tests of the calling file do. */
export function serverOfThisFile(): Server {
  const server = new Server()
  test.beforeAll(() => server.start())
  test.afterAll(() => server.end())
  return server
}
