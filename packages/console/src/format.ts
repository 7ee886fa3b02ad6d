/** Numbers and times as people read them. */

const whole = new Intl.NumberFormat('en', { maximumFractionDigits: 0 })
const short = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 })
const clockOf = new Intl.DateTimeFormat('en-GB', { timeStyle: 'medium' })
const dayOf = new Intl.DateTimeFormat('en-GB', { day: '2-digit', month: 'short' })

export function count(value: number): string {
  return Math.abs(value) < 100_000 ? whole.format(value) : short.format(value)
}

/** A rate, with one digit where it is small. */
export function rate(value: number): string {
  return value > 0 && value < 10 ? value.toFixed(1) : count(value)
}

export function bytes(value: number): string {
  if (value < 1024) return `${whole.format(value)} B`
  const units = ['KiB', 'MiB', 'GiB', 'TiB']
  let size = value / 1024
  let unit = 0
  while (size >= 1024 && unit < units.length - 1) {
    size /= 1024
    unit += 1
  }
  return `${size < 10 ? size.toFixed(1) : whole.format(size)} ${units[unit]}`
}

export function seconds(value: number): string {
  if (value < 60) return `${whole.format(value)} s`
  if (value < 3600) return `${Math.floor(value / 60)} min`
  if (value < 86_400) return `${Math.floor(value / 3600)} h ${Math.floor((value % 3600) / 60)} min`
  return `${Math.floor(value / 86_400)} d ${Math.floor((value % 86_400) / 3600)} h`
}

export function milliseconds(value: number | undefined): string {
  if (value === undefined) return '–'
  return value < 10 ? `${value.toFixed(1)} ms` : `${whole.format(value)} ms`
}

/** A time of today as a clock, an earlier one with its day. */
export function clock(ms: number): string {
  const at = new Date(ms)
  const time = clockOf.format(at)
  return at.toDateString() === new Date().toDateString() ? time : `${dayOf.format(at)}, ${time}`
}
