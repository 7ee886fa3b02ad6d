import { Frame } from '@examples/theme'
import { useAuth, useTable } from 'aerostack-realtime/react'
import { type PointerEvent, useEffect } from 'react'
import { useFlight } from './flight.ts'
import './game.css'
import { Glider } from './Glider.tsx'
import { usePositions } from './positions.ts'
import { Scores } from './Scores.tsx'
import { type Balloon, catchBalloon, distance, REACH } from './sky.ts'

export function Game() {
  const { user } = useAuth()
  const flight = useFlight()
  const players = usePositions(flight.rest)
  const balloons = useTable<Balloon>('balloons', { order: 'id' })
  const { at } = flight

  const reached = balloons.rows.find((balloon) => distance(balloon, at) < REACH)
  useEffect(() => {
    if (reached) catchBalloon(reached, user)
  }, [reached, user])

  const steer = (event: PointerEvent) => {
    if (!event.buttons) return
    const { left, top, width, height } = event.currentTarget.getBoundingClientRect()
    flight.flyTo({ x: (event.clientX - left) / width, y: (event.clientY - top) / height })
  }
  return (
    <Frame title="Game">
      <main className="game">
        <div
          className="sky panel"
          role="application"
          aria-label="The sky. Arrow keys steer your glider; fly to a balloon to catch it."
          // biome-ignore lint/a11y/noNoninteractiveTabindex: it is steered by keyboard
          tabIndex={0}
          onPointerDown={steer}
          onPointerMove={steer}
          onKeyDown={(event) => flight.press(event.key) && event.preventDefault()}
          onKeyUp={(event) => flight.release(event.key)}
          onBlur={() => ['Left', 'Right', 'Up', 'Down'].map((way) => flight.release(`Arrow${way}`))}
        >
          {balloons.rows.map(({ id, round, x, y }) => (
            <Pictured key={`${id} ${round}`} x={x} y={y} />
          ))}
          {players.map(({ userId, state }) => {
            const own = userId === user.id
            return <Glider key={userId} {...state} at={own ? at : state.at} own={own} />
          })}
          <p className="hint label">Arrow keys, or press and hold. Fly to a balloon to catch it.</p>
        </div>
        <Scores players={players} />
      </main>
    </Frame>
  )
}

function Pictured({ x, y }: { x: number; y: number }) {
  return (
    <svg
      className="balloon"
      viewBox="0 0 24 34"
      style={{ left: `${x * 100}%`, top: `${y * 100}%` }}
      aria-hidden="true"
    >
      <path d="M12 1a10.5 10.5 0 0 1 10.5 10.5c0 6-5.5 9-7.5 12.5H9C7 20.5 1.5 17.5 1.5 11.5A10.5 10.5 0 0 1 12 1z" />
      <path className="basket" d="M9 27h6v5.5H9z" />
    </svg>
  )
}
