const FIRST = 1_000
const LONGEST = 30_000

/**
 * Milliseconds to wait before attempt number `attempt` (from 0) to come back: 1, 2, 4, 8 … 30 s, of which a
 * random half is taken off so that clients of a restarted server do not return all at once.
 *
 * `random` is in [0, 1).
 */
export function backoff(attempt: number, random: number): number {
  return Math.min(LONGEST, FIRST * 2 ** Math.min(attempt, 5)) * (1 - random / 2)
}

/** The wait after a limit was hit (close code 4429): the longest there is, plus up to a half. */
export function longest(random: number): number {
  return LONGEST * (1 + random / 2)
}
