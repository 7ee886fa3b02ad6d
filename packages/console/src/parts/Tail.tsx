import type { RealtimePayload } from 'aerostack-realtime'
import { useEffect, useRef, useState } from 'react'
import { clock } from '../format.ts'
import { useClients } from '../live.ts'

/** Entries that are kept on the page. */
const KEPT = 200

interface Entry {
  number: number
  at: number
  name: string
  by: string
  text: string
}

/** What happens on a topic from now on, by an ordinary subscription of our own client. */
export function Tail({ topic }: { topic: string }) {
  const { tail } = useClients()
  const [entries, setEntries] = useState<Entry[]>([])
  const [live, setLive] = useState(false)
  const [error, setError] = useState<string>()
  const [wanted, setWanted] = useState('')
  const [paused, setPaused] = useState(false)
  const number = useRef(0)
  const held = useRef(false)
  held.current = paused
  useEffect(() => {
    let current = true
    setEntries([])
    setLive(false)
    setError(undefined)
    const channel = tail.channel(topic, { presence: false, slow: 'drop' }).on('*', (payload) => {
      if (held.current) return
      number.current += 1
      const entry = read(payload, number.current)
      setEntries((known) => [entry, ...known].slice(0, KEPT))
    })
    channel.subscribe().then(
      () => current && setLive(true),
      (failure: Error) => current && setError(failure.message),
    )
    return () => {
      current = false
      channel.unsubscribe()
    }
  }, [tail, topic])
  const lower = wanted.toLowerCase()
  const shown = lower
    ? entries.filter((each) => `${each.name} ${each.by} ${each.text}`.toLowerCase().includes(lower))
    : entries
  return (
    <section className="panel tail" aria-label="Live tail" aria-busy={!live && !error}>
      <header>
        <h2>Live tail</h2>
        <input
          className="field"
          aria-label="Filter the tail"
          placeholder="Filter by event, user or content"
          value={wanted}
          onChange={(event) => setWanted(event.target.value)}
        />
        <button
          className="button small"
          type="button"
          aria-pressed={paused}
          onClick={() => setPaused((before) => !before)}
        >
          {paused ? 'Continue' : 'Pause'}
        </button>
      </header>
      {error && (
        <p className="error" role="alert">
          {error}
        </p>
      )}
      {shown.length ? (
        <ol>
          {shown.map((each) => (
            <li key={each.number}>
              <time className="label">{clock(each.at)}</time>
              <strong>{each.name}</strong>
              {each.by && <span className="label">{each.by}</span>}
              <code>{each.text}</code>
            </li>
          ))}
        </ol>
      ) : (
        <p className="quiet">
          {!live && !error && 'Connecting…'}
          {live && (entries.length ? 'Nothing matches the filter.' : 'Nothing has happened yet.')}
        </p>
      )}
    </section>
  )
}

function read(payload: RealtimePayload, number: number): Entry {
  const content = payload.operation && payload.old ? { new: payload.data, old: payload.old } : payload.data
  return {
    number,
    at: typeof payload.timestamp === 'number' ? payload.timestamp : Date.now(),
    name: payload.operation ?? payload.event ?? payload.type,
    by: payload.userId ?? '',
    text: JSON.stringify(content) ?? '',
  }
}
