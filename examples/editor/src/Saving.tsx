import { useAerostack, useStatus } from 'aerostack-realtime/react'
import type { AerostackProvider } from 'aerostack-realtime/yjs'
import { useSaved } from './document.ts'

/** Where the edits are, and a switch to try what happens without a network. */
export function Saving({ provider }: { provider: AerostackProvider }) {
  const { realtime } = useAerostack()
  const connected = useStatus() === 'connected'
  const offline = useStatus() === 'disconnected'
  const saved = useSaved(provider)
  return (
    <footer>
      <p className="label" role="status" aria-label="Saving" data-saved={saved || undefined}>
        {saved
          ? 'All changes are saved'
          : connected
            ? 'Saving…'
            : 'Your changes are kept on this device, and sent when you are back'}
      </p>
      <label className="offline">
        <input
          type="checkbox"
          checked={offline}
          onChange={(event) => (event.target.checked ? realtime.disconnect() : realtime.connect())}
        />
        Work offline
      </label>
    </footer>
  )
}
