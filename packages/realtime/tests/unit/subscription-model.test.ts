import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { RealtimePayload } from '../../src/index.js'
import type { EventFrame } from '../../src/protocol.js'
import { Subscription } from '../../src/subscription.js'
import { settled } from '../support/network.js'

const TOPIC = 'chat/general/default'

const step = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({ do: fc.constant('publish' as const), count: fc.integer({ min: 1, max: 3 }) }),
  },
  { weight: 8, arbitrary: fc.record({ do: fc.constant('arrive' as const) }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('finish' as const), at: fc.nat({ max: 3 }) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('answer' as const) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('reconnect' as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('forget' as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('interrupt' as const) }) },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('drop' as const), count: fc.integer({ min: 1, max: 4 }) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('stray' as const), number: fc.integer({ min: 1, max: 30 }) }),
  },
)
type Step = typeof step extends fc.Arbitrary<infer S> ? S : never

/** A server with a log of the numbers from 1, and a listener that finishes on command. */
class World {
  readonly #subscription = new Subscription(TOPIC)
  readonly heard: (number | 'gap')[] = []
  readonly #unfinished: { number: number; finish: () => void }[] = []
  #published = 0
  /** The newest number that is no longer in the log of the server. */
  #forgotten = 0
  /** The newest number that was sent on this connection. */
  #sent = 0
  #requests = 0
  #wanted: { id: string; since: number | undefined } | undefined
  /** All numbers up to here were delivered or reported by a gap. */
  #reported = 0
  #reached: number

  constructor() {
    this.#subscription.attach({
      filter: undefined,
      presence: false,
      since: undefined,
      deliver: (payload) => this.#deliver(payload as RealtimePayload),
    })
    this.#ask()
    this.#answer()
    this.#reached = 0
  }

  async take(step: Step): Promise<void> {
    const live = this.#subscription.state === 'live'
    if (step.do === 'publish') this.#published += step.count
    else if (step.do === 'arrive' && live && this.#sent < this.#published) this.#arrive(++this.#sent)
    else if (step.do === 'finish') this.#unfinished.splice(step.at, 1)[0]?.finish()
    else if (step.do === 'answer' && this.#wanted) this.#answer()
    else if (step.do === 'reconnect') this.#reconnect()
    else if (step.do === 'forget') {
      this.#forgotten = this.#published
      this.#reconnect()
    } else if (step.do === 'interrupt' && live) this.#gap(this.#published)
    else if (step.do === 'drop' && live && this.#sent < this.#published)
      this.#gap(Math.min(this.#published, this.#sent + step.count))
    else if (step.do === 'stray' && this.#wanted) {
      this.#arrive(step.number) // of an older request: until the answer nothing counts
      this.#subscription.subscribed({ id: 'an older one', cursor: '99', recovered: false })
    }
    await settled()
    this.#cursorIsWhatIsFinished()
  }

  /** Deliver and finish everything that remains. */
  async end(): Promise<void> {
    await this.take({ do: 'answer' })
    while (this.#sent < this.#published) await this.take({ do: 'arrive' })
    while (this.#unfinished.length) await this.take({ do: 'finish', at: 0 })
    expect(this.#reported).toBe(this.#published)
    expect(Number(this.#subscription.cursor)).toBe(this.#published)
  }

  #arrive(number: number): void {
    const cursor = String(number)
    const frame: EventFrame = {
      type: 'event',
      topic: TOPIC,
      event: 'message',
      data: number,
      id: cursor,
      cursor,
    }
    this.#subscription.receive(frame)
  }

  #gap(to: number): void {
    this.#leads(to)
    this.#subscription.subscribed({ cursor: String(to), recovered: false, dropped: to - this.#sent })
    this.#sent = to
  }

  #ask(): void {
    const id = String(++this.#requests)
    const { since } = this.#subscription.request(id)
    this.#wanted = { id, since: since === undefined ? undefined : Number(since) }
  }

  #answer(): void {
    if (!this.#wanted) return
    const { id, since } = this.#wanted
    this.#wanted = undefined
    const recovered = since === undefined ? null : since >= this.#forgotten
    this.#sent = since === undefined ? this.#published : Math.max(since, this.#forgotten)
    if (!recovered) this.#leads(this.#sent)
    expect(this.#subscription.subscribed({ id, cursor: String(this.#sent), recovered })).toBe(true)
  }

  #reconnect(): void {
    this.#subscription.lost()
    this.#ask()
  }

  /** A gap or a start that leads to `to` is about to be reported. */
  #leads(to: number): void {
    this.#reported = Math.max(this.#reported, to)
    this.#reached = Math.max(this.#reached, to)
    for (const each of this.#unfinished) if (each.number <= to) each.number = 0
  }

  #deliver(payload: RealtimePayload): Promise<unknown> | undefined {
    if (payload.event === 'gap') {
      this.heard.push('gap')
      return undefined
    }
    const number = payload.data as number
    expect(number, 'nothing is missing, repeated or out of order').toBe(this.#reported + 1)
    this.#reported = number
    this.heard.push(number)
    return new Promise<void>((resolve) => this.#unfinished.push({ number, finish: resolve }))
  }

  /** The cursor never passes an unfinished event and never goes back. */
  #cursorIsWhatIsFinished(): void {
    const cursor = Number(this.#subscription.cursor)
    expect(cursor).toBeGreaterThanOrEqual(this.#reached)
    for (const { number } of this.#unfinished) if (number) expect(cursor).toBeLessThan(number)
    this.#reached = cursor
  }
}

test('every event is delivered once and in order, or reported as a gap', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
      const world = new World()
      for (const each of steps) await world.take(each)
      await world.end()
    }),
    { numRuns: Number(process.env.RUNS ?? 300) },
  )
})
