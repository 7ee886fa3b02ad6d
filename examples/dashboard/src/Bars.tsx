import { useNow } from './now.ts'
import type { Order } from './order.ts'

const SECONDS = 10
const COUNT = 30
const WIDTH = 900
const HEIGHT = 200

/** How many orders came in each ten seconds of the last five minutes. */
export function Bars({ orders }: { orders: readonly Order[] }) {
  const end = Math.ceil(useNow(1_000) / (SECONDS * 1000))
  const counts = Array<number>(COUNT).fill(0)
  for (const order of orders) {
    const slot = Math.floor(order.created_at / (SECONDS * 1000)) - end + COUNT
    if (slot >= 0 && slot < COUNT) counts[slot] = (counts[slot] ?? 0) + 1
  }
  const top = Math.max(4, ...counts)
  const step = WIDTH / COUNT
  const total = counts.reduce((sum, count) => sum + count, 0)
  return (
    <figure className="bars panel">
      <figcaption>
        <h2>Orders, each ten seconds</h2>
        <p className="label">{total} in the last five minutes</p>
      </figcaption>
      <div className="plot">
        <span className="label top">{top}</span>
        <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" role="img">
          <title>{`${total} orders in the last five minutes, at most ${Math.max(...counts)} in ten seconds`}</title>
          <path className="grid" d={`M0 .5H${WIDTH}M0 ${HEIGHT / 2}H${WIDTH}M0 ${HEIGHT - 0.5}H${WIDTH}`} />
          {counts.map((count, index) => {
            const height = (count / top) * HEIGHT
            const slot = end - COUNT + index // a bar stays the same element while it moves to the left
            const last = index === COUNT - 1 || undefined
            return (
              <rect
                key={slot}
                data-now={last}
                x={index * step + 3}
                y={HEIGHT - height}
                width={step - 6}
                height={height}
              />
            )
          })}
        </svg>
      </div>
      <p className="axis label">
        <span>5 min ago</span>
        <span>now</span>
      </p>
    </figure>
  )
}
