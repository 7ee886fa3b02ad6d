/** Collects values that arrive faster than a page is painted. */
export interface Frames<T> {
  add(value: T): void
  /** Call nothing any more. */
  stop(): void
}

/** A hidden page is not painted; it takes over what has arrived this often, in milliseconds. */
const HIDDEN = 1_000

/** Call `apply` before the next paint with the values that were added since the last one. */
export function eachFrame<T>(apply: (values: T[]) => void): Frames<T> {
  let waiting: T[] = []
  let frame = 0
  let timer: ReturnType<typeof setTimeout> | undefined
  const cancel = () => {
    cancelAnimationFrame(frame)
    clearTimeout(timer)
    timer = undefined
  }
  const flush = () => {
    cancel()
    apply(waiting.splice(0))
  }
  return {
    add(value) {
      waiting.push(value)
      if (timer) return
      frame = requestAnimationFrame(flush)
      timer = setTimeout(flush, HIDDEN)
    },
    stop() {
      cancel()
      waiting = []
    },
  }
}
