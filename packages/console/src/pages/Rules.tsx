import { type FormEvent, useState } from 'react'
import { CallError, get } from '../api.ts'
import { count } from '../format.ts'
import { useView } from '../live.ts'
import { Failure } from '../parts/Failure.tsx'
import { Findings } from '../parts/Findings.tsx'
import type { Access, RuleRow } from '../views.ts'

const ACTIONS = ['subscribe', 'publish', 'presence', 'history', 'cancel']

export function RulesPage() {
  const { data, error } = useView<{ rows: RuleRow[] }>('rules')
  return (
    <>
      <h1>Rules</h1>
      <Failure error={error} />
      <Playground />
      <h2>The rules, in their order</h2>
      <p className="note">
        How often each rule has decided since the rules were read. A connection remembers a verdict, so this
        counts connections and topics, not events.
      </p>
      {data && !data.rows.length && (
        <p className="empty panel">There are no rules, so only a secret key has access.</p>
      )}
      <ol className="rules">
        {data?.rows.map((each) => (
          <li key={`${each.section} ${each.number}`} className="panel">
            <pre className="code">{each.lines.join('\n')}</pre>
            <dl>
              <div>
                <dt>allowed</dt>
                <dd className="good">{count(each.allowed)}</dd>
              </div>
              <div>
                <dt>denied</dt>
                <dd className={each.denied ? 'bad' : undefined}>{count(each.denied)}</dd>
              </div>
            </dl>
          </li>
        ))}
      </ol>
    </>
  )
}

/** Identity × topic × action → the verdict, by the code that decides. */
function Playground() {
  const [found, setFound] = useState<Access>()
  const [error, setError] = useState<string>()

  async function decide(event: FormEvent<HTMLFormElement>) {
    event.preventDefault()
    const given = Object.fromEntries(new FormData(event.currentTarget)) as Record<string, string>
    try {
      setFound(await get<Access>('access', given))
      setError(undefined)
    } catch (failure) {
      setFound(undefined)
      setError(failure instanceof CallError ? failure.message : 'That failed.')
    }
  }

  return (
    <section className="panel form" aria-label="Playground">
      <h2>Playground</h2>
      <form onSubmit={decide}>
        <label>
          User
          <input className="field" name="user" placeholder="nobody: an anonymous client" />
        </label>
        <label>
          Action
          <select className="field" name="action">
            {ACTIONS.map((each) => (
              <option key={each}>{each}</option>
            ))}
          </select>
        </label>
        <label>
          Topic
          <input className="field mono" name="topic" required placeholder="chat/1" />
        </label>
        <label className="wide">
          Claims of the token, as JSON
          <input className="field mono" name="claims" placeholder='{"role": "staff"}' />
        </label>
        <button className="button primary" type="submit">
          Decide
        </button>
      </form>
      <div role="status">
        {found && (
          <>
            <p className={`verdict ${found.right.allowed ? 'good' : 'bad'}`}>
              {found.right.allowed ? 'Allowed' : 'Denied'}
            </p>
            <Findings findings={found.right.findings} setting={found.right.setting} />
          </>
        )}
      </div>
      <Failure error={error} />
    </section>
  )
}
