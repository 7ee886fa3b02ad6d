import { useAerostack } from 'aerostack-realtime/react'
import { useEffect, useState } from 'react'

/** The last error that no other part of the page shows, until it is dismissed. */
export function Notice() {
  const { realtime } = useAerostack()
  const [error, setError] = useState<Error & { code?: string }>()
  useEffect(() => realtime.onError(setError), [realtime])
  useEffect(() => {
    const uncaught = (event: PromiseRejectionEvent) => {
      event.preventDefault() // shown here instead of in the console
      setError(event.reason)
    }
    addEventListener('unhandledrejection', uncaught)
    return () => removeEventListener('unhandledrejection', uncaught)
  }, [])
  if (!error) return null
  return (
    <div className="notice" role="alert">
      <p>
        {error.code && <code>{error.code}</code>} {error.message}
        {error.code === 'not_found' && (
          <>
            {' '}
            <code>aerostack demo</code> creates the tables of the examples.
          </>
        )}
      </p>
      <button type="button" className="button" onClick={() => setError(undefined)}>
        Dismiss
      </button>
    </div>
  )
}
