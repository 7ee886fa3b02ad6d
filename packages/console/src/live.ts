/** Live data: every view is a topic of the reserved project, and a tail is a subscription like any other. */
import { type Client, createClient } from 'aerostack-realtime'
import { createContext, useContext, useEffect, useState } from 'react'
import { CallError, get, reportSignedOut } from './api.ts'

const CONSOLE = '_console'
/** The views whose query is the name of one thing. */
const OF_ONE = ['channel', 'connection']

export interface Clients {
  views: Client
  tail: Client
}

export const ClientsContext = createContext<Clients | undefined>(undefined)

/** The two connections of a signed-in console. */
export function connect(project: string): Clients {
  const url = `${location.origin}/console`
  const onError = ({ code }: { code: string }) => {
    if (code === 'unauthorized') reportSignedOut()
  }
  return {
    views: createClient({ url, projectId: CONSOLE, onError }),
    tail: createClient({ url, projectId: project, onError }),
  }
}

export function useClients(): Clients {
  const clients = useContext(ClientsContext)
  if (!clients) throw new Error('This page needs a signed-in console.')
  return clients
}

export type Query = Record<string, string | number>

/** The topic of a view. */
export function topicOf(view: string, query: Query): string {
  if (OF_ONE.includes(view)) return `view/${view}/${query.name}`
  const given = Object.fromEntries(Object.entries(query).filter(([, value]) => value !== '' && value !== 0))
  if (!Object.keys(given).length) return `view/${view}`
  const bytes = new TextEncoder().encode(JSON.stringify(given))
  const written = btoa(String.fromCharCode(...bytes))
  return `view/${view}/${written.replace(/\+/g, '-').replace(/\//g, '_').replace(/=+$/, '')}`
}

export interface Live<T> {
  data: T | undefined
  error: string | undefined
}

/** The data of a view, now and whenever it changes. Old data stays until those of another query are there. */
export function useView<T>(view: string, query: Query = {}): Live<T> {
  const { views } = useClients()
  const topic = topicOf(view, query)
  const [found, setFound] = useState<Live<T>>({ data: undefined, error: undefined })
  useEffect(() => {
    const ended = new AbortController()
    let live = false // what was fetched is older than what has arrived by the subscription
    const show = (data: T) => !ended.signal.aborted && setFound({ data, error: undefined })
    get<T>(topic, {}, ended.signal).then(
      (data) => live || show(data),
      (error: unknown) => {
        if (!live && !ended.signal.aborted && error instanceof CallError)
          setFound({ data: undefined, error: error.message })
      },
    )
    const channel = views.channel(topic, { slow: 'latest', presence: false }).on('view', ({ data }) => {
      live = true
      show(data as T)
    })
    channel.subscribe().catch(() => {}) // what was fetched stays on the page
    return () => {
      ended.abort()
      channel.unsubscribe()
    }
  }, [views, topic])
  return found
}
