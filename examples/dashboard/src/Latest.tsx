import { dollars, type Order } from './order.ts'

export function Latest({ orders }: { orders: readonly Order[] }) {
  return (
    <section className="latest panel" aria-labelledby="latest">
      <h2 id="latest">Latest orders</h2>
      <ol aria-labelledby="latest">
        {orders.map((order) => (
          <li key={order.id}>
            <span className="label">#{order.id}</span>
            <span className="what">
              {order.item} <span className="customer">for {order.customer}</span>
            </span>
            <span className="total">{dollars(order.total)}</span>
          </li>
        ))}
      </ol>
    </section>
  )
}
