import type { Channel, ChannelOptions, Events, Member, RealtimePayload, Status } from 'aerostack-realtime'
import { useCallback, useEffect, useMemo, useRef, useSyncExternalStore } from 'react'
import { useAerostack } from './provider.js'

/** The status of the connection; `idle` while rendering on a server. */
export function useStatus(): Status {
  const { realtime } = useAerostack()
  const subscribe = useCallback((changed: () => void) => realtime.onStatusChange(changed), [realtime])
  return useSyncExternalStore(
    subscribe,
    () => realtime.status,
    () => 'idle',
  )
}

/** A handle on `topic` that is not subscribed yet; the same one as long as topic and options do not change. */
export function useHandle<E extends Events>(topic: string, options?: ChannelOptions): Channel<E> {
  const { realtime } = useAerostack()
  const json = JSON.stringify(options ?? {})
  return useMemo(() => realtime.channel<E>(topic, JSON.parse(json)), [realtime, topic, json])
}

/** A channel that is subscribed while mounted. Components on one topic share one subscription. */
export function useChannel<E extends Events = Events>(topic: string, options?: ChannelOptions): Channel<E> {
  const channel = useHandle<E>(topic, options)
  useEffect(() => {
    channel.subscribe()
    return () => channel.unsubscribe()
  }, [channel])
  return channel
}

/**
 * Call `listener` for an event of `topic` while mounted. The listener may be a new function at every render.
 *
 * `useEvent<Typing>(…)` names the type of the data, `useEvent<Events, 'typing'>(…)` the events of the channel.
 */
// biome-ignore lint/suspicious/noExplicitAny: untyped unless the app names a type
export function useEvent<T = any>(
  topic: string,
  event: string,
  listener: (payload: RealtimePayload<T>) => unknown,
  options?: ChannelOptions,
): void
export function useEvent<E extends Events, K extends keyof E & string>(
  topic: string,
  event: K,
  listener: (payload: RealtimePayload<E[K]>) => unknown,
  options?: ChannelOptions,
): void
export function useEvent(
  topic: string,
  event: string,
  listener: (payload: RealtimePayload) => unknown,
  options?: ChannelOptions,
): void {
  const channel = useHandle(topic, options)
  const latest = useRef(listener)
  useEffect(() => {
    latest.current = listener
  })
  useEffect(() => {
    channel.on(event, (payload) => latest.current(payload)).subscribe()
    return () => channel.unsubscribe()
  }, [channel, event])
}

const NO_MEMBERS: readonly Member[] = []

/** The members of `topic`. With `state`, this user is one of them while mounted. */
// biome-ignore lint/suspicious/noExplicitAny: a member's state is whatever the app tracks
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
  const json = state && JSON.stringify(state)
  useEffect(() => {
    if (json) channel.track(JSON.parse(json))
  }, [channel, json])
  const present = json !== undefined
  useEffect(() => (present ? () => channel.untrack() : undefined), [channel, present])
  return useSyncExternalStore(
    subscribe,
    () => channel.members,
    () => NO_MEMBERS,
  )
}
