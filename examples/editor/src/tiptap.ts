/** Tiptap on a shared document. The two extensions of collaboration are Tiptap's own, and know Yjs only. */
import { colourOf } from '@examples/theme'
import { Editor } from '@tiptap/core'
import { Collaboration } from '@tiptap/extension-collaboration'
import { CollaborationCaret } from '@tiptap/extension-collaboration-caret'
import { StarterKit } from '@tiptap/starter-kit'
import { type RefObject, useEffect, useState } from 'react'
import type { Person, Session } from './document.ts'

export function useTiptap(
  place: RefObject<HTMLElement | null>,
  { doc, provider }: Session,
): Editor | undefined {
  const [editor, setEditor] = useState<Editor>()
  useEffect(() => {
    const editor = new Editor({
      element: place.current,
      injectCSS: false, // the page's policy allows no inline styles; editor.css has them
      extensions: [
        StarterKit.configure({ undoRedo: false }), // undo is Yjs's: it leaves the edits of others alone
        Collaboration.configure({ document: doc }),
        CollaborationCaret.configure({
          provider,
          user: provider.awareness.getLocalState()?.user,
          render: caret,
        }),
      ],
      editorProps: { attributes: { role: 'textbox', 'aria-label': 'Text', 'aria-multiline': 'true' } },
    })
    setEditor(editor)
    return () => {
      setEditor(undefined)
      editor.destroy()
    }
  }, [place, doc, provider])
  return editor
}

/** The cursor of another person, with the name on it. */
function caret(person: Record<string, unknown>): HTMLElement {
  const { id, name } = person as unknown as Person
  const cursor = document.createElement('span')
  cursor.className = 'caret'
  cursor.style.setProperty('--person', colourOf(String(id)))
  cursor.dataset.name = String(name) // shown by editor.css, so that the text does not contain it
  return cursor
}
