/** A document that is edited together, as long as a component shows it. */
import { useAerostack, useAuth } from 'aerostack-realtime/react'
import { AerostackProvider } from 'aerostack-realtime/yjs'
import { useCallback, useEffect, useState, useSyncExternalStore } from 'react'
import { IndexeddbPersistence } from 'y-indexeddb'
import * as Y from 'yjs'

export interface Session {
  doc: Y.Doc
  provider: AerostackProvider
}

/** What an editor tells the others about itself. */
export interface Person {
  id: string
  name: string
  /** Bindings expect a color of this form; this page shows each person in the color of the theme instead. */
  color: string
}

/**
 * The document `name`. Three parts: Yjs holds it, IndexedDB keeps it on this device, and the provider keeps it equal to
 * the documents of all others. Edits made offline are sent when the connection is back, also by a later page.
 */
export function useDocument(name: string): Session | undefined {
  const { realtime } = useAerostack()
  const { user } = useAuth()
  const [session, setSession] = useState<Session>()
  useEffect(() => {
    const doc = new Y.Doc()
    const store = new IndexeddbPersistence(`aerostack-example/${name}`, doc)
    const provider = new AerostackProvider(realtime, `docs/${name}`, doc)
    const person: Person = { id: user.id, name: user.name, color: '#0c2a32' }
    provider.awareness.setLocalStateField('user', person)
    setSession({ doc, provider })
    return () => {
      setSession(undefined)
      provider.destroy()
      store.destroy()
      doc.destroy()
    }
  }, [realtime, name, user.id, user.name])
  return session
}

/** Whether the server has every edit of this page. */
export function useSaved(provider: AerostackProvider): boolean {
  const subscribe = useCallback(
    (changed: () => void) => {
      provider.on('saved', changed)
      return () => provider.off('saved', changed)
    },
    [provider],
  )
  return useSyncExternalStore(subscribe, () => provider.saved)
}

/** Everyone who has the document open. Two tabs of one person are two. */
export function useEditors({ awareness }: AerostackProvider): readonly (Person & { clientId: number })[] {
  const [editors, setEditors] = useState<readonly (Person & { clientId: number })[]>([])
  useEffect(() => {
    const read = () =>
      setEditors(
        [...awareness.getStates()].flatMap(([clientId, { user }]) => (user ? [{ ...user, clientId }] : [])),
      )
    read()
    awareness.on('change', read)
    return () => awareness.off('change', read)
  }, [awareness])
  return editors
}
