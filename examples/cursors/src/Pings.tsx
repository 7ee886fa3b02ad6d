import { colourOf } from '@examples/theme'
import { useEvent } from 'aerostack-realtime/react'
import { type CSSProperties, useState } from 'react'
import { type MapEvents, TOPIC } from './pointer.ts'

/** How long a ring takes to spread. */
const LASTS = 900

/** Rings where somebody has pointed. They are events, not presence: they happen once and are over. */
export function Pings() {
  const [pings, setPings] = useState<readonly (MapEvents['ping'] & { id: string })[]>([])
  useEvent<MapEvents, 'ping'>(TOPIC, 'ping', ({ id = '', data }) => {
    setPings((pings) => [...pings, { ...data, id }])
    setTimeout(() => setPings((pings) => pings.filter((ping) => ping.id !== id)), LASTS)
  })
  return pings.map(({ id, userId, x, y }) => {
    const style = { left: `${x * 100}%`, top: `${y * 100}%`, '--person': colourOf(userId) } as CSSProperties
    return <span key={id} className="ping" style={style} />
  })
}
