/** Where on the map a cursor is, both from 0 to 1, so that it means the same on every screen. */
export interface Point {
  x: number
  y: number
}

/** What everybody on the map tells the others. */
export interface Pointer {
  userId: string
  name: string
  /** null: the cursor is elsewhere. */
  at: Point | null
}

export type MapEvents = { ping: Point & { userId: string } }

export const TOPIC = 'cursors/map'

const STEP = 0.02
const MOVES: Record<string, Point> = {
  ArrowLeft: { x: -STEP, y: 0 },
  ArrowRight: { x: STEP, y: 0 },
  ArrowUp: { x: 0, y: -STEP },
  ArrowDown: { x: 0, y: STEP },
}

/** Where an arrow key moves a cursor, or undefined for another key. From nowhere it starts in the middle. */
export function moved(from: Point | null, key: string): Point | undefined {
  const move = MOVES[key]
  if (!move) return undefined
  const { x, y } = from ?? { x: 0.5, y: 0.5 }
  return { x: within(x + move.x), y: within(y + move.y) }
}

/** The place of a mouse, pen or finger within `element`. */
export function placeOf(event: { clientX: number; clientY: number }, element: Element): Point {
  const { left, top, width, height } = element.getBoundingClientRect()
  return { x: within((event.clientX - left) / width), y: within((event.clientY - top) / height) }
}

function within(part: number): number {
  return Math.round(Math.min(1, Math.max(0, part)) * 10_000) / 10_000
}
