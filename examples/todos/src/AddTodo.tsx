import { type FormEvent, type RefObject, useState } from 'react'
import { addTodo } from './todo.ts'

/** A new item. It appears once the table has it, here as on every other screen. */
export function AddTodo({ list, field }: { list: string; field: RefObject<HTMLInputElement | null> }) {
  const [text, setText] = useState('')
  const add = async (event: FormEvent) => {
    event.preventDefault()
    if (!text.trim()) return
    await addTodo(list, text.trim())
    setText('')
  }
  return (
    <form className="add" onSubmit={add}>
      <label className="hidden" htmlFor="add">
        New item
      </label>
      <input
        id="add"
        ref={field}
        className="field"
        value={text}
        placeholder="New item"
        autoComplete="off"
        maxLength={200}
        onChange={(event) => setText(event.target.value)}
      />
      <button type="submit" className="button primary">
        Add
      </button>
    </form>
  )
}
