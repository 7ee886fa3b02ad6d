/** Brings column values into a form in which they compare as the server compares them (docs/protocol.md §4). */

/** The types of columns whose strings represent other values: `{ price: 'decimal', at: 'instant' }`. */
export type ColumnTypes = Record<string, string>

/**
 * A value, ready to be compared. Values of different groups are neither equal nor ordered; within a group the order
 * of the values is the order of their `key` by UTF-16 units.
 */
export interface Comparable {
  group: 'null' | 'number' | 'text' | 'instant' | 'other'
  key: string
}

const DECIMAL = /^([+-]?)(\d{1,1000})(?:\.(\d{0,1000}))?(?:e([+-]?\d{1,4}))?$/i
const LARGE_INTEGER = /^-?[1-9]\d{15,18}$/
const DATE = /((?!0000)\d{4}-\d\d-\d\d)/
const TIME = /((?:[01]\d|2[0-3]):[0-5]\d)(?::([0-5]\d)(?:\.(\d+))?)?/
const OFFSET = /(?:Z|([+-](?:[01]\d|2[0-3])):?([0-5]\d)?)?/
const INSTANT = new RegExp(`^${DATE.source}(?:[T ]${TIME.source}${OFFSET.source})?$`)

/** `value` of a column of this type, as a row holds it. */
export function comparable(value: unknown, type?: string): Comparable {
  if (value === null || value === undefined) return { group: 'null', key: '' }
  if (typeof value === 'boolean') return number(decimalKey(value ? '1' : '0'))
  if (typeof value === 'number') return number(decimalKey(String(value)))
  if (typeof value === 'string') return typed(value, type) ?? { group: 'text', key: textKey(value, type) }
  return { group: 'other', key: '' } // arrays and objects equal nothing that a filter can hold
}

/** `value` of a filter on a column of this type. The server reads large integers as strings, so this does too. */
export function comparableOfFilter(value: unknown, type?: string): Comparable {
  const large = Number.isInteger(value) && !Number.isSafeInteger(value) && Math.abs(value as number) < 1e21
  return comparable(large ? String(value) : value, type)
}

/** The value that a string represents in a column of this type; undefined when it is only text. */
function typed(value: string, type: string | undefined): Comparable | undefined {
  if (type === 'decimal' || (type === 'integer' && isLargeInteger(value))) {
    const key = decimalKey(value)
    return key ? number(key) : undefined
  }
  if (type === 'float' && value === 'Infinity') return number('3')
  if (type === 'float' && value === '-Infinity') return number('')
  if (type === 'instant') {
    const key = instantKey(value)
    return key ? { group: 'instant', key } : undefined
  }
  return undefined
}

function number(key = ''): Comparable {
  return { group: 'number', key }
}

function isLargeInteger(value: string): boolean {
  return LARGE_INTEGER.test(value) && !Number.isSafeInteger(Number(value))
}

/** Text sorts by code point. Surrogates are the highest code points, so they are moved behind every other unit. */
function textKey(value: string, type: string | undefined): string {
  const text = type === 'uuid' ? value.toLowerCase() : value
  return text.replace(/[\ud800-\udfff\uffff]/g, (unit) => `\uffff${unit === '\uffff' ? '\0' : unit}`)
}

/**
 * The sort key of an exact decimal: its sign, its magnitude (where the decimal point is), then its digits. For
 * negative numbers magnitude and digits are complemented, so that a larger amount sorts first. Undefined when
 * `written` is not a number.
 */
function decimalKey(written: string): string | undefined {
  const [all, sign, whole = '', fraction = '', exponent = '0'] = DECIMAL.exec(written) ?? []
  if (!all) return undefined
  const digits = (whole + fraction).replace(/^0+/, '')
  const magnitude = digits.length - fraction.length + Number(exponent)
  const significant = digits.replace(/0+$/, '')
  if (!significant) return '1'
  if (sign !== '-') return `2${50_000 + magnitude}${significant}`
  const complement = significant.replace(/\d/g, (digit) => String(9 - Number(digit)))
  return `0${50_000 - magnitude}${complement}~`
}

/** The sort key of a time with an offset (UTC without one), to the microsecond; undefined for anything else. */
function instantKey(written: string): string | undefined {
  const [all, day, time = '00:00', seconds = '00', fraction = '', hours = '+00', minutes = '00'] =
    INSTANT.exec(written) ?? []
  if (!all || !utc(`${day}T00:00Z`).startsWith(String(day))) return undefined // such as 30 February
  return utc(`${day}T${time}:${seconds}${hours}:${minutes}`) + fraction.padEnd(6, '0').slice(0, 6)
}

function utc(written: string): string {
  const date = new Date(written)
  return Number.isNaN(date.getTime()) ? '' : date.toISOString().slice(0, 19)
}
