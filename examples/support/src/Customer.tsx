import { useAuth } from 'aerostack-realtime/react'
import { type FormEvent, useState } from 'react'
import { openTicket } from './ticket.ts'

/** The customer's side. It would be a page of its own. */
export function Customer() {
  const { user } = useAuth()
  const [subject, setSubject] = useState('')
  const submit = async (event: FormEvent) => {
    event.preventDefault()
    if (!subject.trim()) return
    await openTicket(user.name, subject.trim())
    setSubject('')
  }
  return (
    <form className="customer panel" onSubmit={submit}>
      <h2>As a customer</h2>
      <label htmlFor="subject">What can we help you with?</label>
      <input
        id="subject"
        className="field"
        value={subject}
        maxLength={120}
        autoComplete="off"
        placeholder="My altimeter sticks"
        onChange={(event) => setSubject(event.target.value)}
      />
      <button type="submit" className="button primary">
        Open a ticket
      </button>
    </form>
  )
}
