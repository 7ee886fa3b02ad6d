// @vitest-environment happy-dom
import { cleanup, fireEvent, render, screen, waitFor } from '@testing-library/react'
import { type ReactNode, StrictMode } from 'react'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import * as Y from 'yjs'
import type { Client } from '../../src/index.js'
import { AerostackProvider, useTable } from '../../src/react/index.js'
import { createServer, type Server as Sdk } from '../../src/server/index.js'
import { AerostackProvider as DocumentProvider } from '../../src/yjs/index.js'
import { eventually } from '../support/eventually.js'
import '../support/patience.js'
import { reference } from '../support/reference.js'
import { clientOf, Server } from '../support/server.js'

const Chat = await reference('Chat')
const ChatRoom = await reference('ChatRoom')
const CollaborativeTodos = await reference('CollaborativeTodos')
const ConnectionIndicator = await reference('ConnectionIndicator')
const LiveMetrics = await reference('LiveMetrics')
const LiveOrders = await reference('LiveOrders')
const OnlineUsers = await reference('OnlineUsers')
const server = new Server()
const clients: Client[] = []
let sdk: Sdk

beforeAll(async () => {
  await server.start()
  sdk = createServer({ url: server.url, secretKey: 'ac_secret_dev' })
  await sdk.db.query('CREATE TABLE orders (id INTEGER PRIMARY KEY, user_id TEXT, total REAL, status TEXT)')
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

test('LiveOrders and LiveMetrics follow the SQL and events of a backend', async () => {
  const ada = client('ada')
  render(
    page(
      ada,
      'ada',
      <>
        <ConnectionIndicator />
        <LiveOrders />
        <LiveMetrics />
      </>,
    ),
  )
  expect((await screen.findByText('connected')).style.color).toBe('green')
  await Promise.all(['orders', 'dashboard/metrics'].map((topic) => ada.channel(topic).subscribe()))
  const [orderId, userId] = [1234, 'ada']
  await sdk.db.query('INSERT INTO orders (id, user_id, total, status) VALUES (?, ?, ?, ?)', [
    orderId,
    userId,
    99.99,
    'pending',
  ])
  await screen.findByText('#1234 - pending - $99.99')
  await screen.findByText('$99.99') // the revenue
  await sdk.db.query('UPDATE orders SET status = ? WHERE id = ?', ['shipped', orderId])
  await screen.findByText('#1234 - shipped - $99.99')
  await sdk.db.query('DELETE FROM orders WHERE id = ?', [orderId])
  await waitFor(() => expect(screen.queryByText(/#1234/)).toBeNull())
  await sdk.socket.emit(
    'metrics:update',
    { activeUsers: 12, ordersToday: 3, revenue: 5 },
    'dashboard/metrics',
  )
  await screen.findByText('$5.00')
})

test('CollaborativeTodos shows the items of its list and its editors', async () => {
  await sdk.db.query('CREATE TABLE todos (id INTEGER PRIMARY KEY, list_id TEXT, text TEXT, done BOOLEAN)')
  const ada = client('ada')
  render(page(ada, 'ada', <CollaborativeTodos listId="1" />))
  const bob = render(page(client('bob'), 'bob', <CollaborativeTodos listId="2" />))
  await screen.findByText('Editors: ada')
  await screen.findByText('Editors: bob')
  bob.unmount()
  await ada.channel('todos').subscribe()
  await sdk.db.query("INSERT INTO todos VALUES (1, '2', 'not here', FALSE), (2, '1', 'here', FALSE)")
  const item = await screen.findByText('here')
  await sdk.db.query('UPDATE todos SET done = TRUE WHERE id = 2')
  await waitFor(() => expect(item.style.textDecoration).toBe('line-through'))
  expect(screen.queryByText('not here')).toBeNull()
  await sdk.db.query('DELETE FROM todos')
  await waitFor(() => expect(screen.queryByText('here')).toBeNull())
})

test('Chat shows history, what a user sends, and who is online', async () => {
  const bob = client('bob')
  await bob
    .channel('chat/live')
    .publish('message', { id: '1', userName: 'Bob', text: 'earlier' }, { persist: true })
  const ada = client('ada')
  render(
    <AerostackProvider client={ada} user={{ id: 'ada', name: 'Ada' }}>
      <Chat roomId="live" />
    </AerostackProvider>,
  )
  await screen.findByText('Bob')
  await screen.findByText('1 online: Ada')
  const input = screen.getByPlaceholderText('Type a message...')
  fireEvent.change(input, { target: { value: 'hello' } })
  fireEvent.click(screen.getByText('Send'))
  expect(await screen.findAllByText('Ada')).toHaveLength(1)
  await sdk.socket.emit('message', { id: '3', userName: 'System', text: 'shipped' }, 'chat/live')
  await screen.findByText('System')
  await eventually(async () => {
    const stored = await bob.channel('chat/live').getHistory(50)
    expect(stored.map(({ data }) => data.text)).toEqual(['hello', 'earlier'])
  })
})

function Orders() {
  const { rows, loading } = useTable('orders', { filter: { status: 'open' }, order: 'id' })
  return <p>{loading ? 'loading' : rows.map(({ id }) => id).join(' ')}</p>
}

test('useTable shows a view of a table', async () => {
  await server.query("INSERT INTO orders (id, status) VALUES (1, 'open'), (2, 'paid'), (3, 'open')")
  render(page(client('ada'), 'ada', <Orders />))
  await screen.findByText('1 3')
  await server.query("UPDATE orders SET status = 'open' WHERE id = 2")
  await screen.findByText('1 2 3')
  await server.query("UPDATE orders SET status = 'paid' WHERE id = 3")
  await screen.findByText('1 2')
})
