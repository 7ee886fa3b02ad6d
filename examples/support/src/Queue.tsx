import { useAuth } from 'aerostack-realtime/react'
import { useState } from 'react'
import { type Ticket, take } from './ticket.ts'

/** The tickets that wait, the oldest first. An agent without a ticket may take any of them. */
export function Queue({ waiting, busy }: { waiting: readonly Ticket[]; busy: boolean }) {
  const { user } = useAuth()
  const [outcome, setOutcome] = useState('')
  const takeOne = async ({ id, subject }: Ticket) => {
    setOutcome('')
    const taken = await take(id, user)
    setOutcome(taken ? `You have “${subject}”.` : `Somebody else has “${subject}”.`)
  }
  return (
    <section className="queue panel" aria-labelledby="queue">
      <header>
        <h2 id="queue">Queue</h2>
        <p className="label">{waiting.length} waiting</p>
        <p className="label outcome" role="status" aria-label="Taken">
          {outcome}
        </p>
      </header>
      {waiting.length === 0 && <p className="none">Nobody is waiting.</p>}
      <ol aria-label="Waiting tickets">
        {waiting.map((ticket) => (
          <li key={ticket.id}>
            <div>
              <p className="subject">{ticket.subject}</p>
              <p className="label">from {ticket.customer}</p>
            </div>
            <button
              type="button"
              className="button"
              aria-label={`Take: ${ticket.subject}`}
              disabled={busy}
              onClick={() => takeOne(ticket)}
            >
              Take
            </button>
          </li>
        ))}
      </ol>
    </section>
  )
}
