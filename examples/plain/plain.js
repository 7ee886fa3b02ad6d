import { createClient } from '/sdk/aerostack.js'

const element = (id) => document.getElementById(id)
const me = crypto.randomUUID().slice(0, 8)

const projectId = document.querySelector('meta[name=aerostack-project]').content // the server's

const realtime = createClient({ userId: me, projectId })
realtime.onStatusChange((status) => {
  element('status').value = status
})

const channel = realtime.channel('plain/lobby')
const count = () => {
  element('online').value = channel.members.length
}

channel
  .on('said', ({ data, userId }) => {
    const line = document.createElement('li')
    line.textContent = userId === me ? `You: ${data.text}` : data.text
    element('said').append(line)
  })
  .on('presence:join', count)
  .on('presence:leave', count)
  .subscribe()
channel.track({ userId: me })

element('say').addEventListener('submit', (event) => {
  event.preventDefault()
  channel.publish('said', { text: element('text').value })
  element('text').value = ''
})
