import { Faces } from '@examples/theme'
import { useAuth, usePresence, useTable } from 'aerostack-realtime/react'
import { useRef, useState } from 'react'
import { AddTodo } from './AddTodo.tsx'
import { Item } from './Item.tsx'
import { removeTodo, type Todo } from './todo.ts'

/** What everybody on the list tells the others: which item the keyboard is in. */
interface Editor {
  userId: string
  name: string
  editing: string | null
}

export function List({ id, name }: { id: string; name: string }) {
  const { user } = useAuth()
  const [editing, setEditing] = useState<string | null>(null)
  const adding = useRef<HTMLInputElement>(null)

  // The rows of this list, kept live: every change of the table shows here, whichever program makes it.
  const { rows, loading, error } = useTable<Todo>('todos', { filter: { list_id: id }, order: 'created_at' })
  const members = usePresence<Editor>(`todos/${id}`, { userId: user.id, name: user.name, editing })

  const others = members.filter(({ userId }) => userId !== user.id)
  const open = rows.filter(({ done }) => !done).length
  const remove = async (todo: Todo) => {
    await removeTodo(todo.id)
    adding.current?.focus() // the button that had the focus is gone with its item
  }

  return (
    <section className="list panel" aria-labelledby="list-name">
      <header>
        <div>
          <h2 id="list-name">{name}</h2>
          <p className="label">{loading ? 'Reading…' : `${open} of ${rows.length} to do`}</p>
        </div>
        <Faces
          label="Looking at this list"
          members={members}
          note={({ state }) => (state.editing ? 'editing' : undefined)}
        />
      </header>
      {error && <p role="alert">{error.message}</p>}
      <ul aria-label={name}>
        {rows.map((todo) => (
          <Item
            key={todo.id}
            todo={todo}
            editor={others.find(({ state }) => state.editing === todo.id)?.state}
            onEditing={(here) => setEditing(here ? todo.id : null)}
            onRemove={() => remove(todo)}
          />
        ))}
      </ul>
      <AddTodo list={id} field={adding} />
    </section>
  )
}
