import type { AerostackError, HistoryMessage, RealtimePayload } from 'aerostack-realtime'
import { useCallback, useEffect, useMemo, useState } from 'react'
import { useHandle } from './channel.js'
import { eachFrame } from './frames.js'

/** Options of `useHistory`. */
export interface HistoryOptions {
  /** Messages per page, 1 to 1000. Default 50. */
  pageSize?: number
  /** Add events of these names as they happen, streams while they grow. Publish them with `persist: true`. */
  live?: string | readonly string[]
}

/** What `useHistory` returns. */
export interface History<T> {
  /** Oldest first, as apps display them. */
  messages: readonly HistoryMessage<T>[]
  loading: boolean
  error: AerostackError | null
  /** Whether there may be older messages. */
  hasMore: boolean
  /** Load the page before the oldest message. */
  loadMore(): Promise<void>
  /** Cancel a stream: `stop(message.id)`. Rejects with an AerostackError. */
  stop(id: string, reason?: string): Promise<void>
}

interface Pages<T> {
  messages: readonly HistoryMessage<T>[]
  hasMore: boolean
  loading: boolean
  error: AerostackError | null
}

const EMPTY: Pages<never> = { messages: [], hasMore: true, loading: true, error: null }

/** The persisted messages of `topic`, page by page, and with `live` new ones as they arrive. */
// biome-ignore lint/suspicious/noExplicitAny: untyped unless the app names a type
export function useHistory<T = any>(topic: string, options: HistoryOptions = {}): History<T> {
  const { pageSize = 50, live = [] } = options
  const names = [live].flat().join('\n')
  const channel = useHandle(topic, STREAMS)
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
    const frames = eachFrame<RealtimePayload>((payloads) =>
      setPages((pages) => payloads.reduce(withEvent<T>, pages)),
    )
    for (const name of names.split('\n')) channel.on(name, frames.add)
    channel.on('gap', first)
    channel.subscribe().then(first, first) // once delivery is certain, so that no message is missed in between
    return () => {
      mounted = false
      frames.stop()
      channel.unsubscribe()
    }
  }, [channel, load, names])

  const loadMore = useCallback(() => load(oldest, () => true), [load, oldest])
  const stop = useCallback(
    async (id: string, reason?: string) => {
      await channel.cancel(id, reason)
    },
    [channel],
  )
  return useMemo(() => ({ ...pages, loadMore, stop }), [pages, loadMore, stop])
}

const STREAMS = { streams: true }

/**
 * `pages` with another page, which is newest first as the server sends it. An open stream is further here than in the
 * page, which has what was stored last.
 */
function withPage<T>(pages: Pages<T>, page: HistoryMessage<T>[], pageSize: number): Pages<T> {
  const here = new Set(pages.messages.map(({ id }) => id))
  const stored = page.filter(({ id, state }) => state !== 'open' || !here.has(id))
  const messages = inOrder([...pages.messages, ...stored])
  return { messages, hasMore: page.length === pageSize, loading: false, error: null }
}

function withEvent<T>(pages: Pages<T>, payload: RealtimePayload<T>): Pages<T> {
  const { id, event = '', data, userId = '', timestamp, topic, state } = payload
  if (id === undefined) return pages
  const created_at = Number(timestamp)
  const message: HistoryMessage<T> = { id, room_id: topic, user_id: userId, event, data, created_at }
  if (state) message.state = state
  return { ...pages, messages: inOrder([...pages.messages, message]) }
}

/** Oldest first, each once: the last one of each id. */
function inOrder<T>(messages: HistoryMessage<T>[]): HistoryMessage<T>[] {
  const once = new Map(messages.map((message) => [message.id, message]))
  return [...once.values()].sort((one, other) => one.created_at - other.created_at)
}
