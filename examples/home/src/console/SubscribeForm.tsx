import { type FormEvent, useState } from 'react'

const SUGGESTED = ['chat/general', 'orders', 'todos', 'dashboard/metrics', 'cursors/map']

export function SubscribeForm(props: {
  topics: readonly string[]
  onSubscribe: (topic: string) => void
  onUnsubscribe: (topic: string) => void
}) {
  const { topics, onSubscribe, onUnsubscribe } = props
  const [topic, setTopic] = useState('')
  const submit = (event: FormEvent) => {
    event.preventDefault()
    if (!topic.trim()) return
    onSubscribe(topic.trim())
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
          placeholder="chat/general"
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
      <p className="label">With a slash it is a channel, without one the rows of a table.</p>
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
