import type { ComponentType } from 'react'

/** A component of the reference. Its types are loose on purpose, so it is compiled separately (tests/reference). */
export async function reference(
  name: 'ChatRoom' | 'OnlineUsers',
): Promise<ComponentType<{ roomId: string }>> {
  const file = new URL(`../reference/${name}.tsx`, import.meta.url).pathname
  return (await import(/* @vite-ignore */ file))[name]
}
