/** The table `orders`, and the write that a shop’s backend would make. */
import { query } from '@examples/backend'

export interface Order {
  id: number
  customer: string
  item: string
  total: number
  status: string
  created_at: number
}

export function placeOrder(customer: string, item: string, total: number): Promise<unknown> {
  return query('INSERT INTO orders (customer, item, total, status, created_at) VALUES (?, ?, ?, ?, ?)', [
    customer,
    item,
    total,
    'paid',
    Date.now(),
  ])
}

export function dollars(amount: number): string {
  return amount.toLocaleString('en', { style: 'currency', currency: 'USD' })
}
