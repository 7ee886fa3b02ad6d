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

/** `typists` without the one of this id. */
function without(typists: readonly Typist[], userId: string): Typist[] {
  return typists.filter((typist) => typist.userId !== userId)
}

/** The names of the users who type on `topic`. Typing events are not stored: they are worth nothing later. */
export function useTyping(topic: string): string[] {
  const [typists, setTypists] = useState<readonly Typist[]>([])

  // Several events may arrive between two renders, so each one continues from the state, not from the last render.
  useEvent<ChatEvents, 'typing'>(topic, 'typing', ({ data }) => {
    const typist = { ...data, at: Date.now() }
    setTypists((typists) => [...without(typists, typist.userId), typist])
  })
  useEvent<ChatEvents, 'message'>(topic, 'message', ({ data }) => {
    setTypists((typists) => without(typists, data.userId))
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
