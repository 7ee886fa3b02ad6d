import { describe, expect, test } from 'vitest'
import { applyPresence, joins, type Members, reconcile, type Track, Tracking } from '../../src/presence.js'
import type { EventFrame } from '../../src/protocol.js'
import { bench, connected, settled } from '../support/network.js'

const topic = 'chat/general/default'
const ada = { userId: 'ada', name: 'Ada' }
const bob = { userId: 'bob', name: 'Bob' }

function presence(event: string, data: { userId: string }, snapshot = false): EventFrame {
  const frame: EventFrame = { type: 'event', topic, event: `presence:${event}`, data, userId: data.userId }
  return snapshot ? { ...frame, snapshot } : frame
}

describe('members', () => {
  test('a join of a known member is an update, or nothing', () => {
    const members: Members = new Map()
    expect(applyPresence(members, presence('join', ada))?.event).toBe('presence:join')
    expect(applyPresence(members, presence('join', ada, true))).toBeUndefined()
    expect(applyPresence(members, presence('join', { ...ada, name: 'A.' } as typeof ada))?.event).toBe(
      'presence:update',
    )
  })

  test('an update of an unknown member is a join', () => {
    const members: Members = new Map()
    expect(applyPresence(members, presence('update', ada))?.event).toBe('presence:join')
    expect(applyPresence(members, presence('leave', bob))).toBeUndefined()
    expect(applyPresence(members, presence('leave', ada))?.event).toBe('presence:leave')
    expect(members.size).toBe(0)
  })

  test('the list of the server leads to leaves, updates and joins', () => {
    const members: Members = new Map()
    applyPresence(members, presence('join', ada))
    applyPresence(members, presence('join', bob))
    const events = reconcile(members, [
      { userId: 'bob', state: { ...bob, away: true }, since: 1 },
      { userId: 'cy', state: {}, since: 2 },
    ])
    expect(events.map(({ event, userId }) => `${event} ${userId}`)).toEqual([
      'presence:leave ada',
      'presence:update bob',
      'presence:join cy',
    ])
    expect(Array.from(members.values(), ({ userId }) => userId)).toEqual(['bob', 'cy'])
    expect(joins(members)).toHaveLength(2)
  })

  test('connections of one user are members beside the user', () => {
    const members: Members = new Map()
    const tab = (connectionId: string) => ({ ...presence('join', ada), connectionId })
    for (const frame of [presence('join', ada), tab('c1'), tab('c2')])
      expect(applyPresence(members, frame)).toBe(frame)
    const left = reconcile(members, [{ userId: 'ada', state: ada, since: 1, connectionId: 'c2' }])
    expect(left.map(({ event, connectionId }) => [event, connectionId])).toEqual([
      ['presence:leave', undefined],
      ['presence:leave', 'c1'],
    ])
    expect([...members.values()]).toMatchObject([{ userId: 'ada', connectionId: 'c2' }])
  })

  test('the state tracked last by a present handle counts', () => {
    const tracking = new Tracking()
    const [one, two] = [{}, {}]
    const track = (n: number): Track => ({ type: 'track', topic, state: { n } })
    tracking.track(one, track(1))
    tracking.track(two, track(2))
    tracking.track(one, track(3))
    expect(tracking.commands().get(topic)).toEqual(track(3))
    expect(tracking.untrack(topic, one)).toBe(true)
    expect(tracking.untrack(topic, one)).toBe(false)
    expect(tracking.commands().get(topic)).toEqual(track(2))
    tracking.untrack(topic, two)
    expect(tracking.commands().size).toBe(0)
  })
})

