/** Where everybody else is: the newest position of each player. */
import type { Member } from 'aerostack-realtime'
import { useEvent, usePresence } from 'aerostack-realtime/react'
import { useRef, useState } from 'react'
import { PLAYERS, type Player, POSITIONS, type Point, type SkyEvents } from './sky.ts'

/**
 * The players, and where they are. Two topics, because they need different things:
 *
 * - `POSITIONS` carries movement. With `slow: 'latest'` a slow phone gets the newest position of each player instead
 *   of all the old ones first.
 * - `PLAYERS` is presence: who plays, and where each glider rests. A player who joins late sees those who do not move.
 */
export function usePositions(own: Player): readonly Member<Player>[] {
  const members = usePresence<Player>(PLAYERS, own)
  const [moving, setMoving] = useState<Positions>({})
  const next = useRef<Positions>(undefined)
  const latest = { slow: 'latest', key: 'id', presence: false } as const
  const move = ({ id, x, y }: SkyEvents['moved']) => {
    // Thirty players send hundreds of positions a second; the page is drawn once per frame.
    if (!next.current) requestAnimationFrame(draw)
    next.current = { ...next.current, [id]: { x, y } }
  }
  const draw = () => {
    const moved = next.current
    next.current = undefined
    setMoving((moving) => ({ ...moving, ...moved }))
  }
  useEvent<SkyEvents, 'moved'>(POSITIONS, 'moved', ({ data }) => move(data), latest)
  useEvent(POSITIONS, 'gap', () => setMoving({}), latest)
  return members.map((member) => {
    const at = moving[member.userId] ?? member.state.at
    return { ...member, state: { ...member.state, at } }
  })
}

type Positions = Readonly<Record<string, Point>>
