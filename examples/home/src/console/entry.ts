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
    return {
      kind: 'change',
      name: operation,
      topic,
      text: `${text} was ${JSON.stringify(replaced(old, data))}`,
    }
  if (operation) return { kind: 'change', name: operation, topic, text }
  return { kind: event.startsWith('presence:') ? 'presence' : 'event', name: event, topic, text }
}

/** Of the old row, the columns that have changed. */
function replaced(old: Record<string, unknown>, row: Record<string, unknown>): Record<string, unknown> {
  const changed = ([name, value]: [string, unknown]) => JSON.stringify(value) !== JSON.stringify(row[name])
  return Object.fromEntries(Object.entries(old).filter(changed))
}

export function lineOfError(error: unknown, topic: string): Line {
  const code = error instanceof AerostackError ? error.code : 'error'
  const text = error instanceof Error ? error.message : String(error)
  return { kind: 'error', name: code, topic, text }
}