describe('a channel', () => {
  test('tracks once, before it subscribes and connects', async () => {
    const made = bench()
    const channel = made.client.channel('chat/general')
    const tracked = channel.track(ada)
    channel.subscribe()
    await settled()
    made.socket.accept()
    expect(made.socket.sent.map(({ type }) => type)).toEqual(['subscribe', 'track'])
    expect(made.socket.last('track').state).toEqual(ada)
    made.socket.say({ type: 'ack', id: made.socket.last('track').id ?? '' })
    await tracked
  })

  test('is present again after a reconnection with its last state', async () => {
    const made = await connected()
    const channel = made.client.channel('chat/general')
    channel.track(ada)
    made.socket.say({ type: 'ack', id: made.socket.last('track').id ?? '' })
    made.socket.drop()
    for (let n = 0; n < 1_000; n++) channel.track({ ...ada, n })
    await made.clock.pass(1_000)
    made.socket.accept()
    expect(made.socket.sent.length).toBeLessThanOrEqual(2)
    expect(made.socket.last('track').state).toEqual({ ...ada, n: 999 })
  })

  test('is a member per connection, also after a reconnection', async () => {
    const made = await connected()
    made.client.channel('chat/general').track(ada, { per: 'connection' })
    expect(made.socket.last('track')).toMatchObject({ state: ada, per: 'connection' })
    made.socket.say({ type: 'ack', id: made.socket.last('track').id ?? '' })
    made.socket.drop()
    await made.clock.pass(1_000)
    made.socket.accept()
    expect(made.socket.last('track')).toMatchObject({ state: ada, per: 'connection' })
  })

  test('announces its presence again after a retryable refusal', async () => {
    const made = await connected()
    const tracking = made.client.channel('chat/general').track(ada)
    made.socket.refuse('track', 'unavailable', true)
    expect(made.errors).toEqual(['unavailable'])
    await made.clock.pass(2_000)
    expect(made.socket.sent.map(({ type }) => type)).toEqual(['track', 'track'])
    made.socket.say({ type: 'ack', id: made.socket.last('track').id ?? '' })
    await tracking
    made.socket.drop()
    await made.clock.pass(1_000)
    made.socket.accept()
    made.socket.refuse('track', 'overloaded', true) // the restored presence, for which no caller waits
    await made.clock.pass(2_000)
    expect(made.socket.sent.map(({ type }) => type)).toEqual(['track', 'track'])
    made.socket.say({ type: 'ack', id: made.socket.last('track').id ?? '' })
    await made.clock.pass(20_000)
    expect(made.socket.sent.filter(({ type }) => type === 'track')).toHaveLength(2)
    expect(made.errors).toEqual(['unavailable', 'overloaded'])
  })

  test('does not announce a state again that another has replaced', async () => {
    const made = await connected()
    const channel = made.client.channel('chat/general')
    channel.track({ n: 1 })
    made.socket.refuse('track', 'unavailable', true)
    channel.track({ n: 2 })
    await made.clock.pass(2_000)
    expect(made.socket.sent).toHaveLength(2)
    expect(made.socket.last('track').state).toEqual({ n: 2 })
  })

  test('rejects a track that is refused for good', async () => {
    const made = await connected()
    const tracking = made.client.channel('chat/general').track(ada)
    made.socket.refuse('track', 'forbidden', false)
    await expect(tracking).rejects.toMatchObject({ code: 'forbidden' })
  })

  test('that untracks while disconnected is not present afterwards', async () => {
    const made = await connected()
    const channel = made.client.channel('chat/general')
    channel.track(ada)
    made.socket.drop()
    channel.untrack()
    await made.clock.pass(1_000)
    made.socket.accept()
    expect(made.socket.sent.map(({ type }) => type)).not.toContain('track')
  })

  test('stays present while another handle tracks', async () => {
    const made = await connected()
    const one = made.client.channel('chat/general')
    const two = made.client.channel('chat/general')
    one.track({ n: 1 })
    two.track({ n: 2 })
    two.untrack()
    await settled()
    expect(made.socket.last('track').state).toEqual({ n: 1 })
    one.untrack()
    await settled()
    expect(made.socket.sent.at(-1)?.type).toBe('untrack')
  })

  test('receives the present members when it joins late', async () => {
    const made = await connected()
    made.client.channel('chat/general').subscribe()
    made.socket.subscribed()
    made.socket.say(presence('join', ada, true))
    const heard: string[] = []
    const late = made.client
      .channel('chat/general')
      .on('presence:join', ({ data, snapshot }) => heard.push(`${data.name} ${snapshot}`))
    late.subscribe()
    await settled()
    expect(heard).toEqual(['Ada true'])
    expect(late.members).toMatchObject([{ userId: 'ada', state: ada }])
  })

  test('receives leaves it missed, and no join twice', async () => {
    const made = await connected()
    const heard: string[] = []
    const channel = made.client
      .channel('chat/general')
      .on('*', ({ event, data }) => heard.push(`${event} ${data?.userId}`))
    channel.subscribe()
    made.socket.subscribed()
    made.socket.say(presence('join', ada, true))
    made.socket.say(presence('join', bob))
    made.socket.drop()
    await made.clock.pass(1_000)
    made.socket.accept()
    made.socket.subscribed('e:0', true)
    made.socket.say(presence('join', bob, true))
    const { id } = made.socket.last('presence')
    made.socket.say({ type: 'presence', topic, id, members: [{ userId: 'bob', state: bob, since: 1 }] })
    await settled()
    expect(heard).toEqual(['presence:join ada', 'presence:join bob', 'presence:leave ada'])
    expect(channel.members).toHaveLength(1)
  })

  test('keeps a member who joins right after the list of members', async () => {
    const made = await connected()
    const heard: string[] = []
    const channel = made.client
      .channel('chat/general')
      .on('*', ({ event, data }) => heard.push(`${event} ${data?.userId}`))
    channel.subscribe()
    made.socket.subscribed()
    made.socket.say(presence('join', bob))
    made.socket.drop()
    await made.clock.pass(1_000)
    made.socket.accept()
    made.socket.subscribed('e:0', true)
    const { id } = made.socket.last('presence')
    made.socket.say({ type: 'presence', topic, id, members: [{ userId: 'bob', state: bob, since: 1 }] })
    made.socket.say(presence('join', ada)) // in the same network chunk: no promise settles between them
    await settled()
    expect(heard).toEqual(['presence:join bob', 'presence:join ada'])
    expect(channel.members).toHaveLength(2)
  })

  test('returns the members without a subscription', async () => {
    const made = await connected()
    const asked = made.client.channel('chat/general').presence()
    const { id } = made.socket.last('presence')
    made.socket.say({ type: 'presence', topic, id, members: [{ userId: 'ada', state: ada, since: 1 }] })
    expect(await asked).toEqual([{ userId: 'ada', state: ada, since: 1 }])
  })
})
