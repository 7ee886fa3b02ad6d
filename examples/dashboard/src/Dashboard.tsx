import { Frame } from '@examples/theme'
import { useHistory, useTable } from 'aerostack-realtime/react'
import { useState } from 'react'
import { Bars } from './Bars.tsx'
import './dashboard.css'
import { Figure } from './Figure.tsx'
import { Latest } from './Latest.tsx'
import { METRICS, type Metrics } from './metrics.ts'
import { dollars, type Order } from './order.ts'
import { Simulation } from './Simulation.tsx'
import { Spark } from './Spark.tsx'

const MIDNIGHT = new Date().setHours(0, 0, 0, 0)

export function Dashboard() {
  // Figures that somebody measures and publishes: those of the last minutes, then each as it comes.
  const { messages } = useHistory<Metrics>(METRICS, { live: 'metrics:update', pageSize: 60 })
  // Figures that nobody has to publish: they follow from the rows of a table.
  const { rows, loading } = useTable<Order>('orders', {
    filter: { created_at: { gte: MIDNIGHT } },
    order: 'id',
  })
  const [simulating, setSimulating] = useState(() => new URLSearchParams(location.search).has('simulate'))

  const samples = messages.slice(-60).map(({ data }) => data)
  const now = samples.at(-1)
  const revenue = rows.reduce((sum, { total }) => sum + total, 0)
  return (
    <Frame title="Dashboard">
      <main className="dashboard">
        <Simulation on={simulating} onChange={setSimulating} />
        <div className="figures" aria-busy={loading}>
          <Figure label="Active users" value={now ? String(now.activeUsers) : '–'} source={METRICS}>
            <Spark label="Active users" values={samples.map(({ activeUsers }) => activeUsers)} />
          </Figure>
          <Figure label="Response time" value={now ? `${now.responseMs} ms` : '–'} source={METRICS}>
            <Spark label="Response time" values={samples.map(({ responseMs }) => responseMs)} />
          </Figure>
          <Figure label="Orders today" value={rows.length.toLocaleString('en')} source="table orders" />
          <Figure label="Revenue today" value={dollars(revenue)} source="table orders" />
        </div>
        <Bars orders={rows} />
        <Latest orders={rows.slice(-8).reverse()} />
      </main>
    </Frame>
  )
}
