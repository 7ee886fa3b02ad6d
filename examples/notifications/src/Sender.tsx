import { useAuth, usePresence } from 'aerostack-realtime/react'
import { type FormEvent, useState } from 'react'
import { notify } from './notification.ts'

const TEXTS = [
  'The wind has turned: the long loop is open.',
  'Your parcel is at the tower.',
  'Hangar 2 needs the ladder back.',
]

/** The other side: something happens, and a backend notifies one user. */
export function Sender() {
  const { user } = useAuth()
  const members = usePresence('people/notifications', { userId: user.id, name: user.name })
  const others = members.filter(({ userId }) => userId !== user.id)
  const [chosen, setChosen] = useState<string>()
  const [text, setText] = useState(TEXTS[0])
  const [sent, setSent] = useState('')
  const to = members.find(({ userId }) => userId === chosen) ?? others[0] ?? members[0]

  const send = async (event: FormEvent) => {
    event.preventDefault()
    if (!to || !text?.trim()) return
    await notify(to.userId, `From ${user.name}`, text.trim())
    setSent(`Sent to ${to.userId === user.id ? 'yourself' : to.state.name}.`)
    setText(TEXTS[(TEXTS.indexOf(text) + 1) % TEXTS.length])
  }
  return (
    <form className="sender panel" onSubmit={send}>
      <h2>Notify somebody</h2>
      <p className="label">What your backend does when something happens.</p>
      <label htmlFor="to">To</label>
      <select
        id="to"
        className="field"
        value={to?.userId}
        onChange={(event) => setChosen(event.target.value)}
      >
        {members.map(({ userId, state }) => (
          <option key={userId} value={userId}>
            {userId === user.id ? `${state.name} (you)` : state.name}
          </option>
        ))}
      </select>
      <label htmlFor="text">Text</label>
      <input
        id="text"
        className="field"
        value={text}
        maxLength={200}
        autoComplete="off"
        onChange={(event) => setText(event.target.value)}
      />
      <button type="submit" className="button primary" disabled={!to}>
        Send
      </button>
      <p className="label" role="status" aria-label="Outcome">
        {sent}
      </p>
    </form>
  )
}
