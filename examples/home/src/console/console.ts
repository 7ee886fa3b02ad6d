import type { Channel, Member } from 'aerostack-realtime'
import { useAerostack } from 'aerostack-realtime/react'
import { useCallback, useEffect, useRef, useState } from 'react'
import { type Entry, type Line, lineOf, lineOfError } from './entry.ts'

const KEPT = 200

export interface ConsoleState {
  topics: readonly string[]
  members: ReadonlyMap<string, readonly Member[]>
  entries: readonly Entry[]
  subscribe: (topic: string) => void
  unsubscribe: (topic: string) => void
  publish: (topic: string, event: string, data: unknown, persist: boolean) => void
  clear: () => void
}

/**
 * Topics that come and go while the page lives. Components that know their topic use `useChannel` and its kin;
 * this is the client itself, as the hooks use it.
 */
export function useConsole(): ConsoleState {
  const { realtime } = useAerostack()
  const channels = useRef(new Map<string, Channel>())
  const [topics, setTopics] = useState<readonly string[]>([])
  const [members, setMembers] = useState<ReadonlyMap<string, readonly Member[]>>(new Map())
  const [entries, setEntries] = useState<readonly Entry[]>([])
  const number = useRef(0)

  const log = useCallback((line: Line) => {
    const entry = { ...line, key: ++number.current, at: Date.now() }
    setEntries((entries) => [entry, ...entries.slice(0, KEPT - 1)])
  }, [])

  useEffect(() => {
    const held = channels.current
    return () => {
      for (const channel of held.values()) channel.unsubscribe()
      held.clear()
    }
  }, [])

  const unsubscribe = (topic: string) => {
    channels.current.get(topic)?.unsubscribe()
    channels.current.delete(topic)
    setTopics([...channels.current.keys()])
    log({ kind: 'note', name: 'unsubscribed', topic, text: '' })
  }
  const subscribe = async (topic: string) => {
    if (channels.current.has(topic)) return
    try {
      const channel = realtime.channel(topic)
      channels.current.set(topic, channel)
      setTopics([...channels.current.keys()])
      channel.on('*', (payload) => {
        log(lineOf(payload))
        setMembers((members) => new Map(members).set(topic, channel.members))
      })
      await channel.subscribe()
      log({ kind: 'note', name: 'subscribed', topic, text: `from cursor ${channel.cursor ?? 'unknown'}` })
    } catch (error) {
      channels.current.get(topic)?.unsubscribe()
      channels.current.delete(topic)
      setTopics([...channels.current.keys()])
      log(lineOfError(error, topic))
    }
  }
  const publish = async (topic: string, event: string, data: unknown, persist: boolean) => {
    try {
      const ack = await realtime.channel(topic).publish(event, data, { persist })
      const text = persist ? `stored at ${ack.cursor}` : 'accepted'
      log({ kind: 'sent', name: event, topic, text })
    } catch (error) {
      log(lineOfError(error, topic))
    }
  }
  return { topics, members, entries, subscribe, unsubscribe, publish, clear: () => setEntries([]) }
}
