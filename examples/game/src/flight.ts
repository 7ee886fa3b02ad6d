/** One's own glider: steered by keys or by a pointer, and published while it moves. */
import { useAuth, useChannel } from 'aerostack-realtime/react'
import { useEffect, useRef, useState } from 'react'
import { distance, moved, type Player, POSITIONS, type Point, type SkyEvents } from './sky.ts'

/** Milliseconds between two positions: twenty a second. */
const STEP = 50
/** A glider that is so near to where it was sent has arrived. */
const ARRIVED = 0.008

const KEYS: Record<string, Point> = {
  ArrowLeft: { x: -1, y: 0 },
  ArrowRight: { x: 1, y: 0 },
  ArrowUp: { x: 0, y: -1 },
  ArrowDown: { x: 0, y: 1 },
}

export interface Flight {
  at: Point
  /** Where it is at rest. Tracked as presence, for those who join later. */
  rest: Player
  press(key: string): boolean
  release(key: string): void
  flyTo(target: Point | undefined): void
}

export function useFlight(): Flight {
  const { user } = useAuth()
  const channel = useChannel<SkyEvents>(POSITIONS, { slow: 'latest', key: 'id', presence: false })
  const [at, setAt] = useState(start)
  const [rest, setRest] = useState(at)
  const pressed = useRef(new Set<string>())
  const target = useRef<Point>(undefined)

  const begin = useRef(at)
  useEffect(() => {
    let here = begin.current
    let moves = false
    const step = () => {
      const direction = directionOf(here, pressed.current, target.current)
      const next = direction ? moved(here, direction, STEP / 1000) : here
      if (distance(here, next) > 0) {
        here = begin.current = next
        channel.publish('moved', { id: user.id, ...here }, { echo: false })
        setAt(here)
      } else if (moves) setRest(here)
      moves = !!direction
      if (!direction) target.current = undefined
    }
    const timer = setInterval(step, STEP)
    return () => clearInterval(timer)
  }, [channel, user.id])

  return {
    at,
    rest: { userId: user.id, name: user.name, at: rest },
    press: (key) => {
      if (!KEYS[key]) return false
      target.current = undefined
      pressed.current.add(key)
      return true
    },
    release: (key) => pressed.current.delete(key),
    flyTo: (point) => {
      target.current = point
    },
  }
}

/** Undefined when the glider rests. */
function directionOf(at: Point, keys: ReadonlySet<string>, target: Point | undefined): Point | undefined {
  const sum = { x: 0, y: 0 }
  for (const key of keys) {
    sum.x += KEYS[key]?.x ?? 0
    sum.y += KEYS[key]?.y ?? 0
  }
  if (sum.x || sum.y) return sum
  if (!target || distance(at, target) < ARRIVED) return undefined
  return { x: target.x - at.x, y: target.y - at.y }
}

function start(): Point {
  return { x: 0.1 + Math.random() * 0.8, y: 0.1 + Math.random() * 0.8 }
}
