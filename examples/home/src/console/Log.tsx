import type { Entry } from './entry.ts'

/** What happened, the newest first. */
export function Log({ entries, onClear }: { entries: readonly Entry[]; onClear: () => void }) {
  return (
    <div className="log">
      <header>
        <h3>What happened</h3>
        <button type="button" className="button" disabled={!entries.length} onClick={onClear}>
          Clear
        </button>
      </header>
      {entries.length === 0 && (
        <p className="quiet">Subscribe to a topic, then publish to it or change a row.</p>
      )}
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard */}
      <div className="entries" role="log" aria-label="What happened" tabIndex={0}>
        <ol>
          {entries.map((entry) => (
            <li key={entry.key} data-kind={entry.kind}>
              <time className="label" dateTime={new Date(entry.at).toISOString()}>
                {clock(entry.at)}
              </time>
              <strong className="mono">{entry.name}</strong>
              <span className="label">{entry.topic}</span>
              {entry.text && <code className="mono">{entry.text}</code>}
            </li>
          ))}
        </ol>
      </div>
    </div>
  )
}

function clock(at: number): string {
  const time = new Date(at)
  return `${time.toLocaleTimeString('en-GB')}.${String(time.getMilliseconds()).padStart(3, '0')}`
}
