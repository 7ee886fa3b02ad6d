import type { AerostackError, Channel, HistoryMessage, RealtimePayload } from 'aerostack-realtime'
import { useCallback, useEffect, useMemo, useRef, useState } from 'react'
import { eachFrame } from './frames.js'
import { useAerostack } from './provider.js'

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
  const { realtime } = useAerostack()
  const begins = useRef<Begins>(() => {})
  const channel = useMemo(() => {
    const live: Begins = (stored) => begins.current(stored)
    const options = { ...STREAMS, history: Math.min(pageSize, LONGEST), live }
    return realtime.channel(topic, options)
  }, [realtime, topic, pageSize])
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
    const reload = () => (mounted ? load(undefined, () => mounted) : undefined)
    setPages(EMPTY)
    if (!names) {
      reload()
      return () => {
        mounted = false
      }
    }
    /** How many stored messages have yet to come; undefined until the server has answered. */
    let stored: number | undefined
    let full = false
    let begun: Partial<Pages<T>> = {}
    const frames = eachFrame<RealtimePayload<T>>((payloads) => {
      const once = begun
      begun = {}
      setPages((pages) => ({ ...withEvents(pages, payloads), ...once }))
    })
    begins.current = (history) => {
      if (stored !== undefined) return
      stored = history ?? 0
      full = history === Math.min(pageSize, LONGEST)
      if (history === undefined)
        reload() // another channel of the topic was first, or the server is older
      else if (!history) setPages((pages) => ({ ...pages, loading: false, hasMore: false }))
    }
    const wanted = new Set(names.split('\n'))
    const listen = (payload: RealtimePayload) => {
      const { event = '' } = payload
      if (event === 'gap') {
        stored = 0
        reload()
      } else if (stored && !event.startsWith('presence:')) {
        frames.add(payload)
        if (!--stored) begun = { loading: false, hasMore: full }
      } else if (wanted.has(event)) frames.add(payload)
    }
    let withoutHistory: Channel | undefined
    channel
      .on('*', listen)
      .subscribe()
      .catch(({ code }: AerostackError) => {
        reload()
        if (!mounted || code !== 'forbidden') return
        withoutHistory = realtime.channel(topic, STREAMS).on('*', listen) // the user may not read it, or nothing
        withoutHistory.subscribe().catch(() => {})
      })
    return () => {
      mounted = false
      frames.stop()
      channel.unsubscribe()
      withoutHistory?.unsubscribe()
    }
  }, [channel, load, names, pageSize, realtime, topic])

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
/** Messages that a subscription begins with at most. */
const LONGEST = 1_000

/** Called when the server has said how many stored messages the subscription begins with. */
type Begins = (stored: number | undefined) => void

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

function withEvents<T>(pages: Pages<T>, payloads: RealtimePayload<T>[]): Pages<T> {
  return { ...pages, messages: inOrder([...pages.messages, ...payloads.flatMap(asMessage<T>)]) }
}

function asMessage<T>(payload: RealtimePayload<T>): HistoryMessage<T>[] {
  const { id, event = '', data, userId = '', timestamp, topic, state } = payload
  if (id === undefined) return []
  const message = { id, room_id: topic, user_id: userId, event, data, created_at: Number(timestamp) }
  return [state ? { ...message, state } : message]
}

/** Oldest first, each once: the last one of each id. */
function inOrder<T>(messages: HistoryMessage<T>[]): HistoryMessage<T>[] {
  const once = new Map(messages.map((message) => [message.id, message]))
  return [...once.values()].sort((one, other) => one.created_at - other.created_at)
}
