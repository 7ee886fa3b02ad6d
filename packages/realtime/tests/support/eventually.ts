import { vi } from 'vitest'

/** The result of `check` once it no longer throws. Modules that are loaded on demand take long on a busy machine. */
export function eventually<T>(check: () => T | Promise<T>): Promise<T> {
  return vi.waitFor(check, { timeout: 40_000, interval: 5 })
}
