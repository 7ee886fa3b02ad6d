import { AerostackError, type RealtimePayload } from 'aerostack-realtime'

/** One line of the console's log. */
export interface Entry {
  key: number
  at: number
  kind: 'event' | 'change' | 'presence' | 'sent' | 'note' | 'error'
  /** The event's name, the operation, or the error's code. */
  name: string
  topic: string
  text: string
}

export type Line = Omit<Entry, 'key' | 'at'>

export function lineOf(payload: RealtimePayload): Line {
  const { topic, operation, event = '', data, old } = payload
  const text = JSON.stringify(data)
  if (operation === 'UPDATE')
    return { kind: 'change', name: operation, topic, text: `${JSON.stringify(old)} → ${text}` }
  if (operation) return { kind: 'change', name: operation, topic, text }
  return { kind: event.startsWith('presence:') ? 'presence' : 'event', name: event, topic, text }
}

export function lineOfError(error: unknown, topic: string): Line {
  const code = error instanceof AerostackError ? error.code : 'error'
  const text = error instanceof Error ? error.message : String(error)
  return { kind: 'error', name: code, topic, text }
}
