/** The table `notifications`, and what a backend does with it. */
import { emit, query } from '@examples/backend'

export interface Notification {
  id: string
  user_id: string
  title: string
  body: string
  created_at: number
  read_at: number | null
}

/** What a user's own channel carries. Only this user may subscribe to it. */
export type Toasts = { toast: { id: string; title: string; body: string } }

export function channelOf(userId: string): string {
  return `notifications/${userId}`
}

/**
 * Notify a user, as a backend does: the row is what stays, and the event is what is shown once to a user who is here
 * now. A user who returns next week finds the row, and gets no toast.
 */
export async function notify(userId: string, title: string, body: string): Promise<void> {
  const id = crypto.randomUUID()
  const row = [id, userId, title, body, Date.now()]
  await query('INSERT INTO notifications (id, user_id, title, body, created_at) VALUES (?, ?, ?, ?, ?)', row)
  await emit(channelOf(userId), 'toast', { id, title, body })
}

/** Mark one notification of a user as read, or all of them. A backend takes the user from the session. */
export function markRead(userId: string, id?: string): Promise<unknown> {
  const [which, params] = id === undefined ? ['', []] : ['AND id = ?', [id]]
  return query(`UPDATE notifications SET read_at = ? WHERE user_id = ? AND read_at IS NULL ${which}`, [
    Date.now(),
    userId,
    ...params,
  ])
}
