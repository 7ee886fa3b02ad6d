import { Faces, Frame } from '@examples/theme'
import { useAuth, useChannel, usePresence } from 'aerostack-realtime/react'
import type { KeyboardEvent, PointerEvent } from 'react'
import { Chart } from './Chart.tsx'
import { Cursor } from './Cursor.tsx'
import './cursors.css'
import { Pings } from './Pings.tsx'
import { type MapEvents, moved, type Point, type Pointer, placeOf, TOPIC } from './pointer.ts'
import { useThrottled } from './throttled.ts'

/** No faster than this: thirty positions a second look continuous, a mouse reports up to a thousand. */
const INTERVAL = 33

export function Cursors() {
  const { user } = useAuth()
  const [at, setAt] = useThrottled<Point | null>(null, INTERVAL)
  // A cursor is presence that changes often: it needs no storage, and it leaves with its user.
  const members = usePresence<Pointer>(TOPIC, { userId: user.id, name: user.name, at })
  const channel = useChannel<MapEvents>(TOPIC)
  const ping = (point: Point) => channel.publish('ping', { ...point, userId: user.id })

  const point = (event: PointerEvent) => setAt(placeOf(event, event.currentTarget))
  const press = (event: KeyboardEvent) => {
    const to = moved(at, event.key)
    if (to) setAt(to)
    else if (at && (event.key === 'Enter' || event.key === ' ')) ping(at)
    else return
    event.preventDefault()
  }
  return (
    <Frame title="Cursors">
      <main className="cursors">
        <div
          className="map panel"
          role="application"
          aria-label="Shared map. Arrow keys move your cursor, Enter points at a place."
          // biome-ignore lint/a11y/noNoninteractiveTabindex: it is moved on by keyboard
          tabIndex={0}
          onPointerMove={point}
          onPointerDown={(event) => ping(placeOf(event, event.currentTarget))}
          onPointerLeave={() => setAt(null)}
          onBlur={() => setAt(null)}
          onKeyDown={press}
        >
          <Chart />
          <Pings />
          {members.map(({ userId, state }) => (
            <Cursor key={userId} {...state} own={userId === user.id} />
          ))}
          {members.length < 2 && <p className="hint">Open this page in a second window and move about.</p>}
        </div>
        <footer>
          <Faces label="On the map" members={members} />
          <p className="label">Move to show yourself. Click or press Enter to point at a place.</p>
        </footer>
      </main>
    </Frame>
  )
}
