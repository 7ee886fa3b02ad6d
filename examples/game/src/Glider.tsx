import { colourOf } from '@examples/theme'
import { type CSSProperties, useRef } from 'react'
import type { Player, Point } from './sky.ts'

/** A glider with its name, turned to where it flies. */
export function Glider({ userId, name, at, own }: Player & { own: boolean }) {
  const heading = useHeading(at)
  const style = {
    left: `${at.x * 100}%`,
    top: `${at.y * 100}%`,
    '--person': colourOf(userId),
  } as CSSProperties
  return (
    <div className="glider" data-name={name} data-own={own || undefined} style={style} aria-hidden="true">
      <svg viewBox="-20 -20 40 40" style={{ transform: `rotate(${heading}deg)` }} aria-hidden="true">
        <path d="M0-14 2.2-4 18 1v3L2.4 2.4 1.6 10 6 13v2l-6-1.4L-6 15v-2l4.4-3-.8-7.6L-18 4V1l15.8-5z" />
      </svg>
      <span>{name}</span>
    </div>
  )
}

/** Degrees, north being 0. It may exceed a turn, so that a glider never turns the long way round. */
function useHeading(at: Point): number {
  const last = useRef({ at, heading: 0 })
  const { at: before, heading } = last.current
  const x = at.x - before.x
  const y = at.y - before.y
  if (x || y) {
    const towards = (Math.atan2(x, -y) * 180) / Math.PI
    const turn = ((((towards - heading + 180) % 360) + 360) % 360) - 180
    last.current = { at, heading: heading + turn }
  }
  return last.current.heading
}
