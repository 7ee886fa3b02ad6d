import type { ComponentType } from 'react'

/** The components of the reference, and their properties. */
interface Components {
  Chat: { roomId: string }
  ChatRoom: { roomId: string }
  CollaborativeTodos: { listId: string }
  ConnectionIndicator: object
  LiveMetrics: object
  LiveOrders: object
  OnlineUsers: { roomId: string }
}

/** A component of the reference. Its types are loose on purpose, so it is compiled separately (tests/reference). */
export async function reference<Name extends keyof Components>(
  name: Name,
): Promise<ComponentType<Components[Name]>> {
  const file = `${import.meta.dirname}/../reference/${name}.tsx`
  return (await import(/* @vite-ignore */ file))[name]
}
