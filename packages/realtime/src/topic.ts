import { AerostackError } from './errors.js'

const TABLE = 'table'
const MAX_BYTES = 256
const SEGMENT = /^[\w\-.:@~+]+$/

/**
 * The canonical form of `topic`, which may be written bare, without the project, or canonical already.
 *
 * `orders` and `table/orders` become `table/orders/P`, `chat/general` becomes `chat/general/P`. A topic of two
 * segments is never canonical, since the shortest canonical topic has three.
 *
 * Throws AerostackError `invalid_topic`.
 */
export function canonical(topic: string, project: string): string {
  const segments = topic.split('/')
  if (segments.length > 2 && segments.at(-1) === project) segments.pop()
  if (segments.length === 1) segments.unshift(TABLE)
  const bare = segments.join('/')
  const long = bare.length > MAX_BYTES && topic.length > MAX_BYTES
  if (
    long ||
    !segments.every((each) => SEGMENT.test(each)) ||
    (segments[0] === TABLE && segments.length !== 2)
  )
    throw new AerostackError(
      'invalid_topic',
      `'${topic.slice(0, 80)}' is no topic like 'orders' or 'chat/general'`,
      false,
      topic,
    )
  return `${bare}/${project}`
}
