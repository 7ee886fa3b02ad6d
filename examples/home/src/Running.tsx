import { useAerostack, useStatus } from 'aerostack-realtime/react'
import { useEffect, useState } from 'react'

/** What is running here, and how this page stands with it. */
export function Running() {
  const { projectId } = useAerostack()
  const status = useStatus()
  const version = useVersion(status)
  const facts = [
    ['Address', location.origin],
    ['Project', projectId || 'default'],
    ['Version', version],
    ['This page is', status],
  ]
  return (
    <section className="running">
      <div>
        <h2>Your server is up. Open an example in two windows, or talk to any topic below.</h2>
        <p>
          Channels, presence, message history and live rows of every table, from one program beside your
          database. <a href="/console/">The console</a> shows who is connected and what happens.
        </p>
      </div>
      <dl className="panel" aria-label="What is running">
        {facts.map(([name, value]) => (
          <div key={name}>
            <dt className="label">{name}</dt>
            <dd className="mono">{value}</dd>
          </div>
        ))}
      </dl>
    </section>
  )
}

/** The server's version, asked again whenever the connection changes: it may be another server by then. */
function useVersion(status: string): string {
  const [version, setVersion] = useState('…')
  // biome-ignore lint/correctness/useExhaustiveDependencies: the status says when to ask again
  useEffect(() => {
    let wanted = true
    const tell = (version: string) => wanted && setVersion(version)
    fetch('/healthz')
      .then((response) => response.json())
      .then(
        (health) => tell(health.version),
        () => tell('does not answer'),
      )
    return () => {
      wanted = false
    }
  }, [status])
  return version
}
