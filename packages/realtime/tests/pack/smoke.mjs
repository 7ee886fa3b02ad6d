/** What every platform has to manage: run with the server's address; prints `ok`. */
import { createClient } from 'aerostack-realtime'
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

const found = [text, message.data.text, member.state.name, ...items.rows.map(({ id }) => id), ...errors].join(
  ' ',
)
if (found !== 'hello hello Ada 1 2') throw new Error(`Wrong: ${found}`)
console.log('ok')
realtime.disconnect()
