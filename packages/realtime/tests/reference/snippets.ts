import type { Channel, HistoryMessage, RealtimePayload } from 'aerostack-realtime'
import { createClient } from 'aerostack-realtime'
import { createServer } from 'aerostack-realtime/server'

declare const roomId: string
declare const user: { id: string; name: string }
declare const currentUser: { name: string }
declare const newAccessToken: string
declare const [orderId, userId]: [number, string]

const realtime = createClient({ url: 'http://localhost:8787' })
const channel: Channel = realtime.channel(`chat/${roomId}`)

// Publish to a channel (client-side)
channel.publish('message', {
  id: crypto.randomUUID(),
  user: currentUser.name,
  text: 'Hello everyone!',
  timestamp: Date.now(),
})

// Publish from the server
const sdk = createServer({ url: 'http://localhost:8787', secretKey: 'ac_secret_dev' })
sdk.socket.emit('message', {
  id: crypto.randomUUID(),
  user: 'System',
  text: 'Order #1234 has been shipped',
}, `notifications/${userId}`)

// Server: just run the SQL
await sdk.db.query(
  'INSERT INTO orders (id, user_id, total, status) VALUES (?, ?, ?, ?)',
  [orderId, userId, 99.99, 'pending']
)
await sdk.db.query(
  'UPDATE orders SET status = ? WHERE id = ?',
  ['shipped', orderId]
)

// Event payload, word for word from the reference; a listener for it receives what the client delivers
interface ReferencePayload<T> {
  type: 'db_change' | 'event'
  topic: string
  operation?: 'INSERT' | 'UPDATE' | 'DELETE'  // DB changes only
  event?: string                               // Custom events only
  data: T                                      // New/current row or event data
  old?: T                                      // Previous value (UPDATE and DELETE)
  userId?: string
  timestamp?: number | string
}
const payload: Omit<ReferencePayload<number>, 'type'> = {} as RealtimePayload<number>

// Connection management and the methods of the tables
const unsub: () => void = realtime.onStatusChange((status) => console.log(status))
unsub()
const listener = ({ data, old }: { data: unknown; old?: unknown }) => console.log(data, old)
channel.on('INSERT', listener).on('*', listener).off('INSERT', listener)
channel.untrack()
channel.unsubscribe()

// Update presence state
channel.track({
  userId: user.id,
  name: user.name,
  cursor: { line: 42, col: 15 },
  selection: { start: 100, end: 150 },
})

// Publish with persistence
channel.publish('message', {
  userId: user.id,
  text: 'This message will be saved',
  timestamp: Date.now(),
}, { persist: true })  // <-- messages are stored in DB

// Retrieve history
const messages = await channel.getHistory(50)
const older: HistoryMessage[] = await channel.getHistory(50, messages[messages.length - 1].created_at)

// Manual connect/disconnect, update auth token
await realtime.connect()
realtime.disconnect()
realtime.setToken(newAccessToken)

export { older, payload }
