/** The table `tickets`, and the writes that a backend makes for customers and agents. */
import { query } from '@examples/backend'

export interface Ticket {
  id: string
  subject: string
  customer: string
  created_at: number
  /** null while the ticket waits. */
  agent_id: string | null
  agent_name: string | null
  closed_at: number | null
}

export function openTicket(customer: string, subject: string): Promise<unknown> {
  return query('INSERT INTO tickets (id, subject, customer, created_at) VALUES (?, ?, ?, ?)', [
    crypto.randomUUID(),
    subject,
    customer,
    Date.now(),
  ])
}

/**
 * Take a waiting ticket; false when another agent has it, or when this agent already has one.
 *
 * The database decides, in this one statement. Of two agents at once the second finds the ticket taken and changes
 * nothing. An agent with two tabs gets one ticket.
 */
export async function take(ticket: string, agent: { id: string; name: string }): Promise<boolean> {
  const taken = await query(
    `UPDATE tickets SET agent_id = ?1, agent_name = ?2
      WHERE id = ?3 AND agent_id IS NULL
        AND NOT EXISTS (SELECT 1 FROM tickets WHERE agent_id = ?1 AND closed_at IS NULL)
      RETURNING id`,
    [agent.id, agent.name, ticket],
  )
  return taken.length === 1
}

export function close(ticket: string, agent: { id: string }): Promise<unknown> {
  return query('UPDATE tickets SET closed_at = ? WHERE id = ? AND agent_id = ?', [
    Date.now(),
    ticket,
    agent.id,
  ])
}

/** Give a ticket back to the queue. It keeps its place. */
export function release(ticket: string, agent: { id: string }): Promise<unknown> {
  return query('UPDATE tickets SET agent_id = NULL, agent_name = NULL WHERE id = ? AND agent_id = ?', [
    ticket,
    agent.id,
  ])
}
