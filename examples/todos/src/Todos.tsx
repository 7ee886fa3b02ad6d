import { Frame } from '@examples/theme'
import { useState } from 'react'
import { List } from './List.tsx'
import './todos.css'

const LISTS = [
  { id: 'launch', name: 'Launch day' },
  { id: 'picnic', name: 'Airfield picnic' },
]

export function Todos() {
  const [chosen, setChosen] = useState(LISTS[0])
  return (
    <Frame title="Todos">
      <main className="todos">
        <nav className="choices" aria-label="Lists">
          {LISTS.map((list) => (
            <button
              key={list.id}
              type="button"
              className="choice"
              aria-current={list === chosen}
              onClick={() => setChosen(list)}
            >
              {list.name}
            </button>
          ))}
        </nav>
        {chosen && <List key={chosen.id} {...chosen} />}
      </main>
    </Frame>
  )
}
