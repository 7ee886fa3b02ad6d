'use client'

export type { TableOptions, TableState } from 'aerostack-realtime/table'
export type { User } from './auth.js'
export { useChannel, useEvent, usePresence, useStatus } from './channel.js'
export { type History, type HistoryOptions, useHistory } from './history.js'
export {
  type SubscriptionOptions,
  type SubscriptionState,
  useRealtimeStatus,
  useSubscription,
} from './legacy.js'
export {
  AerostackProvider,
  type AerostackProviderProps,
  type Auth,
  useAerostack,
  useAuth,
} from './provider.js'
export { type StreamView, useStream } from './stream.js'
export { useTable } from './table.js'
