import { AerostackError } from './errors.js'

const MAX_BYTES = 256
const SEGMENTS = /^[\w\-.:@~+]+(\/[\w\-.:@~+]+)*$/

/**
 * The canonical form of `topic`, which may be written bare, without the project, or canonical already.
 *
 * `orders` and `table/orders` become `table/orders/P`, `chat/general` becomes `chat/general/P`. A topic of two
 * segments is never canonical, since the shortest canonical topic has three.
 *
 * Throws AerostackError `invalid_topic`.
 */
export function canonical(topic: string, project: string): string {
  if (!SEGMENTS.test(topic))
    throw invalid(topic, 'is made of segments of A-Z a-z 0-9 _ - . : @ ~ + separated by single slashes')
  const segments = topic.split('/')
  if (segments.length > 2 && segments.at(-1) === project) segments.pop()
  if (segments.length === 1) segments.unshift('table')
  if (segments[0] === 'table' && segments.length !== 2)
    throw invalid(topic, "of a table is written 'orders' or 'table/orders'")
  const bare = segments.join('/')
  if (bare.length > MAX_BYTES && topic.length > MAX_BYTES) throw invalid(topic, `has 1 to ${MAX_BYTES} bytes`)
  return `${bare}/${project}`
}

function invalid(topic: string, rule: string): AerostackError {
  return new AerostackError('invalid_topic', `A topic ${rule}; '${topic.slice(0, 80)}' is not.`, false, topic)
}
