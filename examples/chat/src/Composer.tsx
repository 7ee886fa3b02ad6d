import { type FormEvent, useRef, useState } from 'react'

const TYPING_EVERY = 1_500

/** Where a message is written. It is shown when the server delivers it, and counted here until then. */
export function Composer(props: {
  room: string
  onSend: (text: string) => Promise<unknown>
  onTyping: () => void
}) {
  const { room, onSend, onTyping } = props
  const [text, setText] = useState('')
  const [underWay, setUnderWay] = useState(0)
  const announced = useRef(0)

  const write = (next: string) => {
    setText(next)
    if (!next || Date.now() - announced.current < TYPING_EVERY) return
    announced.current = Date.now()
    onTyping()
  }
  const send = async (event: FormEvent) => {
    event.preventDefault()
    if (!text.trim()) return
    setText('')
    announced.current = 0
    setUnderWay((count) => count + 1)
    try {
      await onSend(text.trim())
    } catch {
      setText(text) // the reason stands in the notice above
    } finally {
      setUnderWay((count) => count - 1)
    }
  }

  return (
    <form className="composer" onSubmit={send}>
      <label className="hidden" htmlFor="text">
        Message to {room}
      </label>
      <input
        id="text"
        className="field"
        value={text}
        placeholder={`Message to ${room}`}
        autoComplete="off"
        maxLength={2000}
        onChange={(event) => write(event.target.value)}
      />
      <button className="button primary" type="submit">
        Send
      </button>
      <p className="label under-way" role="status" aria-label="Outgoing">
        {underWay > 0 && `${underWay} on the way`}
      </p>
    </form>
  )
}
