import { useEvent } from 'aerostack-realtime/react'
import { useEffect, useState } from 'react'
import { channelOf, type Toasts } from './notification.ts'

/** How long a toast stays, in milliseconds. */
const SHOWN = 6_000

/** The newest notification, for a moment. */
export function Toast({ userId }: { userId: string }) {
  const [toast, setToast] = useState<Toasts['toast']>()
  useEvent<Toasts, 'toast'>(channelOf(userId), 'toast', ({ data }) => setToast(data))
  useEffect(() => {
    if (!toast) return
    const timer = setTimeout(() => setToast(undefined), SHOWN)
    return () => clearTimeout(timer)
  }, [toast])
  return (
    <div className="toasts" role="status" aria-label="New notification">
      {toast && (
        <div className="toast" key={toast.id}>
          <p>
            <strong>{toast.title}</strong> {toast.body}
          </p>
          <button type="button" aria-label="Dismiss" onClick={() => setToast(undefined)}>
            ×
          </button>
        </div>
      )}
    </div>
  )
}
