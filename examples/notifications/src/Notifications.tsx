import { Frame } from '@examples/theme'
import { useAuth, useTable } from 'aerostack-realtime/react'
import { useEffect } from 'react'
import { Feed } from './Feed.tsx'
import './notifications.css'
import type { Notification } from './notification.ts'
import { Sender } from './Sender.tsx'
import { Toast } from './Toast.tsx'

export function Notifications() {
  const { user } = useAuth()
  // No filter: the rule of the table, `rows = { user_id = "user.id" }`, gives each user their own rows and no others.
  const { rows, loading, error } = useTable<Notification>('notifications', {
    order: '-created_at',
    limit: 50,
  })
  const unread = rows.filter(({ read_at }) => read_at === null).length
  useEffect(() => {
    document.title = unread ? `(${unread}) Notifications · Aerostack` : 'Notifications · Aerostack'
  }, [unread])
  return (
    <Frame title="Notifications">
      <main className="notifications">
        {error && <p role="alert">{error.message}</p>}
        <Feed notifications={rows} unread={unread} loading={loading} />
        <Sender />
        <Toast key={user.id} userId={user.id} />
      </main>
    </Frame>
  )
}
