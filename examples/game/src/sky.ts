/** The world: where gliders are, what they tell each other, and the rules that the database keeps. */
import { query } from '@examples/backend'

/** A place in the sky, both from 0 to 1, so that it means the same on every screen. */
export interface Point {
  x: number
  y: number
}

/** What a player tracks: who, and where the glider came to rest last. */
export interface Player {
  userId: string
  name: string
  at: Point
}

/** What a moving glider publishes, many times a second. Only the newest of each player is of interest. */
export type SkyEvents = { moved: Point & { id: string } }

/** A row of `balloons`. `round` counts how often it was caught. */
export interface Balloon extends Point {
  id: number
  round: number
}

/** A row of `scores`. */
export interface Score {
  player_id: string
  name: string
  points: number
}

export const PLAYERS = 'game/players'
export const POSITIONS = 'game/positions'
/** How near a glider has to come to a balloon. */
export const REACH = 0.04
/** The way of a glider in a second. */
const SPEED = 0.4

/**
 * Catch a balloon; false when another player was faster.
 *
 * The database decides, in this one statement: of two players at once the second finds another round and changes
 * nothing. The balloon appears elsewhere, and a trigger of the table adds the point to `scores`.
 */
export async function catchBalloon(balloon: Balloon, player: { id: string; name: string }): Promise<boolean> {
  const caught = await query(
    `UPDATE balloons SET round = round + 1, player_id = ?, player_name = ?,
        x = 0.06 + abs(random() % 880) / 1000.0, y = 0.08 + abs(random() % 820) / 1000.0
      WHERE id = ? AND round = ? RETURNING id`,
    [player.id, player.name, balloon.id, balloon.round],
  )
  return caught.length === 1
}

/** Where a glider is after `seconds` in a direction; it stays in the sky. */
export function moved({ x, y }: Point, direction: Point, seconds: number): Point {
  const length = Math.hypot(direction.x, direction.y) || 1
  const way = (SPEED * seconds) / length
  return { x: inside(x + direction.x * way), y: inside(y + direction.y * way) }
}

export function distance(one: Point, other: Point): number {
  return Math.hypot(one.x - other.x, one.y - other.y)
}

function inside(value: number): number {
  return Math.round(Math.min(0.98, Math.max(0.02, value)) * 10_000) / 10_000
}
