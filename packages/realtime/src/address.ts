/** Server addresses as apps write them. */
import { AerostackError } from './errors.js'

/**
 * The origins of servers, `http(s)://host[:port][/path]` without a trailing slash. Accepts `ws(s)://` and a trailing
 * `/v1`. Without a url it is the page's own origin, or empty where there is no page.
 *
 * Throws AerostackError `invalid_url`.
 */
export function origins(url: string | readonly string[] | undefined): string[] {
  return [url || (globalThis.location?.origin ?? '')].flat().map((each) => {
    if (each && !/^(http|ws)s?:\/\/./.test(each))
      throw new AerostackError('invalid_url', `The url '${each}' needs http:// or https:// in front.`)
    return each.replace(/^ws/, 'http').replace(/(\/v1)?\/*$/, '')
  })
}

/** The WebSocket address on the server at `origin`. */
export function socketUrl(origin: string, projectId: string, userId: string | undefined): string {
  const query = new URLSearchParams({ projectId, ...(userId && { userId }) })
  return `${origin.replace(/^http/, 'ws')}/api/realtime?${query}`
}

/** The `items` in a random order. `random` is in [0, 1). */
export function shuffled<T>(items: readonly T[], random: () => number): T[] {
  return items
    .map((item) => [random(), item] as const)
    .sort(([one], [other]) => one - other)
    .map(([, item]) => item)
}
