/** Add `listener` to `listeners`. Returns a function that removes it. */
export function addListener<L>(listeners: Set<L>, listener: L): () => void {
  listeners.add(listener)
  return () => listeners.delete(listener)
}

/** Call each of `listeners`, which may remove themselves. */
export function notify<T>(listeners: Set<(value: T) => void>, value: T): void {
  for (const listener of [...listeners]) listener(value)
}

/** Call `wake` when the network changes or the page becomes visible, on platforms that report it. */
export function watchPage(wake: () => void, on: boolean): void {
  const change = on ? 'addEventListener' : 'removeEventListener'
  globalThis[change]?.('online', wake)
  globalThis[change]?.('offline', wake)
  globalThis.document?.[change]('visibilitychange', wake)
}
