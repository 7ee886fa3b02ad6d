import { useStatus } from 'aerostack-realtime/react'

/** The connection's status, in its own word. */
export function Status() {
  const status = useStatus()
  return (
    <span className="status label" role="status" aria-label="Connection" data-status={status}>
      {status}
    </span>
  )
}
