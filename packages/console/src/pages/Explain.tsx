import { type FormEvent, useEffect, useState } from 'react'
import { CallError, get } from '../api.ts'
import { Failure } from '../parts/Failure.tsx'
import { Findings } from '../parts/Findings.tsx'
import { replaceQuery, useRoute } from '../route.ts'
import type { Explanation } from '../views.ts'

const QUESTIONS = {
  event: { name: 'An event', label: 'Id of the event', field: 'event' },
  row: { name: 'A row change', label: 'Key of the row', field: 'row' },
  access: { name: 'A right', label: 'Action', field: 'access' },
  connection: { name: 'A connection', label: 'Id of the connection', field: 'connection' },
} as const

type Kind = keyof typeof QUESTIONS
const ACTIONS = ['subscribe', 'publish', 'presence', 'history', 'cancel', 'compact']

function kindOf(query: Record<string, string>): Kind {
  return (Object.keys(QUESTIONS) as Kind[]).find((each) => query[each] !== undefined) ?? 'event'
}

/** Whether a query asks a whole question. */
function isWhole(query: Record<string, string>): boolean {
  return Boolean(
    query.connection || (query.topic && query.user && (query.event || query.row || query.access)),
  )
}

/** Why did this user not get it? The question is in the address, so it can be sent to a colleague. */
export function ExplainPage() {
  const { query } = useRoute()
  const [kind, setKind] = useState<Kind>(kindOf(query))
  const [found, setFound] = useState<Explanation>()
  const [error, setError] = useState<string>()
  const asked = JSON.stringify(query)

  useEffect(() => {
    const question = JSON.parse(asked) as Record<string, string>
    setKind(kindOf(question))
    setFound(undefined)
    setError(undefined)
    if (!isWhole(question)) return
    const ended = new AbortController()
    get<Explanation>('explain', question, ended.signal).then(setFound, (failure: unknown) => {
      if (!ended.signal.aborted) setError(failure instanceof CallError ? failure.message : 'That failed.')
    })
    return () => ended.abort()
  }, [asked])

  function ask(event: FormEvent<HTMLFormElement>) {
    event.preventDefault()
    replaceQuery('explain', Object.fromEntries(new FormData(event.currentTarget)) as Record<string, string>)
  }

  const { label, field } = QUESTIONS[kind]
  return (
    <>
      <h1>Why did this user not get it?</h1>
      <section className="panel form" aria-label="Question">
        <div className="choices" role="radiogroup" aria-label="What is asked about">
          {(Object.keys(QUESTIONS) as Kind[]).map((each) => (
            <label key={each} className="choice" aria-current={each === kind}>
              <input
                type="radio"
                name="kind"
                className="hidden"
                checked={each === kind}
                onChange={() => setKind(each)}
              />
              {QUESTIONS[each].name}
            </label>
          ))}
        </div>
        <form onSubmit={ask} key={`${kind} ${asked}`}>
          {kind !== 'connection' && (
            <>
              <label>
                User
                <input className="field" name="user" required defaultValue={query.user} />
              </label>
              <label>
                {kind === 'row' ? 'Table' : 'Topic'}
                <input
                  className="field mono"
                  name="topic"
                  required
                  defaultValue={query.topic}
                  placeholder={kind === 'row' ? 'orders' : 'chat/1'}
                />
              </label>
            </>
          )}
          <label htmlFor="subject">
            {label}
            {kind === 'access' ? (
              <select className="field" id="subject" name={field} defaultValue={query.access}>
                {ACTIONS.map((each) => (
                  <option key={each}>{each}</option>
                ))}
              </select>
            ) : (
              <input className="field mono" id="subject" name={field} required defaultValue={query[field]} />
            )}
          </label>
          <button className="button primary" type="submit">
            Explain
          </button>
        </form>
      </section>
      <Failure error={error} />
      <div role="status" className="answer">
        {found && (
          <section className="panel" aria-label="Answer">
            <p className="verdict">{found.verdict}</p>
            <Findings findings={found.findings} setting={found.setting} />
            <p className="label">
              {found.code} · answered by {found.nodes.length} {found.nodes.length === 1 ? 'node' : 'nodes'}
            </p>
          </section>
        )}
      </div>
    </>
  )
}
