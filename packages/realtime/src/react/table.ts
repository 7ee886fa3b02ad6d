import { LiveTable, type TableOptions, type TableState } from 'aerostack-realtime/table'
import { useCallback, useEffect, useMemo, useRef, useSyncExternalStore } from 'react'
import { useAerostack } from './provider.js'

// biome-ignore lint/suspicious/noExplicitAny: untyped unless the app names a type
type AnyRow = Record<string, any>

/** The rows of `table`, kept up to date while mounted. A row that did not change stays the same object. */
export function useTable<R extends AnyRow = AnyRow>(
  table: string,
  options: TableOptions<R> = {},
): TableState<R> {
  const { realtime } = useAerostack()
  const { initial, ...view } = options
  const json = JSON.stringify(view)
  const begin = useRef(initial)
  useEffect(() => {
    begin.current = initial
  })
  const live = useMemo(
    () => new LiveTable<R>(realtime, table, { ...JSON.parse(json), initial: begin.current }),
    [realtime, table, json],
  )
  const subscribe = useCallback(
    (changed: () => void) => {
      const stop = live.open().subscribe(changed)
      return () => {
        stop()
        live.close()
      }
    },
    [live],
  )
  const state = useCallback(() => live.state, [live])
  return useSyncExternalStore(subscribe, state, state)
}
