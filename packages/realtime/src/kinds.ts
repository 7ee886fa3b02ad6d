/** What values stand for where a column has a kind, as the server compares them (docs/protocol.md §4, its kinds.py). */

/** What strings stand for in the columns where they are no text. */
export type Kinds = Record<string, string>

const DECIMAL = /^([+-]?)(\d{1,1000})(?:\.(\d{0,1000}))?(?:e([+-]?\d{1,4}))?$/i
const INTEGER = /^-?[1-9]\d{15,18}$/
const INSTANT =
  /^((?!0000)\d{4}-\d\d-\d\d)(?:[T ]((?:[01]\d|2[0-3]):[0-5]\d)(?::([0-5]\d)(?:\.(\d+))?)?(?:Z|([+-](?:[01]\d|2[0-3])):?([0-5]\d)?)?)?$/

/**
 * A string in whose order values stand that are of one order, which is that of values whose first letters are equal.
 * Equal values have equal ones; that of null is empty. `asked`: it is a filter's, whose large integers the server
 * takes as strings.
 */
export function meaning(value: unknown, kind?: string, asked?: boolean): string {
  if (value === null || value === undefined) return ''
  if (typeof value === 'boolean') return number(`${+value}`) as string
  if (typeof value === 'number')
    return asked && Number.isInteger(value) && !Number.isSafeInteger(value) && Math.abs(value) < 1e21
      ? meaning(`${value}`, kind)
      : (number(`${value}`) as string)
  if (typeof value !== 'string') return 'o' // equal to nothing that can be asked for
  return (
    (kind === 'decimal' && number(value)) ||
    (kind === 'integer' && INTEGER.test(value) && !Number.isSafeInteger(+value) && number(value)) ||
    (kind === 'float' && (value === 'Infinity' ? 'n3' : value === '-Infinity' && 'n')) ||
    (kind === 'instant' && instant(value)) ||
    `t${text(kind === 'uuid' ? value.toLowerCase() : value)}`
  )
}

/** By code points: surrogates, which stand for those above all others, come behind every other unit. */
function text(value: string): string {
  return value.replace(/[\ud800-\udfff\uffff]/g, (unit) => `\uffff${unit === '\uffff' ? '\0' : unit}`)
}

/** The sign, where the point is, and the digits; for a negative number all of it backwards. */
function number(written: string): string | undefined {
  const [all, sign, whole = '', fraction = '', exponent = 0] = DECIMAL.exec(written) ?? []
  if (!all) return undefined
  const digits = (whole + fraction).replace(/^0+/, '')
  const point = digits.length - fraction.length + +exponent
  const bare = digits.replace(/0+$/, '')
  if (!bare) return 'n1'
  return sign === '-'
    ? `n0${50_000 - point}${bare.replace(/./g, (digit) => `${9 - +digit}`)}~`
    : `n2${50_000 + point}${bare}`
}

function instant(written: string): string | undefined {
  const [all, day, time = '00:00', seconds = '00', fraction = '', hours = '+00', minutes = '00'] =
    INSTANT.exec(written) ?? []
  if (!all || !iso(`${day}T00:00Z`).startsWith(`${day}`)) return undefined // there is no 30 February
  return `i${iso(`${day}T${time}:${seconds}${hours}:${minutes}`)}${fraction.padEnd(6, '0').slice(0, 6)}`
}

function iso(written: string): string {
  const date = new Date(written)
  return Number.isNaN(+date) ? '' : date.toISOString().slice(0, 19)
}
