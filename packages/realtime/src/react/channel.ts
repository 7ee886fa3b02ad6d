import type { Channel, ChannelOptions, Events, Member, RealtimePayload, Status } from 'aerostack-realtime'
import { useCallback, useEffect, useMemo, useRef, useSyncExternalStore } from 'react'
import { useAerostack } from './provider.js'

/** The connection's status; `idle` on the server. */
export function useStatus(): Status {
  const { realtime } = useAerostack()
  const subscribe = useCallback((changed: () => void) => realtime.onStatusChange(changed), [realtime])
  return useSyncExternalStore(
    subscribe,
    () => realtime.status,
    () => 'idle',
  )
}

/** A handle on `topic` that nobody has subscribed yet; the same one for as long as topic and options stay. */
export function useHandle<E extends Events>(topic: string, options?: ChannelOptions): Channel<E> {
  const { realtime } = useAerostack()
  const written = JSON.stringify(options ?? {})
  return useMemo(() => realtime.channel<E>(topic, JSON.parse(written)), [realtime, topic, written])
}

/** A channel that is subscribed while the component is mounted. Components on one topic share one subscription. */
export function useChannel<E extends Events = Events>(topic: string, options?: ChannelOptions): Channel<E> {
  const channel = useHandle<E>(topic, options)
  useEffect(() => {
    channel.subscribe()
    return () => channel.unsubscribe()
  }, [channel])
  return channel
}

/** Call `listener` for an event of `topic` while mounted; it may be a new function at every render. */
export function useEvent<E extends Events = Events, K extends keyof E & string = string>(
  topic: string,
  event: K,
  listener: (payload: RealtimePayload<E[K]>) => unknown,
  options?: ChannelOptions,
): void {
  const channel = useHandle<E>(topic, options)
  const latest = useRef(listener)
  useEffect(() => {
    latest.current = listener
  })
  useEffect(() => {
    channel.on(event, (payload) => latest.current(payload)).subscribe()
    return () => channel.unsubscribe()
  }, [channel, event])
}

const NOBODY: readonly Member[] = []

/** Who is present on `topic`; with `state`, this user is one of them while mounted. */
// biome-ignore lint/suspicious/noExplicitAny: what a state holds is the app's affair
export function usePresence<S extends object = any>(topic: string, state?: S): readonly Member<S>[] {
  const channel = useHandle(topic)
  const subscribe = useCallback(
    (changed: () => void) => {
      for (const event of ['presence:join', 'presence:update', 'presence:leave']) channel.on(event, changed)
      channel.subscribe()
      return () => channel.unsubscribe()
    },
    [channel],
  )
  const written = state && JSON.stringify(state)
  useEffect(() => {
    if (written) channel.track(JSON.parse(written))
  }, [channel, written])
  const present = written !== undefined
  useEffect(() => (present ? () => channel.untrack() : undefined), [channel, present])
  return useSyncExternalStore(
    subscribe,
    () => channel.members,
    () => NOBODY,
  )
}
