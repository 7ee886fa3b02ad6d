import { useAuth } from 'aerostack-realtime/react'
import { close, release, type Ticket } from './ticket.ts'

/** What this agent works on, and whether the next ticket may come. */
export function Mine(props: {
  ticket: Ticket | undefined
  available: boolean
  onAvailable: (available: boolean) => void
}) {
  const { ticket, available, onAvailable } = props
  const { user } = useAuth()
  return (
    <section className="mine panel" aria-labelledby="mine">
      <header>
        <h2 id="mine">Your ticket</h2>
        <label className="switch">
          <input
            type="checkbox"
            role="switch"
            aria-checked={available}
            checked={available}
            onChange={(event) => onAvailable(event.target.checked)}
          />
          <span>Available</span>
        </label>
      </header>
      <div className="ticket" aria-live="polite">
        {ticket ? (
          <>
            <p className="subject">{ticket.subject}</p>
            <p className="label">from {ticket.customer}</p>
          </>
        ) : (
          <p className="none">
            {available
              ? 'You are in line: the next ticket goes to the agent who has been free the longest.'
              : 'Switch to available, and tickets come to you; or take one from the queue.'}
          </p>
        )}
      </div>
      {ticket && (
        <p className="actions">
          <button type="button" className="button primary" onClick={() => close(ticket.id, user)}>
            Solved
          </button>
          <button
            type="button"
            className="button"
            onClick={() => {
              onAvailable(false) // or it would come straight back
              release(ticket.id, user)
            }}
          >
            Back to the queue
          </button>
        </p>
      )}
    </section>
  )
}
