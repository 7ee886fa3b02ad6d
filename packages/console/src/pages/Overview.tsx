import { useEffect, useRef, useState } from 'react'
import { bytes, count, milliseconds, rate, seconds } from '../format.ts'
import { useView } from '../live.ts'
import { Failure } from '../parts/Failure.tsx'
import { Listing } from '../parts/Listing.tsx'
import { Sparkline } from '../parts/Sparkline.tsx'
import { to } from '../route.ts'
import { type Sample, sampleOf, totalOf } from '../samples.ts'
import type { NodeView, Overview } from '../views.ts'

/** Seconds that a chart spans. */
const SPAN = 120

/** The newest samples of all nodes together, and of each. */
function useSamples(data: Overview | undefined): { all: Sample[]; nodes: Map<string, Sample> } {
  const before = useRef<Overview>(undefined)
  const [all, setAll] = useState<Sample[]>([])
  const [nodes, setNodes] = useState(new Map<string, Sample>())
  useEffect(() => {
    if (!data) return
    const earlier = new Map(before.current?.nodes.map((each) => [each.node, each]))
    const found = new Map<string, Sample>()
    for (const each of data.nodes) {
      const sample = sampleOf(each, earlier.get(each.node))
      if (sample) found.set(each.node, sample)
    }
    before.current = data
    if (!found.size) return
    setNodes(found)
    setAll((known) => [...known, totalOf([...found.values()])].slice(-SPAN))
  }, [data])
  return { all, nodes }
}

export function OverviewPage() {
  const { data, error } = useView<Overview>('overview')
  const { all, nodes } = useSamples(data)
  const figures = data?.nodes.flatMap((each) => (each.figures ? [each.figures] : [])) ?? []
  const sum = (of: (each: (typeof figures)[number]) => number) => figures.reduce((s, each) => s + of(each), 0)
  const last = all.at(-1)
  const chart = (name: string, key: keyof Sample, shown: (value: number) => string, note?: string) => (
    <Chart
      name={name}
      value={last?.[key] === undefined ? '–' : shown(last[key])}
      values={all.map((each) => each[key] ?? 0)}
      note={note}
    />
  )
  return (
    <>
      <h1>Overview</h1>
      <Failure error={error} />
      <dl className="totals panel">
        <Total name="Connections" value={count(sum((each) => each.connections))} href={to('connections')} />
        <Total name="Subscriptions" value={count(sum((each) => each.subscriptions))} href={to('channels')} />
        <Total name="Members present" value={count(Math.max(0, ...figures.map((each) => each.members)))} />
        <Total name="Errors" value={count(sum((each) => each.errors))} note="since the start" />
        <Total name="Gaps" value={count(sum((each) => each.gaps))} note="since the start" />
        <Total name="Slow readers" value={count(sum((each) => each.slow))} note="since the start" />
      </dl>
      <ul className="charts">
        {chart('Events per second', 'events', rate)}
        {chart('Deliveries per second', 'deliveries', rate)}
        {chart('Bytes per second', 'bytes', bytes)}
        {chart('Connects per second', 'connects', rate)}
        {chart('Publish to ack, p99', 'publishAck', milliseconds)}
        {chart('Persisted publish to ack, p99', 'persistedAck', milliseconds)}
        {chart('Row change to delivery, p99', 'changeDelivery', milliseconds)}
        {chart('Lag of the event loop, p99', 'loopLag', milliseconds)}
        {chart('Processor', 'cpu', (value) => `${value.toFixed(1)} %`, 'of one core, all nodes')}
      </ul>
      <h2>Nodes</h2>
      <Listing<NodeView>
        caption="Nodes of the cluster"
        rows={data?.nodes}
        id={(each) => each.node}
        empty="No node has answered."
        columns={[
          {
            name: 'Node',
            cell: (each) => (
              <>
                <strong>{each.name}</strong>
                {each.keeper && data && data.nodes.length > 1 && <span className="label"> keeper</span>}
              </>
            ),
          },
          { name: 'Version', cell: (each) => each.version },
          { name: 'Up', cell: (each) => (each.figures ? seconds(each.figures.upSeconds) : '–') },
          { name: 'Connections', number: true, cell: (each) => count(each.figures?.connections ?? 0) },
          { name: 'Channels', number: true, cell: (each) => count(each.figures?.channels ?? 0) },
          { name: 'Events/s', number: true, cell: (each) => rate(nodes.get(each.node)?.events ?? 0) },
          { name: 'Journal lag', number: true, cell: (each) => milliseconds(each.lagMs) },
          { name: 'Logs', number: true, cell: (each) => bytes(each.figures?.logBytes ?? 0) },
          { name: 'CPU', number: true, cell: (each) => `${(nodes.get(each.node)?.cpu ?? 0).toFixed(1)} %` },
        ]}
      />
    </>
  )
}

function Total({ name, value, href, note }: { name: string; value: string; href?: string; note?: string }) {
  return (
    <div>
      <dt>{href ? <a href={href}>{name}</a> : name}</dt>
      <dd>{value}</dd>
      {note && <dd className="label">{note}</dd>}
    </div>
  )
}

interface ChartProps {
  name: string
  value: string
  values: number[]
  note?: string | undefined
}

function Chart({ name, value, values, note }: ChartProps) {
  return (
    <li className="panel chart">
      <h2>{name}</h2>
      <p className="value">
        {value} {note && <span className="label">{note}</span>}
      </p>
      <Sparkline values={values} span={SPAN} label={`${name}, the last two minutes`} />
    </li>
  )
}
