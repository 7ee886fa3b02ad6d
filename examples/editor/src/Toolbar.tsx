import type { Editor } from '@tiptap/core'
import { useEffect, useReducer } from 'react'

const TOOLS = [
  {
    name: 'Bold',
    text: 'B',
    mark: 'bold',
    run: (editor: Editor) => editor.chain().focus().toggleBold().run(),
  },
  {
    name: 'Italic',
    text: 'I',
    mark: 'italic',
    run: (editor: Editor) => editor.chain().focus().toggleItalic().run(),
  },
  {
    name: 'Heading',
    text: 'H',
    mark: 'heading',
    run: (editor: Editor) => editor.chain().focus().toggleHeading({ level: 2 }).run(),
  },
  {
    name: 'List',
    text: '•',
    mark: 'bulletList',
    run: (editor: Editor) => editor.chain().focus().toggleBulletList().run(),
  },
]

export function Toolbar({ editor }: { editor: Editor }) {
  const [, changed] = useReducer((count: number) => count + 1, 0)
  useEffect(() => {
    editor.on('transaction', changed)
    return () => {
      editor.off('transaction', changed)
    }
  }, [editor])
  return (
    <div className="tools" role="toolbar" aria-label="Format">
      {TOOLS.map(({ name, text, mark, run }) => (
        <button
          key={name}
          type="button"
          className="tool"
          data-mark={mark}
          aria-label={name}
          aria-pressed={editor.isActive(mark)}
          onClick={() => run(editor)}
        >
          {text}
        </button>
      ))}
    </div>
  )
}
