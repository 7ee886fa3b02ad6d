import { Face } from '@examples/theme'
import type { Member } from 'aerostack-realtime'
import { useAuth, useTable } from 'aerostack-realtime/react'
import type { Player, Score } from './sky.ts'

/** The best ten, as the database has them. */
export function Scores({ players }: { players: readonly Member<Player>[] }) {
  const { user } = useAuth()
  const { rows, error } = useTable<Score>('scores', { key: 'player_id', order: '-points', limit: 10 })
  const here = new Set(players.map(({ userId }) => userId))
  return (
    <section className="scores panel" aria-labelledby="scores">
      <h2 id="scores">Balloons caught</h2>
      <p className="label" role="status" aria-label="Players">
        {players.length} in the sky
      </p>
      {error && <p role="alert">{error.message}</p>}
      <ol aria-label="Scores">
        {rows.map(({ player_id, name, points }) => (
          <li key={player_id} data-away={!here.has(player_id) || undefined}>
            <Face userId={player_id} name={name} />
            <span>{player_id === user.id ? `${name} (you)` : name}</span>
            <strong>{points}</strong>
          </li>
        ))}
      </ol>
      <p className="label bots">
        <code>python examples/game/bots.py</code> brings thirty players.
      </p>
    </section>
  )
}
