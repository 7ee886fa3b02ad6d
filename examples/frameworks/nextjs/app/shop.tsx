'use client'

import { AerostackProvider, useEvent, useTable } from 'aerostack-realtime/react'
import { useState } from 'react'

interface Order {
  id: number
  item: string
}

interface Properties {
  user: string
  order: (item: string) => Promise<void>
}

export function Shop({
  url,
  getToken,
  ...rest
}: Properties & { url: string; getToken: () => Promise<string> }) {
  return (
    <AerostackProvider url={url} getToken={getToken}>
      <Orders {...rest} />
    </AerostackProvider>
  )
}

function Orders({ user, order }: Properties) {
  const [news, setNews] = useState('')
  useEvent<Order>(`notifications/${user}`, 'shipped', ({ data }) => setNews(`shipped: ${data.item}`))
  const { rows, loading } = useTable<Order>('orders', { order: 'id' })
  return (
    <main>
      <button type="button" disabled={loading} onClick={() => order('tea')}>
        Order tea
      </button>
      <ul id="orders">
        {rows.map(({ id, item }) => (
          <li key={id}>
            {id}: {item}
          </li>
        ))}
      </ul>
      <p id="news">{news}</p>
    </main>
  )
}
