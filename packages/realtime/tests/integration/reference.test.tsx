// @vitest-environment happy-dom
import { cleanup, render, screen, waitFor } from '@testing-library/react'
import { type ReactNode, StrictMode } from 'react'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import * as Y from 'yjs'
import type { Client } from '../../src/index.js'
import { AerostackProvider, useTable } from '../../src/react/index.js'
import { AerostackProvider as DocumentProvider } from '../../src/yjs/index.js'
import { eventually } from '../support/eventually.js'
import '../support/patience.js'
import { reference } from '../support/reference.js'
import { clientOf, Server } from '../support/server.js'

const ChatRoom = await reference('ChatRoom')
const OnlineUsers = await reference('OnlineUsers')
const server = new Server()
const clients: Client[] = []

beforeAll(async () => {
  await server.start()
})
afterEach(() => {
  cleanup()
  for (const client of clients.splice(0)) client.disconnect()
})
afterAll(() => server.remove())

function client(userId: string): Client {
  const made = clientOf(server, { userId })
  clients.push(made)
  return made
}

function page(of: Client, id: string, children: ReactNode): ReactNode {
  return (
    <StrictMode>
      <AerostackProvider client={of} user={{ id, name: id }}>
        {children}
      </AerostackProvider>
    </StrictMode>
  )
}

test('ChatRoom shows a message of another client once', async () => {
  const ada = client('ada')
  render(page(ada, 'ada', <ChatRoom roomId="1" />))
  await ada.channel('chat/1').subscribe() // shares the component's subscription: it is certain now
  await client('bob').channel('chat/1').publish('message', { id: 1, user: 'Bob', text: 'hello' })
  expect(await screen.findAllByText('Bob: hello')).toHaveLength(1)
})

test('ChatRoom ignores a document that two tabs edit on its topic', async () => {
  const ada = client('ada')
  render(page(ada, 'ada', <ChatRoom roomId="2" />))
  await ada.channel('chat/2').subscribe()
  const [tab, other] = [client('bob'), client('bob')]
  const editors = [tab, other].map((of) => new DocumentProvider(of, 'chat/2', new Y.Doc()))
  for (const [number, editor] of editors.entries()) {
    editor.awareness.setLocalStateField('user', { name: `Bob ${number}` })
    editor.doc.getText('text').insert(0, 'Hello')
  }
  await eventually(() => {
    for (const editor of editors) {
      expect([editor.saved, editor.doc.getText('text').length]).toEqual([true, 10])
      expect(editor.awareness.states.size).toBe(2)
    }
  })
  await tab.channel('chat/2').publish('message', { id: 1, user: 'Bob', text: 'hello' })
  expect(await screen.findAllByText(/:/)).toHaveLength(1)
  for (const editor of editors) editor.destroy()
})

test('OnlineUsers shows the members in two pages at once', async () => {
  render(page(client('ada'), 'ada', <OnlineUsers roomId="1" />))
  await screen.findByText('1 online')
  const bob = render(page(client('bob'), 'bob', <OnlineUsers roomId="1" />))
  await waitFor(() => expect(screen.getAllByText('2 online')).toHaveLength(2))
  expect(screen.getAllByText('bob')).toHaveLength(2)
  bob.unmount()
  await screen.findByText('1 online')
})

function Orders() {
  const { rows, loading } = useTable('orders', { filter: { status: 'open' }, order: 'id' })
  return <p>{loading ? 'loading' : rows.map(({ id }) => id).join(' ')}</p>
}

test('useTable shows a view of a table', async () => {
  await server.query('CREATE TABLE orders (id INTEGER PRIMARY KEY, status TEXT)')
  await server.query("INSERT INTO orders VALUES (1, 'open'), (2, 'paid'), (3, 'open')")
  render(page(client('ada'), 'ada', <Orders />))
  await screen.findByText('1 3')
  await server.query("UPDATE orders SET status = 'open' WHERE id = 2")
  await screen.findByText('1 2 3')
  await server.query("UPDATE orders SET status = 'paid' WHERE id = 3")
  await screen.findByText('1 2')
})
