import { type KeyboardEvent, useRef, useState } from 'react'
import { snippets } from './snippets.ts'

const ALL = snippets(location.origin)

/** Code to copy, with this server's address in it. */
export function Snippets() {
  const [chosen, setChosen] = useState(0)
  const [copied, setCopied] = useState(false)
  const tabs = useRef<(HTMLButtonElement | null)[]>([])
  const snippet = ALL[chosen]

  const choose = (index: number) => {
    const within = (index + ALL.length) % ALL.length
    setChosen(within)
    setCopied(false)
    tabs.current[within]?.focus()
  }
  const key = (event: KeyboardEvent) => {
    if (event.key === 'ArrowRight') choose(chosen + 1)
    if (event.key === 'ArrowLeft') choose(chosen - 1)
  }
  const copy = async () => {
    await navigator.clipboard.writeText(snippet?.code ?? '')
    setCopied(true)
  }
  return (
    <section aria-labelledby="snippets">
      <h2 id="snippets">From your own code</h2>
      <div className="snippets panel">
        <div className="bar">
          <div className="choices" role="tablist" aria-labelledby="snippets" onKeyDown={key}>
            {ALL.map(({ name }, index) => (
              <button
                key={name}
                ref={(tab) => {
                  tabs.current[index] = tab
                }}
                id={`tab-${index}`}
                type="button"
                role="tab"
                className="choice"
                aria-selected={index === chosen}
                aria-controls="snippet"
                tabIndex={index === chosen ? 0 : -1}
                onClick={() => choose(index)}
              >
                {name}
              </button>
            ))}
          </div>
          <button type="button" className="button" onClick={copy}>
            {copied ? 'Copied' : 'Copy'}
          </button>
        </div>
        <div id="snippet" role="tabpanel" aria-labelledby={`tab-${chosen}`}>
          {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard */}
          <pre className="mono" tabIndex={0}>
            {snippet?.code}
          </pre>
        </div>
      </div>
    </section>
  )
}
