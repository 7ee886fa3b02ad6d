/** What the channel `dashboard/metrics` carries. */
export const METRICS = 'dashboard/metrics'

export type MetricsEvents = { 'metrics:update': Metrics }

export interface Metrics {
  activeUsers: number
  responseMs: number
}
