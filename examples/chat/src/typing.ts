import { useEvent } from 'aerostack-realtime/react'
import { useEffect, useState } from 'react'
import type { ChatEvents } from './message.ts'

/** Somebody who has written nothing for this long is not typing any more. */
const FORGET_AFTER = 3_000

interface Typist {
  userId: string
  name: string
  at: number
}

/** The names of the users who type on `topic`. Typing events are not stored: they are worth nothing later. */
export function useTyping(topic: string): string[] {
  const [typists, setTypists] = useState<readonly Typist[]>([])
  const without = (userId: string) => typists.filter((typist) => typist.userId !== userId)

  useEvent<ChatEvents, 'typing'>(topic, 'typing', ({ data }) => {
    setTypists([...without(data.userId), { ...data, at: Date.now() }])
  })
  useEvent<ChatEvents, 'message'>(topic, 'message', ({ data }) => {
    setTypists(without(data.userId))
  })

  useEffect(() => {
    if (!typists.length) return
    const oldest = Math.min(...typists.map(({ at }) => at))
    const forget = () => setTypists((typists) => typists.filter(({ at }) => Date.now() - at < FORGET_AFTER))
    const timer = setTimeout(forget, oldest + FORGET_AFTER - Date.now() + 1)
    return () => clearTimeout(timer)
  }, [typists])
  return typists.map(({ name }) => name)
}
