import { Face } from '@examples/theme'
import { useRef } from 'react'
import { type Session, useEditors } from './document.ts'
import { Saving } from './Saving.tsx'
import { Toolbar } from './Toolbar.tsx'
import { useTiptap } from './tiptap.ts'

/** One document, with its tools and everyone who edits it. */
export function Paper({ doc, provider }: Session) {
  const place = useRef<HTMLDivElement>(null)
  const editor = useTiptap(place, { doc, provider })
  const editors = useEditors(provider)
  return (
    <section className="paper panel" aria-label="Document">
      <header>
        {editor && <Toolbar editor={editor} />}
        <ul className="faces" aria-label="Editing now">
          {editors.map(({ clientId, id, name }) => (
            <li key={clientId}>
              <Face userId={id} name={name} />
              <span>
                {name}
                {clientId === doc.clientID && ' (you)'}
              </span>
            </li>
          ))}
        </ul>
      </header>
      <div className="sheet" ref={place} />
      <Saving provider={provider} />
    </section>
  )
}
