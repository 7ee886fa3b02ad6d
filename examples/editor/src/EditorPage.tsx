import { Frame } from '@examples/theme'
import { useState } from 'react'
import { useDocument } from './document.ts'
import './editor.css'
import { Paper } from './Paper.tsx'

const DOCUMENTS = [
  { id: 'flight-plan', name: 'Flight plan' },
  { id: 'checklist', name: 'Checklist' },
]

export function EditorPage() {
  const [chosen, setChosen] = useState(
    DOCUMENTS.find(({ id }) => location.hash === `#${id}`)?.id ?? 'flight-plan',
  )
  const session = useDocument(chosen)
  const open = (id: string) => {
    history.replaceState(null, '', `#${id}`)
    setChosen(id)
  }
  return (
    <Frame title="Editor">
      <main className="editor">
        <nav className="choices" aria-label="Documents">
          {DOCUMENTS.map(({ id, name }) => (
            <button
              key={id}
              type="button"
              className="choice"
              aria-current={id === chosen}
              onClick={() => open(id)}
            >
              {name}
            </button>
          ))}
        </nav>
        {session && <Paper key={session.doc.guid} {...session} />}
      </main>
    </Frame>
  )
}
