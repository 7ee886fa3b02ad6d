import type { EventFrame } from '../../src/protocol.js'
import { type Bench, connected, type TestSocket } from './network.js'

export const TOPIC = 'chat/general/default'

export function event(cursor: string, data: unknown = cursor, name = 'message'): EventFrame {
  return { type: 'event', topic: TOPIC, event: name, data, id: `m-${cursor}`, cursor, timestamp: 1 }
}

export function types(socket: TestSocket): string[] {
  return socket.sent.map(({ type }) => type)
}

/** A client with one live channel, and the data that its listener received. */
export async function live(): Promise<Bench & { seen: unknown[] }> {
  const made = await connected()
  const seen: unknown[] = []
  made.client
    .channel('chat/general')
    .on('message', ({ data }) => seen.push(data))
    .subscribe()
  made.socket.subscribed()
  return Object.assign(made, { seen })
}

export async function reconnect(made: Bench): Promise<TestSocket> {
  made.socket.drop()
  await made.clock.pass(1_000)
  made.socket.accept()
  return made.socket
}
