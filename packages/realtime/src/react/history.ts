import type { AerostackError, HistoryMessage, RealtimePayload } from 'aerostack-realtime'
import { useCallback, useEffect, useMemo, useState } from 'react'
import { useHandle } from './channel.js'

export interface HistoryOptions {
  /** Messages per page, 1 to 1000. Default 50. */
  pageSize?: number
  /** Events of these names are added as they happen; publish them with `persist: true`. */
  live?: string | readonly string[]
}

export interface History<T> {
  /** Oldest first, as they are displayed. */
  messages: readonly HistoryMessage<T>[]
  loading: boolean
  error: AerostackError | null
  /** There may be older ones. */
  hasMore: boolean
  loadMore(): Promise<void>
}

interface Pages<T> {
  messages: readonly HistoryMessage<T>[]
  hasMore: boolean
  loading: boolean
  error: AerostackError | null
}

const EMPTY: Pages<never> = { messages: [], hasMore: true, loading: true, error: null }

/** The persisted messages of `topic`, a page at a time, and with `live` the new ones as they come. */
// biome-ignore lint/suspicious/noExplicitAny: untyped unless the app says better
export function useHistory<T = any>(topic: string, options: HistoryOptions = {}): History<T> {
  const { pageSize = 50, live = [] } = options
  const names = [live].flat().join('\n')
  const channel = useHandle(topic)
  const [pages, setPages] = useState<Pages<T>>(EMPTY)
  const oldest = pages.messages[0]?.created_at

  const load = useCallback(
    async (before: number | undefined, wanted: () => boolean) => {
      setPages((pages) => ({ ...pages, loading: true }))
      try {
        const page = await channel.getHistory<T>(pageSize, before)
        if (wanted()) setPages((pages) => withPage(pages, page, pageSize))
      } catch (error) {
        if (wanted()) setPages((pages) => ({ ...pages, loading: false, error: error as AerostackError }))
      }
    },
    [channel, pageSize],
  )

  useEffect(() => {
    let mounted = true
    const first = () => (mounted ? load(undefined, () => mounted) : undefined)
    setPages(EMPTY)
    if (!names) {
      first()
      return () => {
        mounted = false
      }
    }
    const add = (payload: RealtimePayload) => setPages((pages) => withEvent(pages, payload))
    for (const name of names.split('\n')) channel.on(name, add)
    channel.on('gap', first)
    channel.subscribe().then(first, first) // once delivery is certain, so that none falls between
    return () => {
      mounted = false
      channel.unsubscribe()
    }
  }, [channel, load, names])

  const loadMore = useCallback(() => load(oldest, () => true), [load, oldest])
  return useMemo(() => ({ ...pages, loadMore }), [pages, loadMore])
}

/** `pages` with another page, newest first as the server gives it. */
function withPage<T>(pages: Pages<T>, page: HistoryMessage<T>[], pageSize: number): Pages<T> {
  const messages = inOrder([...pages.messages, ...page])
  return { messages, hasMore: page.length === pageSize, loading: false, error: null }
}

function withEvent<T>(pages: Pages<T>, payload: RealtimePayload<T>): Pages<T> {
  const { id, event = '', data, userId = '', timestamp, topic } = payload
  if (id === undefined) return pages
  const created_at = Number(timestamp)
  const message = { id, room_id: topic, user_id: userId, event, data, created_at }
  return { ...pages, messages: inOrder([...pages.messages, message]) }
}

/** Oldest first, each once: a message that came live and then with a page is the page's. */
function inOrder<T>(messages: HistoryMessage<T>[]): HistoryMessage<T>[] {
  const once = new Map(messages.map((message) => [message.id, message]))
  return [...once.values()].sort((one, other) => one.created_at - other.created_at)
}
