export { LiveTable, liveTable, type TableOptions } from './live.js'
export type { AnyRow, TableState } from './store.js'
