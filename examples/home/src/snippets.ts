export interface Snippet {
  name: string
  code: string
}

/** The same few lines in every language spoken here; `origin` is the server's address. */
export function snippets(origin: string): Snippet[] {
  return [
    {
      name: 'Browser',
      code: `<script type="module">
  import { createClient } from '${origin}/sdk/aerostack.js'

  const realtime = createClient({ url: '${origin}' })
  const channel = realtime.channel('chat/general')

  channel.on('message', ({ data }) => console.log(data.text)).subscribe()
  channel.publish('message', { text: 'Hello' }, { persist: true })
</script>`,
    },
    {
      name: 'React',
      code: `import { AerostackProvider, useChannel, useHistory, usePresence } from 'aerostack-realtime/react'

function Room() {
  const channel = useChannel('chat/general')
  const { messages } = useHistory('chat/general', { live: 'message' })
  const members = usePresence('chat/general', { name: 'Amelia' })
  const greet = () => channel.publish('message', { text: 'Hello' }, { persist: true })

  return (
    <>
      <p>{members.length} online</p>
      {messages.map(({ id, data }) => <p key={id}>{data.text}</p>)}
      <button onClick={greet}>Greet</button>
    </>
  )
}

export const App = () => (
  <AerostackProvider url="${origin}">
    <Room />
  </AerostackProvider>
)`,
    },
    {
      name: 'Python',
      code: `import asyncio
from aerostack_realtime import Aerostack

async def main():
    async with Aerostack("${origin}", api_key="ac_secret_dev") as sdk:
        await sdk.socket.emit("message", {"text": "Hello"}, "chat/general", persist=True)
        async for event in sdk.realtime.channel("orders"):
            print(event.operation, event.data)

asyncio.run(main())`,
    },
    {
      name: 'Command line',
      code: `aerostack listen chat/general --url ${origin}
aerostack emit chat/general message '{"text": "Hello"}' --url ${origin}
aerostack db query "INSERT INTO todos VALUES ('a1', 'launch', 'Wave', 0, 0)" --url ${origin}`,
    },
  ]
}
