import { useSyncExternalStore } from 'react'
import { useClients } from '../live.ts'

/** Whether the page is live, in the client's own word. */
export function Status() {
  const { views } = useClients()
  const status = useSyncExternalStore(
    (changed) => views.onStatusChange(changed),
    () => views.status,
  )
  return (
    <span className="status label" role="status" aria-label="Live data" data-status={status}>
      {status === 'connected' ? 'live' : status}
    </span>
  )
}
