/** The page of the assistant: one channel with its history and streams, and the live rows of one table. */
const server = document.querySelector('meta[name=aerostack-url]').content
const { createClient } = await import(`${server}/sdk/aerostack.js`)
const { liveTable } = await import(`${server}/sdk/aerostack-table.js`)

const name = new URLSearchParams(location.search).get('as') ?? 'Guest'
const realtime = createClient({ url: server, userId: name })
realtime.onStatusChange((status) => {
  document.querySelector('#status').value = status
})

const room = realtime.channel('chat/assistant', { history: 50, streams: true })
const messages = new Map()
const changed = new Set()

function add({ id, event, data, state, timestamp }) {
  messages.set(id, { id, event, data, state, timestamp })
  if (!changed.size) requestAnimationFrame(show) // once per frame, however many pieces arrive
  changed.add(id)
}

async function reload() {
  for (const { id, event, data, state, created_at } of await room.getHistory())
    add({ id, event, data, state, timestamp: created_at })
}

for (const event of ['message', 'answer']) room.on(event, add)
for (const event of ['presence:join', 'presence:update', 'presence:leave']) room.on(event, showMembers)
room.on('gap', reload).subscribe()
room.track({ userId: name, name })
liveTable(realtime, 'tasks', { order: 'id' }).subscribe(({ rows }) => {
  document
    .querySelector('#tasks')
    .replaceChildren(...rows.map(({ title, done }) => element('li', title, done ? 'done' : 'open')))
})

document.querySelector('#ask').addEventListener('submit', async (event) => {
  event.preventDefault()
  const input = document.querySelector('#text')
  const text = input.value.trim()
  if (!text) return
  input.value = ''
  const headers = { 'Content-Type': 'application/json' }
  await fetch('/questions', { method: 'POST', headers, body: JSON.stringify({ name, text }) })
})

function show() {
  const list = document.querySelector('#messages')
  for (const id of changed) {
    const message = messages.get(id)
    let item = document.getElementById(id)
    if (!item) {
      item = element('li', '', message.event)
      item.id = id
      const next = [...list.children].find((each) => Number(each.dataset.at) > message.timestamp)
      list.insertBefore(item, next ?? null)
    }
    item.dataset.at = message.timestamp
    fill(item, message)
  }
  changed.clear()
  const log = document.querySelector('#log')
  log.scrollTop = log.scrollHeight
}

/** Show a message in its item. The button stays in place: a piece that arrives must not take a click or the focus. */
function fill(item, { id, event, data, state }) {
  let stop = item.querySelector('button')
  for (const each of [...item.children]) if (each !== stop || state !== 'open') each.remove()
  if (state === 'open' && !stop) {
    stop = element('button', 'Stop')
    stop.type = 'button'
    stop.onclick = () => room.cancel(id, `Stopped by ${name}`)
    item.append(stop)
  }
  item.prepend(
    element('b', event === 'answer' ? 'Assistant' : data.name),
    ...(event === 'answer' ? partsOf(data) : [element('p', data.text)]),
    ...(state ? [element('small', STATES[state], state)] : []),
  )
}

const STATES = { open: 'writing…', complete: '', cancelled: 'stopped', failed: 'interrupted' }

/** Text that follows text is one paragraph; each tool call is a line of its own. */
function partsOf(parts) {
  const shown = []
  for (const { type, text, tool, argument } of parts) {
    if (type === 'tool') shown.push(element('code', `${tool}(${JSON.stringify(argument)})`, 'tool'))
    else if (type === 'result') shown.push(element('code', `→ ${text}`, 'tool'))
    else if (shown.at(-1)?.tagName === 'P') shown.at(-1).textContent += text
    else shown.push(element('p', text))
  }
  return shown
}

function showMembers() {
  const names = room.members.map(({ userId, state }) => element('li', state.name ?? userId))
  document.querySelector('#members').replaceChildren(...names)
}

function element(tag, text, className = '') {
  const made = document.createElement(tag)
  made.textContent = text
  made.className = className
  return made
}
