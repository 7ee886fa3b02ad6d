import { type FormEvent, useState } from 'react'
import { type About, CallError, post } from './api.ts'
import { Mark } from './parts/Mark.tsx'

/** The way in: a secret key, or the token of a user who is an operator. */
export function SignIn({ about, onSignedIn }: { about: About; onSignedIn(about: About): void }) {
  const [credential, setCredential] = useState(about.hint ?? '')
  const [error, setError] = useState<string>()
  const [busy, setBusy] = useState(false)

  async function signIn(event: FormEvent) {
    event.preventDefault()
    setBusy(true)
    setError(undefined)
    try {
      onSignedIn(await post<About>('sign-in', {}, { Authorization: `Bearer ${credential.trim()}` }))
    } catch (failure) {
      setError(failure instanceof CallError ? failure.message : 'Signing in failed.')
      setBusy(false)
    }
  }

  return (
    <main className="sign-in">
      <form className="panel" onSubmit={signIn}>
        <p className="brand">
          <Mark /> Aerostack
        </p>
        <h1>Console</h1>
        <p className="about">
          Project <strong>{about.project}</strong>, version {about.version}
        </p>
        <label htmlFor="credential">Secret key or operator’s token</label>
        <input
          id="credential"
          className="field mono"
          type="password"
          autoComplete="current-password"
          required
          value={credential}
          onChange={(event) => setCredential(event.target.value)}
          aria-describedby="credential-note"
          aria-invalid={error !== undefined}
        />
        <p id="credential-note" className="note">
          {about.hint
            ? 'This is aerostack dev: its key is public, and filled in.'
            : 'The server checks it and sets a cookie that scripts cannot read.'}
        </p>
        {error && (
          <p className="error" role="alert">
            {error}
          </p>
        )}
        <button className="button primary" type="submit" disabled={busy || !credential.trim()}>
          Sign in
        </button>
      </form>
    </main>
  )
}
