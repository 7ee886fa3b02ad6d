import { AerostackError } from './errors.js'

const TABLE = 'table'
const MAX_BYTES = 256
const SEGMENTS = /^[\w\-.:@~+]+(\/[\w\-.:@~+]+)+$/

/**
 * The topic as this client sends it: canonical when the project is known, else without a project.
 *
 * With the project `P`, `orders` and `table/orders` become `table/orders/P`, and `chat/general` becomes
 * `chat/general/P`. With an empty `project` the server adds its own.
 *
 * `topic` may be canonical already. A topic of two segments never is: the shortest canonical topic has three.
 *
 * Throws AerostackError `invalid_topic`.
 */
export function canonical(topic: string, project: string): string {
  const segments = topic.replace(/\/$/, '').split('/')
  if (segments.length > 2 && segments.at(-1) === project) segments.pop()
  if (segments.length === 1) segments.unshift(TABLE)
  const bare = segments.join('/')
  const long = bare.length > MAX_BYTES && topic.length > MAX_BYTES
  if (long || !SEGMENTS.test(bare) || (segments[0] === TABLE && segments.length !== 2))
    throw new AerostackError(
      'invalid_topic',
      `'${topic.slice(0, 80)}' is not a topic such as 'orders' or 'chat/general'.`,
      false,
      topic,
    )
  return project ? `${bare}/${project}` : bare
}

/** A canonical topic without its project. */
export function withoutProject(canonical: string): string {
  return canonical.slice(0, canonical.lastIndexOf('/'))
}
