/** Who gets the next ticket. Every page computes the same, from presence and from the table. */
import type { Member } from 'aerostack-realtime'
import { useAuth } from 'aerostack-realtime/react'
import { useEffect } from 'react'
import { type Ticket, take } from './ticket.ts'

/** What each agent tells the others. */
export interface Agent {
  userId: string
  name: string
  /** Since when the agent has been free, in milliseconds; null: not available, or working on a ticket. */
  freeSince: number | null
}

/** The agent who has been free for the longest time. Agents whose connection ends are no longer among the members. */
export function nextAgent(members: readonly Member<Agent>[]): string | undefined {
  const free = members.flatMap(({ userId, state }) =>
    state.freeSince === null ? [] : { userId, freeSince: state.freeSince },
  )
  free.sort((one, other) => one.freeSince - other.freeSince || (one.userId < other.userId ? -1 : 1))
  return free[0]?.userId
}

/**
 * Take the oldest waiting ticket when it is this agent's turn. Two pages may believe that it is theirs, for a moment,
 * because one of them has older news. That is harmless: `take` gives the ticket to one of them.
 */
export function useRouting(members: readonly Member<Agent>[], oldest: Ticket | undefined): void {
  const { user } = useAuth()
  const mine = nextAgent(members) === user.id
  const ticket = oldest?.id
  useEffect(() => {
    if (mine && ticket) take(ticket, user)
  }, [mine, ticket, user])
}
