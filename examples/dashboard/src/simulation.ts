/** Makes the dashboard's world move. In a real shop customers do this, and the backend measures and publishes. */
import { useAerostack } from 'aerostack-realtime/react'
import { useEffect } from 'react'
import { METRICS, type MetricsEvents } from './metrics.ts'
import { placeOrder } from './order.ts'

const CUSTOMERS = ['Amelia', 'Santos', 'Bessie', 'Louis', 'Hélène', 'Otto', 'Jacqueline', 'Charles']
const GOODS: readonly (readonly [item: string, price: number])[] = [
  ['Leather flying cap', 64],
  ['Silk scarf', 38.5],
  ['Aeronautical chart', 19.9],
  ['Pocket barometer', 129],
  ['Wool socks', 14],
  ['Goggles', 72.25],
]

const MEASURE_EVERY = 1_500

export function useSimulation(on: boolean): void {
  const { realtime } = useAerostack()
  useEffect(() => {
    if (!on) return
    const metrics = realtime.channel<MetricsEvents>(METRICS)
    let activeUsers = 120
    const measure = () => {
      activeUsers = Math.max(40, Math.round(activeUsers + (Math.random() - 0.48) * 14))
      const responseMs = Math.round(28 + activeUsers / 12 + Math.random() * 9)
      metrics.publish('metrics:update', { activeUsers, responseMs }, { persist: true })
    }
    let next: ReturnType<typeof setTimeout>
    const shop = async () => {
      const [item, price] = any(GOODS)
      const count = 1 + Math.floor(Math.random() ** 3 * 4)
      await placeOrder(any(CUSTOMERS), count > 1 ? `${count} × ${item}` : item, count * price)
      next = setTimeout(shop, 250 + Math.random() * 1_500)
    }
    measure()
    next = setTimeout(shop)
    const measuring = setInterval(measure, MEASURE_EVERY)
    return () => {
      clearTimeout(next)
      clearInterval(measuring)
    }
  }, [on, realtime])
}

function any<T>(choices: readonly T[]): T {
  return choices[Math.floor(Math.random() * choices.length)] as T
}
