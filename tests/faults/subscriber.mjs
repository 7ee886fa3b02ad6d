// The subscriber of the suite that runs the TypeScript client: the record is the handling, as in subscriber.py.
import { closeSync, existsSync, fstatSync, openSync, readSync, writeFileSync, writeSync } from 'node:fs'

import { client, done, PEOPLE, progressed, role, TOPICS, tell } from './child.mjs'

const SUBSCRIBED = { ...TOPICS, items: 'items' }

function checkpoint(path) {
  if (!existsSync(path)) return undefined
  const file = openSync(path, 'r')
  const { size } = fstatSync(file)
  const tail = Buffer.alloc(Math.min(size, 4096))
  readSync(file, tail, 0, tail.length, size - tail.length)
  closeSync(file)
  const lines = tail.toString().split('\n').slice(0, -1)
  return lines.at(-1)?.split(' ')[1]
}

function record(payload, channel) {
  if (payload.event === 'gap') return ['G', channel.cursor]
  if (payload.operation) {
    const { id, n } = payload.data
    return [id === -1 ? 'X' : 'R', payload.cursor, payload.operation[0], id, n]
  }
  return payload.event === 'end' ? ['X', payload.cursor] : ['E', payload.cursor, ...payload.data]
}

const open = new Set([...Object.keys(SUBSCRIBED), PEOPLE])

function ends(name) {
  if (open.delete(name) && open.size === 0) done()
}

for (const [name, topic] of Object.entries(SUBSCRIBED)) {
  const path = `${role.place}/${role.name}.${name}.handled`
  const since = checkpoint(path)
  const file = openSync(path, 'a')
  const channel = client.channel(topic, { since })
  channel.on('*', (payload) => {
    const fields = record(payload, channel)
    writeSync(file, `${fields.join(' ')}\n`)
    progressed()
    if (fields[0] === 'X') ends(name)
  })
  await channel.subscribe()
  if (since === undefined) writeSync(file, `S ${channel.cursor}\n`)
}

const members = {}
const people = client.channel(PEOPLE)
people.on('*', ({ event, data }) => {
  if (event === 'presence:leave') delete members[data.userId]
  else if (event.startsWith('presence:')) members[data.userId] = data.life
  else if (event === 'end') {
    writeFileSync(`${role.place}/${role.name}.members`, JSON.stringify(members))
    ends(PEOPLE)
  }
})
await people.subscribe()
await people.track({ userId: role.name, life: Number(role.life) })
tell('ready')
