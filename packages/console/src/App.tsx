import { useEffect, useMemo, useState } from 'react'
import { type About, CallError, get, onSignedOut } from './api.ts'
import { ClientsContext, connect } from './live.ts'
import { Shell } from './Shell.tsx'
import { SignIn } from './SignIn.tsx'

/** Asks who is signed in, and shows the console or the way in. */
export function App() {
  const [about, setAbout] = useState<About>()
  const [error, setError] = useState<string>()
  useEffect(() => {
    get<About>('about').then(setAbout, (failure: unknown) => {
      setError(failure instanceof CallError ? failure.message : 'The console cannot be loaded.')
    })
    return onSignedOut(() => setAbout((known) => known && { ...known, operator: null }))
  }, [])
  if (error)
    return (
      <p className="failed" role="alert">
        {error}
      </p>
    )
  if (!about) return null
  if (!about.operator) return <SignIn about={about} onSignedIn={setAbout} />
  return <SignedIn key={about.operator.until} about={about} />
}

function SignedIn({ about }: { about: About }) {
  const clients = useMemo(() => connect(about.project), [about.project])
  useEffect(
    () => () => {
      clients.views.disconnect()
      clients.tail.disconnect()
    },
    [clients],
  )
  return (
    <ClientsContext value={clients}>
      <Shell about={about} />
    </ClientsContext>
  )
}
