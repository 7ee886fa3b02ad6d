import { Faces } from '@examples/theme'
import { useAuth, useChannel, useHistory, usePresence } from 'aerostack-realtime/react'
import { Composer } from './Composer.tsx'
import { Messages } from './Messages.tsx'
import type { ChatEvents, ChatMessage } from './message.ts'
import { Typists } from './Typists.tsx'

export function Room({ room }: { room: string }) {
  const { user } = useAuth()
  const topic = `chat/${room}`
  const channel = useChannel<ChatEvents>(topic)
  const members = usePresence(topic, { userId: user.id, name: user.name })
  // Oldest first: what was said before, then what is being said.
  const history = useHistory<ChatMessage>(topic, { live: 'message', pageSize: 30 })

  const send = (text: string) =>
    channel.publish('message', { userId: user.id, userName: user.name, text }, { persist: true })
  const typing = () => channel.publish('typing', { userId: user.id, name: user.name }, { echo: false })

  return (
    <main className="room panel" aria-label={`Room ${room}`}>
      <header>
        <h2>{room}</h2>
        <Faces label="Here now" members={members} />
      </header>
      <Messages history={history} room={room} />
      <footer>
        <Typists topic={topic} />
        <Composer room={room} onSend={send} onTyping={typing} />
      </footer>
    </main>
  )
}
