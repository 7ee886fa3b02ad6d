import { type FormEvent, useState } from 'react'

const FIRST = 'chat/general'
const SUGGESTED = [FIRST, 'orders', 'todos', 'dashboard/metrics', 'cursors/map']

export function SubscribeForm(props: {
  topics: readonly string[]
  onSubscribe: (topic: string) => void
  onUnsubscribe: (topic: string) => void
}) {
  const { topics, onSubscribe, onUnsubscribe } = props
  const [topic, setTopic] = useState('')
  const submit = (event: FormEvent) => {
    event.preventDefault()
    onSubscribe(topic.trim() || FIRST) // an empty field shows it as a placeholder
    setTopic('')
  }
  return (
    <form onSubmit={submit}>
      <label htmlFor="topic">Subscribe to a topic</label>
      <div className="beside">
        <input
          id="topic"
          className="field mono"
          list="suggested"
          value={topic}
          placeholder={FIRST}
          autoComplete="off"
          autoCapitalize="off"
          spellCheck={false}
          onChange={(event) => setTopic(event.target.value)}
        />
        <datalist id="suggested">
          {SUGGESTED.map((name) => (
            <option key={name} value={name} />
          ))}
        </datalist>
        <button type="submit" className="button primary">
          Subscribe
        </button>
      </div>
      <p className="label">A topic with a slash is a channel; without one it is a table.</p>
      {topics.length > 0 && (
        <ul className="topics" aria-label="Subscribed topics">
          {topics.map((name) => (
            <li key={name}>
              <span className="mono">{name}</span>
              <button
                type="button"
                aria-label={`Unsubscribe from ${name}`}
                onClick={() => onUnsubscribe(name)}
              >
                ×
              </button>
            </li>
          ))}
        </ul>
      )}
    </form>
  )
}
