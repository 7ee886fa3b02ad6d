import type { History } from 'aerostack-realtime/react'
import { Message } from './Message.tsx'
import type { ChatMessage } from './message.ts'

/** What was said; the newest stays in sight, because the list is anchored at its end. */
export function Messages({ history, room }: { history: History<ChatMessage>; room: string }) {
  const { messages, hasMore, loading, error, loadMore } = history
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard
    <section className="messages" aria-label="Messages" tabIndex={0}>
      <div>
        {error && <p className="label">The history could not be read: {error.message}</p>}
        {hasMore && messages.length > 0 && (
          <button type="button" className="button older" disabled={loading} onClick={loadMore}>
            {loading ? 'Reading…' : 'Show earlier messages'}
          </button>
        )}
        {!loading && messages.length === 0 && (
          <p className="empty">Nobody has said anything in {room} yet.</p>
        )}
        <div role="log" aria-label={`Messages in ${room}`}>
          <ol>
            {messages.map((message, index) => (
              <Message key={message.id} message={message} before={messages[index - 1]} />
            ))}
          </ol>
        </div>
      </div>
    </section>
  )
}
