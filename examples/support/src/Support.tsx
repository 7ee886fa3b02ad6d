import { Frame } from '@examples/theme'
import { useAuth, usePresence, useTable } from 'aerostack-realtime/react'
import { useMemo, useState } from 'react'
import { Agents } from './Agents.tsx'
import { Customer } from './Customer.tsx'
import { Mine } from './Mine.tsx'
import { Queue } from './Queue.tsx'
import { type Agent, useRouting } from './routing.ts'
import './support.css'
import type { Ticket } from './ticket.ts'

export function Support() {
  const { user } = useAuth()
  const [available, setAvailable] = useState(false)
  const tickets = useTable<Ticket>('tickets', { filter: { closed_at: null }, order: 'created_at' })
  const mine = tickets.rows.find(({ agent_id }) => agent_id === user.id)
  const waiting = tickets.rows.filter(({ agent_id }) => agent_id === null)

  const free = available && !tickets.loading && !mine
  const freeSince = useMemo(() => (free ? Date.now() : null), [free])
  const agents = usePresence<Agent>('support/agents', { userId: user.id, name: user.name, freeSince })
  useRouting(agents, waiting[0])

  return (
    <Frame title="Support">
      <main className="support">
        {tickets.error && <p role="alert">{tickets.error.message}</p>}
        <div className="desk">
          <Mine ticket={mine} available={available} onAvailable={setAvailable} />
          <Queue waiting={waiting} busy={!!mine} />
        </div>
        <aside>
          <Agents agents={agents} tickets={tickets.rows} />
          <Customer />
        </aside>
      </main>
    </Frame>
  )
}
