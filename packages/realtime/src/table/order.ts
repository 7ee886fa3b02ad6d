/** The database's sort order, learned from snapshots: databases differ in how they sort text and NULL. */
import type { Row } from '../protocol.js'

type Compare = (one: unknown, other: unknown) => number

/** By code points, like SQLite's BINARY and PostgreSQL's "C". JavaScript's `<` compares UTF-16 units. */
function binary(one: string, other: string): number {
  if (one === other) return 0
  let at = 0
  while (one[at] === other[at]) at++
  return rank(one.charCodeAt(at)) - rank(other.charCodeAt(at))
}

/** Surrogates belong to the highest code points; the end of a text comes first. */
function rank(unit: number): number {
  return Number.isNaN(unit) ? -1 : unit >= 0xd800 && unit < 0xe000 ? unit + 0x10000 : unit
}

/** Like SQLite's NOCASE. */
function caseless(one: string, other: string): number {
  return binary(folded(one), folded(other))
}

function folded(text: string): string {
  return text.replace(/[A-Z]/g, (letter) => letter.toLowerCase())
}

const { compare: linguistic } = new Intl.Collator('en')

const NUMBER = /^-?(\d+(\.\d+)?(e[+-]?\d+)?|Infinity)$/i

/** Large integers, exact decimals and infinities are strings in JSON. */
function isNumber(value: unknown): boolean {
  return typeof value !== 'string' || NUMBER.test(value)
}

function numeric(one: unknown, other: unknown): number {
  const [a, b] = [Number(one), Number(other)]
  if (a !== b || typeof one !== 'string' || typeof other !== 'string') return Math.sign(a - b)
  return /^-?\d+$/.test(one) && /^-?\d+$/.test(other) ? Number(BigInt(one) - BigInt(other)) : 0
}

function sorts(nulls: 1 | -1, text: (one: string, other: string) => number, numbers: boolean): Compare {
  return (one, other) => {
    if (one === other) return 0
    if (one === null || other === null) return one === null ? nulls : -nulls
    const [a, b] = [typeof one === 'string', typeof other === 'string']
    if ((numbers && isNumber(one) && isNumber(other)) || (!a && !b)) return numeric(one, other)
    return a && b ? text(one as string, other as string) : a ? 1 : -1
  }
}

/** All ways in which a column may be sorted, the most likely first. */
const WAYS: readonly Compare[] = [binary, caseless, linguistic].flatMap((text) =>
  [false, true].flatMap((numbers) => [sorts(-1, text, numbers), sorts(1, text, numbers)]),
)

/** One column, and the ways to sort it that agree with all snapshots. */
class Sorting {
  readonly #column: string
  readonly #sign: 1 | -1
  #ways = WAYS

  constructor(column: string, descending: boolean) {
    this.#column = column
    this.#sign = descending ? -1 : 1
  }

  /**
   * Positive when `one` comes after `other`; undefined when the remaining ways disagree. When none remains, `guess`
   * allows the most likely one.
   */
  compare(one: Row, other: Row, guess: boolean): number | undefined {
    const [a, b] = [one[this.#column] ?? null, other[this.#column] ?? null]
    if (a === b) return 0
    if (typeof a === 'number' && typeof b === 'number' && this.#ways.length)
      return this.#sign * Math.sign(a - b)
    const ways = this.#ways.length || !guess ? this.#ways : WAYS.slice(0, 1)
    const [verdict, ...others] = new Set(ways.map((way) => Math.sign(way(a, b))))
    return verdict === undefined || others.length ? undefined : this.#sign * verdict
  }

  /** The database put `one` before `other`, which are equal in all earlier columns. */
  learn(one: Row, other: Row): void {
    const [a, b] = [one[this.#column] ?? null, other[this.#column] ?? null]
    const kept = this.#ways.filter((way) => this.#sign * way(a, b) <= 0)
    if (kept.length < this.#ways.length) this.#ways = kept
  }
}

/** `order` is `column` or `-column`. Equal rows are in the order of their keys. */
export class Order {
  readonly #sortings: readonly Sorting[]

  constructor(order: string | undefined, key: readonly string[]) {
    const columns = key.map((column) => new Sorting(column, false))
    const first = order && new Sorting(order.replace(/^-/, ''), order.startsWith('-'))
    this.#sortings = first ? [first, ...columns] : columns
  }

  /** Positive when `one` comes after `other`; undefined when it is not certain. */
  compare(one: Row, other: Row, guess = false): number | undefined {
    for (const sorting of this.#sortings) {
      const verdict = sorting.compare(one, other, guess)
      if (verdict !== 0) return verdict
    }
    return 0
  }

  /** Learn from rows in the database's order. */
  learn(rows: readonly Row[]): void {
    rows.slice(1).forEach((row, index) => {
      const before = rows[index] as Row
      for (const sorting of this.#sortings) {
        const verdict = sorting.compare(before, row, false)
        sorting.learn(before, row)
        if (verdict !== 0) return
      }
    })
  }
}
