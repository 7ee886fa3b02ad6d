/** Hooks of the published SDKs. */
import type { AerostackError, ChannelOptions, RealtimePayload } from 'aerostack-realtime'
import { useEffect, useState } from 'react'
import { useHandle, useStatus } from './channel.js'

/** What `useSubscription` returns. */
// biome-ignore lint/suspicious/noExplicitAny: untyped unless the app names a type
export interface SubscriptionState<T = any> {
  /** The last payload of the topic. */
  data: RealtimePayload<T> | null
  /** Why the server refused the subscription. */
  error: AerostackError | null
  /** True until the server has answered. */
  loading: boolean
}

/** Options of `useSubscription`. */
export interface SubscriptionOptions {
  /** Receive only this event. Default: all. */
  event?: string
  filter?: ChannelOptions['filter']
}

const LOADING: SubscriptionState<never> = { data: null, error: null, loading: true }

/** The last event of `topic`. New code should use `useEvent`, which misses none, or `useTable`. */
// biome-ignore lint/suspicious/noExplicitAny: untyped unless the app names a type
export function useSubscription<T = any>(
  topic: string,
  options: SubscriptionOptions = {},
): SubscriptionState<T> {
  const { event = '*', filter } = options
  const channel = useHandle(topic, { filter })
  const [state, setState] = useState<SubscriptionState<T>>(LOADING)
  useEffect(() => {
    let mounted = true
    const change = (change: Partial<SubscriptionState<T>>) =>
      mounted && setState((before) => ({ ...before, ...change }))
    change(LOADING)
    channel
      .on(event, (data) => change({ data }))
      .subscribe()
      .then(
        () => change({ loading: false, error: null }),
        (error) => change({ loading: false, error }),
      )
    return () => {
      mounted = false
      channel.unsubscribe()
    }
  }, [channel, event])
  return state
}

/** The same as `useStatus`. */
export const useRealtimeStatus = useStatus
