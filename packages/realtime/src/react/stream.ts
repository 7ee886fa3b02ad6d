import type { RealtimePayload, StreamData, StreamState } from 'aerostack-realtime'
import { useCallback, useEffect, useMemo, useState } from 'react'
import { useHandle } from './channel.js'
import { eachFrame } from './frames.js'

/** What `useStream` returns. */
export interface StreamView<T extends StreamData> {
  /** What there is so far; undefined until the stream is open, and for one that ended before this component mounted. */
  data: T | undefined
  /** `open` while it grows; then how it ended. */
  state: StreamState | undefined
  /** The name of its event. */
  event: string | undefined
  /** The user who writes it. */
  userId: string | undefined
  /** Cancel it, from any device that has the right to. Rejects with an AerostackError. */
  stop(reason?: string): Promise<void>
}

const NOTHING = { data: undefined, state: undefined, event: undefined, userId: undefined }

/** The stream `id` of `topic` as it grows, with at most one render per frame. */
export function useStream<T extends StreamData = string>(topic: string, id: string): StreamView<T> {
  const channel = useHandle(topic, STREAMS)
  const [view, setView] = useState<Omit<StreamView<T>, 'stop'>>(NOTHING)
  useEffect(() => {
    setView(NOTHING)
    const frames = eachFrame<RealtimePayload<T>>((payloads) => {
      const { data, state, event, userId } = payloads.at(-1) as RealtimePayload<T>
      setView({ data, state, event, userId })
    })
    const add = (payload: RealtimePayload) => {
      if (payload.id === id && payload.state) frames.add(payload)
    }
    channel.on('*', add).subscribe()
    return () => {
      frames.stop()
      channel.unsubscribe()
    }
  }, [channel, id])
  const stop = useCallback(
    async (reason?: string) => {
      await channel.cancel(id, reason)
    },
    [channel, id],
  )
  return useMemo(() => ({ ...view, stop }), [view, stop])
}

const STREAMS = { streams: true }
