import { Face } from '@examples/theme'
import { type History, useAuth } from 'aerostack-realtime/react'
import type { ChatMessage } from './message.ts'

/** What was said; the newest stays in sight, because the list is anchored at its end. */
export function Messages({ history, room }: { history: History<ChatMessage>; room: string }) {
  const { user } = useAuth()
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
        <ol role="log" aria-label={`Messages in ${room}`}>
          {messages.map(({ id, data }, index) => {
            const follows = messages[index - 1]?.data.userId === data.userId
            const mine = data.userId === user.id
            return (
              <li
                key={id}
                className="message"
                data-mine={mine || undefined}
                data-follows={follows || undefined}
              >
                {!mine && !follows && <Face userId={data.userId} name={data.userName} />}
                <p className={follows || mine ? 'hidden' : 'author'}>{data.userName}</p>
                <p className="text">{data.text}</p>
                <time className="label" dateTime={new Date(data.timestamp).toISOString()}>
                  {new Date(data.timestamp).toLocaleTimeString([], { timeStyle: 'short' })}
                </time>
              </li>
            )
          })}
        </ol>
      </div>
    </section>
  )
}
