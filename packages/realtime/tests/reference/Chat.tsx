import { useAerostack, useAuth } from 'aerostack-realtime/react'
import { useEffect, useRef, useState } from 'react'

interface ChatMessage {
  id: string
  userId: string
  userName: string
  text: string
  timestamp: number
}

export function Chat({ roomId }: { roomId: string }) {
  const { realtime } = useAerostack()
  const { user } = useAuth()
  const [messages, setMessages] = useState([])
  const [input, setInput] = useState('')
  const [online, setOnline] = useState<Map<string, any>>(new Map())
  const channelRef = useRef(null)

  useEffect(() => {
    const channel = realtime.channel(`chat/${roomId}`)
    channelRef.current = channel

    // Load message history
    channel.getHistory(100).then(history => {
      setMessages(history.map(h => h.data))
    })

    // Track presence
    channel.track({
      userId: user.id,
      name: user.name,
      status: 'online',
    })

    channel
      // New messages
      .on('message', ({ data }) => {
        setMessages(prev => [...prev, data])
      })
      // Presence events
      .on('presence:join', ({ data }) => {
        setOnline(prev => new Map(prev).set(data.userId, data))
      })
      .on('presence:leave', ({ data }) => {
        setOnline(prev => {
          const next = new Map(prev)
          next.delete(data.userId)
          return next
        })
      })
      .subscribe()

    return () => {
      channel.untrack()
      channel.unsubscribe()
    }
  }, [realtime, roomId, user])

  const sendMessage = () => {
    if (!input.trim() || !channelRef.current) return

    channelRef.current.publish('message', {
      id: crypto.randomUUID(),
      userId: user.id,
      userName: user.name,
      text: input.trim(),
      timestamp: Date.now(),
    }, { persist: true })

    setInput('')
  }

  return (
    <div>
      
      <div>
        {online.size} online: {[...online.values()].map(u => u.name).join(', ')}
      </div>

      
      <div style={{ height: 400, overflowY: 'auto' }}>
        {messages.map(msg => (
          <div key={msg.id}>
            <strong>{msg.userName}</strong>: {msg.text}
          </div>
        ))}
      </div>

      
      <form onSubmit={(e) => { e.preventDefault(); sendMessage() }}>
        <input
          value={input}
          onChange={(e) => setInput(e.target.value)}
          placeholder="Type a message..."
        />
        <button type="submit">Send</button>
      </form>
    </div>
  )
}
