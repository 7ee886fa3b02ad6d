import { useAuth } from 'aerostack-realtime/react'
import { markRead, type Notification } from './notification.ts'

/** A user's own notifications, the newest first. Reading one on any device marks it on all. */
export function Feed(props: { notifications: readonly Notification[]; unread: number; loading: boolean }) {
  const { notifications, unread, loading } = props
  const { user } = useAuth()
  return (
    <section className="feed panel" aria-labelledby="feed">
      <header>
        <h2 id="feed">Notifications</h2>
        <p className="count" role="status" aria-label="Unread" data-none={!unread || undefined}>
          {unread} unread
        </p>
        <button type="button" className="button all" disabled={!unread} onClick={() => markRead(user.id)}>
          Mark all as read
        </button>
      </header>
      {!loading && notifications.length === 0 && (
        <p className="nothing">Nothing yet. Open this page as somebody else, and send yourself something.</p>
      )}
      <ul aria-label="Notifications">
        {notifications.map((notification) => (
          <Item key={notification.id} {...notification} />
        ))}
      </ul>
    </section>
  )
}

function Item({ id, user_id, title, body, created_at, read_at }: Notification) {
  const at = new Date(created_at)
  const unread = read_at === null
  return (
    <li className="notification" data-unread={unread || undefined}>
      <h3>
        {unread && <span className="hidden">Unread: </span>}
        {title}
      </h3>
      <time className="label" dateTime={at.toISOString()}>
        {at.toLocaleTimeString([], { timeStyle: 'short' })}
      </time>
      <p>{body}</p>
      {unread && (
        <button
          type="button"
          className="button"
          aria-label={`Mark as read: ${title}`}
          onClick={() => markRead(user_id, id)}
        >
          Mark as read
        </button>
      )}
    </li>
  )
}
