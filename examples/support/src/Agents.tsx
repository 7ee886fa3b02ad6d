import { Faces } from '@examples/theme'
import type { Member } from 'aerostack-realtime'
import type { Agent } from './routing.ts'
import type { Ticket } from './ticket.ts'

/** Who is here, and what they do. */
export function Agents({
  agents,
  tickets,
}: {
  agents: readonly Member<Agent>[]
  tickets: readonly Ticket[]
}) {
  const note = ({ userId, state }: Member<Agent>) =>
    tickets.some(({ agent_id }) => agent_id === userId)
      ? 'busy'
      : state.freeSince === null
        ? undefined
        : 'free'
  return (
    <section className="panel" aria-labelledby="agents">
      <h2 id="agents">Agents</h2>
      <Faces label="Agents" members={agents} note={note} />
    </section>
  )
}
