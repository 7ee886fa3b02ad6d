// The publisher of the suite that runs the TypeScript client; what it does and records is what publisher.py does.
import { openSync, writeSync } from 'node:fs'

import { client, done, finish, progressed, role, TOPICS, tell } from './child.mjs'

const WINDOW = 300
const BURST = 20
const who = `${role.name}.${role.life}`
const file = openSync(`${role.place}/${role.name}.published`, 'a')
const names = Object.keys(TOPICS)
const channels = Object.fromEntries(names.map((name) => [name, client.channel(TOPICS[name])]))

/** Numbers from 0 to 1 that a seed repeats: a linear congruential generator with the constants of Numerical Recipes. */
function chances(seed) {
  let state = seed >>> 0
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 2 ** 32
  }
}

function add(...fields) {
  writeSync(file, `${fields.join(' ')}\n`)
}

let flying = 0
let landed = () => {}

async function publish(name, number, persist) {
  add('P', name, who, number, Number(persist))
  flying++
  try {
    const { cursor, duplicate } = await channels[name].publish('m', [who, number], { persist })
    add('A', name, who, number, cursor, Number(duplicate ?? false))
    progressed()
  } catch (error) {
    add('E', name, who, number, error.code)
  }
  flying--
  landed()
}

async function until(most) {
  while (flying > most)
    await new Promise((resolve) => {
      landed = resolve
    })
}

const chance = chances(Number(role.seed) * 1_000 + Number(role.life))
const interval = Number(role.rate) ? (1_000 * BURST) / Number(role.rate) : 0
let finishing = false
finish.then(() => {
  finishing = true
})
await client.connect()
tell('ready')
let due = performance.now()
for (let number = 0; !finishing; number++) {
  if (number % BURST === 0) {
    due = Math.max(due + interval, performance.now() - 1_000)
    const early = Math.max(0, due - performance.now())
    await Promise.race([finish, new Promise((resolve) => setTimeout(resolve, early))])
    if (finishing) break
  }
  await until(WINDOW - 1)
  const name = names[Math.floor(chance() * names.length)]
  publish(name, number, name === 'kept' || (name === 'mixed' && chance() < 0.5))
}
await until(0)
done()
