import type { Channel, HistoryMessage } from 'aerostack-realtime'
import { createClient } from 'aerostack-realtime'

declare const roomId: string
declare const user: { id: string; name: string }
declare const currentUser: { name: string }
declare const newAccessToken: string

const realtime = createClient({ url: 'http://localhost:8787' })
const channel: Channel = realtime.channel(`chat/${roomId}`)

// Publish to a channel (client-side)
channel.publish('message', {
  id: crypto.randomUUID(),
  user: currentUser.name,
  text: 'Hello everyone!',
  timestamp: Date.now(),
})

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

export { older }
