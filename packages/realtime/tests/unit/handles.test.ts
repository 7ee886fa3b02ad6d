/** What a handle that has nothing of its own does: `channel(topic)` as "get or create". */
import { describe, expect, test } from 'vitest'
import { liveTable } from '../../src/table/index.js'
import { type Bench, connected, settled } from '../support/network.js'

function types(made: Bench): string[] {
  return made.socket.sent.map(({ type }) => type)
}

function say(made: Bench, cursor: string): void {
  made.socket.say({ type: 'event', topic: 'chat/1/default', event: 'message', data: cursor, cursor })
}

describe('a new handle', () => {
  test('unsubscribe ends the subscription of the topic', async () => {
    const made = await connected()
    const heard: unknown[] = []
    for (const name of ['one', 'two'])
      made.client
        .channel('chat/1')
        .on('message', () => heard.push(name))
        .subscribe()
    made.socket.subscribed()
    made.client.channel('chat/1').unsubscribe()
    await settled()
    say(made, 'e:1')
    expect(heard).toEqual([])
    expect(types(made)).toEqual(['subscribe', 'unsubscribe'])
  })

  test('untrack ends the presence of this client on the topic', async () => {
    const made = await connected()
    made.client.channel('chat/1').track({ n: 1 })
    made.client.channel('chat/1').track({ n: 2 })
    made.client.channel('chat/1').untrack()
    await settled()
    expect(types(made)).toEqual(['track', 'track', 'untrack'])
  })

  test('off removes a listener of another handle', async () => {
    const made = await connected()
    const heard: unknown[] = []
    const listener = ({ data }: { data: unknown }) => heard.push(data)
    made.client.channel('chat/1').on('message', listener).subscribe()
    made.socket.subscribed()
    made.client.channel('chat/1').off('message', listener)
    say(made, 'e:1')
    expect(heard).toEqual([])
  })

  test('leaves other topics and live tables alone', async () => {
    const made = await connected()
    made.client.channel('chat/1').subscribe()
    made.socket.subscribed()
    const table = liveTable(made.client, 'orders')
    made.socket.snapshot([{ id: 1 }])
    made.client.channel('chat/1/2').unsubscribe()
    made.client.channel('orders').unsubscribe()
    await settled()
    expect(types(made)).not.toContain('unsubscribe')
    expect(table.rows).toEqual([{ id: 1 }])
  })
})

describe('a handle in use', () => {
  test('acts on what is its own, not on other components', async () => {
    const made = await connected()
    const heard: unknown[] = []
    const listener = ({ data }: { data: unknown }) => heard.push(data)
    const one = made.client.channel('chat/1').on('message', listener)
    one.track({ n: 1 })
    one.subscribe()
    made.socket.subscribed()
    const two = made.client.channel('chat/1').on('typing', () => {})
    two.off('message', listener)
    two.untrack()
    two.unsubscribe()
    two.unsubscribe()
    await settled()
    say(made, 'e:1')
    expect(heard).toEqual(['e:1'])
    expect(types(made)).toEqual(['track', 'subscribe'])
  })
})

test('the promise of subscribe has the methods of the channel', async () => {
  const made = await connected()
  const heard: unknown[] = []
  const channel = made.client.channel('chat/1')
  const sub = channel.on('message', ({ data }) => heard.push(data)).subscribe()
  made.socket.subscribed()
  expect(await sub).toBe(channel)
  sub.on('typing', () => {}).publish('typing', 1)
  say(made, 'e:1')
  sub.unsubscribe()
  say(made, 'e:2')
  await settled()
  expect(heard).toEqual(['e:1'])
  expect(types(made)).toEqual(['subscribe', 'publish', 'unsubscribe'])
})
