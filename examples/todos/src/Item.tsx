import { colourOf } from '@examples/theme'
import { type CSSProperties, type KeyboardEvent, useState } from 'react'
import { rename, setDone, type Todo } from './todo.ts'

/** One row. Its text is what the table says, unless it is being changed here. */
export function Item(props: {
  todo: Todo
  editor: { userId: string; name: string } | undefined
  onEditing: (here: boolean) => void
  onRemove: () => void
}) {
  const { todo, editor, onEditing, onRemove } = props
  const [draft, setDraft] = useState<string | null>(null)
  const [saved, setSaved] = useState<string | null>(null)
  if (saved === todo.text) {
    setSaved(null) // the change has arrived: from now on the table's value counts
    setDraft(null)
  }

  const leave = async () => {
    onEditing(false)
    const text = draft?.trim()
    if (!text || text === todo.text) return setDraft(null)
    setSaved(text)
    await rename(todo.id, text)
  }
  const key = (event: KeyboardEvent<HTMLInputElement>) => {
    if (event.key === 'Escape') setDraft(null)
    if (event.key === 'Enter') event.currentTarget.blur()
  }

  const person = editor && ({ '--person': colourOf(editor.userId) } as CSSProperties)
  return (
    <li className="item" data-done={todo.done === 1 || undefined} style={person}>
      <input
        type="checkbox"
        aria-label={`Done: ${todo.text}`}
        checked={todo.done === 1}
        onChange={(event) => setDone(todo.id, event.target.checked)}
      />
      <input
        className="text"
        aria-label={`Text of: ${todo.text}`}
        value={draft ?? todo.text}
        maxLength={200}
        onFocus={() => onEditing(true)}
        onChange={(event) => setDraft(event.target.value)}
        onKeyDown={key}
        onBlur={leave}
      />
      {editor && <span className="editor">{editor.name} is editing</span>}
      <button type="button" className="button" aria-label={`Remove: ${todo.text}`} onClick={onRemove}>
        <svg viewBox="0 0 16 16" aria-hidden="true">
          <path d="m4 4 8 8m0-8-8 8" />
        </svg>
      </button>
    </li>
  )
}
