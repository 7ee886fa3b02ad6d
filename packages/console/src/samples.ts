/** Rates and percentiles between two readings of a node's figures. */
import type { Latency, NodeView } from './views.ts'

export interface Sample {
  events: number
  deliveries: number
  bytes: number
  connects: number
  /** Percent of one core. */
  cpu: number
  /** In ms; missing while nothing was measured. */
  publishAck?: number | undefined
  persistedAck?: number | undefined
  changeDelivery?: number | undefined
  loopLag?: number | undefined
}

/** What a node did between two readings; undefined unless it has run on in between. */
export function sampleOf(now: NodeView, before: NodeView | undefined): Sample | undefined {
  const [to, from] = [now.figures, before?.figures]
  if (!to || !from || to.at <= from.at) return undefined
  const passed = to.at - from.at
  const rate = (key: 'events' | 'deliveries' | 'bytesOut' | 'connects') => (to[key] - from[key]) / passed
  return {
    events: rate('events'),
    deliveries: rate('deliveries'),
    bytes: rate('bytesOut'),
    connects: rate('connects'),
    cpu: ((to.cpuSeconds - from.cpuSeconds) / passed) * 100,
    publishAck: percentile(to.publishAck, from.publishAck),
    persistedAck: percentile(to.persistedAck, from.persistedAck),
    changeDelivery: percentile(to.changeDelivery, from.changeDelivery),
    loopLag: percentile(to.loopLag, from.loopLag),
  }
}

/** All nodes together: rates are added, and of latencies the worst counts. */
export function totalOf(samples: Sample[]): Sample {
  const sum = (key: 'events' | 'deliveries' | 'bytes' | 'connects' | 'cpu') =>
    samples.reduce((total, each) => total + each[key], 0)
  const worst = (key: 'publishAck' | 'persistedAck' | 'changeDelivery' | 'loopLag') => {
    const known = samples.flatMap((each) => (each[key] === undefined ? [] : [each[key]]))
    return known.length ? Math.max(...known) : undefined
  }
  return {
    events: sum('events'),
    deliveries: sum('deliveries'),
    bytes: sum('bytes'),
    connects: sum('connects'),
    cpu: sum('cpu'),
    publishAck: worst('publishAck'),
    persistedAck: worst('persistedAck'),
    changeDelivery: worst('changeDelivery'),
    loopLag: worst('loopLag'),
  }
}

/** The bound (ms) below which 99 of 100 measurements between two readings lie. */
export function percentile(now: Latency, before: Latency): number | undefined {
  const counts = now.counts.map((value, index) => value - (before.counts[index] ?? 0))
  const total = counts.reduce((sum, value) => sum + value, 0)
  if (!total) return undefined
  let seen = 0
  for (const [index, value] of counts.entries()) {
    seen += value
    if (seen >= total * 0.99) return (now.bounds[index] ?? now.bounds.at(-1) ?? 0) * 1000
  }
  return undefined
}
