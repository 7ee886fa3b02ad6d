/** The table `todos`, and the writes that your own backend would make. */
import { query } from '@examples/backend'

export interface Todo {
  id: string
  list_id: string
  text: string
  done: 0 | 1
  created_at: number
}

export function addTodo(list: string, text: string): Promise<unknown> {
  const id = crypto.randomUUID()
  return query('INSERT INTO todos (id, list_id, text, done, created_at) VALUES (?, ?, ?, 0, ?)', [
    id,
    list,
    text,
    Date.now(),
  ])
}

export function setDone(id: string, done: boolean): Promise<unknown> {
  return query('UPDATE todos SET done = ? WHERE id = ?', [done ? 1 : 0, id])
}

export function rename(id: string, text: string): Promise<unknown> {
  return query('UPDATE todos SET text = ? WHERE id = ?', [text, id])
}

export function removeTodo(id: string): Promise<unknown> {
  return query('DELETE FROM todos WHERE id = ?', [id])
}
