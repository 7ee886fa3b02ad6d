/** A program that must run on every platform. Its argument is the server's address; it prints `ok`. */
import { createClient } from 'aerostack-realtime'
import { createServer } from 'aerostack-realtime/server'
import { liveTable } from 'aerostack-realtime/table'

const [url] = process.argv.slice(2)
const errors = []
const realtime = createClient({ url, userId: 'ada', onError: (error) => errors.push(error) })

const room = realtime.channel('chat/smoke')
const heard = new Promise((resolve) => room.on('message', ({ data }) => resolve(data)))
await room.subscribe()
await room.track({ name: 'Ada' })
await room.publish('message', { text: 'hello' }, { persist: true })
const { text } = await heard
const [message] = await room.getHistory(1)
const [member] = await room.presence()
const items = liveTable(realtime, 'items', { order: 'id', limit: 2 })
await new Promise((resolve) => items.subscribe(({ stale }) => stale || resolve()))

const sdk = createServer({ url, secretKey: 'ac_secret_dev' })
const emitted = new Promise((resolve) => room.on('shipped', ({ data }) => resolve(data)))
await sdk.socket.emit('shipped', 'order 1', 'chat/smoke')
const { results } = await sdk.db.query('SELECT COUNT(*) AS n FROM items')

const found = [
  await emitted,
  results[0].n,
  text,
  message.data.text,
  member.state.name,
  ...items.rows.map(({ id }) => id),
  ...errors,
].join(' ')
if (found !== 'order 1 3 hello hello Ada 1 2') throw new Error(`Wrong: ${found}`)
console.log('ok')
realtime.disconnect()
