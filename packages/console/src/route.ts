/** Where in the console one is: `#/channels?search=a`, so that every page is a link. */
import { useSyncExternalStore } from 'react'

export interface Route {
  page: string
  query: Record<string, string>
}

let known = { hash: '', route: parse('') }

function parse(hash: string): Route {
  const [page = '', query = ''] = hash.replace(/^#\/?/, '').split('?')
  return { page: page || 'overview', query: Object.fromEntries(new URLSearchParams(query)) }
}

function current(): Route {
  if (known.hash !== location.hash) known = { hash: location.hash, route: parse(location.hash) }
  return known.route
}

function watch(changed: () => void): () => void {
  addEventListener('hashchange', changed)
  return () => removeEventListener('hashchange', changed)
}

export function useRoute(): Route {
  return useSyncExternalStore(watch, current)
}

/** The address of a page. */
export function to(page: string, query: Record<string, string | number | undefined> = {}): string {
  const given = Object.entries(query).filter(
    ([, value]) => value !== undefined && value !== '' && value !== 0,
  )
  const written = new URLSearchParams(given.map(([name, value]) => [name, String(value)])).toString()
  return written ? `#/${page}?${written}` : `#/${page}`
}

/** Change the query of this page without a new entry in the browser's history. */
export function replaceQuery(page: string, query: Record<string, string | number | undefined>): void {
  history.replaceState(null, '', to(page, query))
  dispatchEvent(new HashChangeEvent('hashchange'))
}
