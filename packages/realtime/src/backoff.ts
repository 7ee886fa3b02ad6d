const FIRST = 1_000
const LONGEST = 30_000

/**
 * Milliseconds to wait before reconnection attempt number `attempt` (from 0): 1, 2, 4, 8, 16, 30 s, minus up to 50 %
 * random jitter so that the clients of a restarted server do not return all at once. `random` is in [0, 1).
 */
export function backoff(attempt: number, random: number): number {
  return Math.min(LONGEST, FIRST * 2 ** attempt) * (1 - random / 2)
}

/** The wait after the server closed with 4429: the longest back-off, plus up to 50 % random jitter. */
export function longestBackoff(random: number): number {
  return LONGEST * (1 + random / 2)
}
