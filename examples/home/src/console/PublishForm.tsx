import { type FormEvent, useState } from 'react'

/** An event to any channel. It goes to the topic subscribed first unless another is written. */
export function PublishForm(props: {
  topic: string | undefined
  onPublish: (topic: string, event: string, data: unknown, persist: boolean) => void
}) {
  const [topic, setTopic] = useState<string>()
  const [event, setEvent] = useState('message')
  const [data, setData] = useState('{"text": "Hello"}')
  const [persist, setPersist] = useState(false)
  const [invalid, setInvalid] = useState('')
  const to = topic ?? props.topic ?? 'chat/general'

  const submit = (submitted: FormEvent) => {
    submitted.preventDefault()
    try {
      const parsed: unknown = JSON.parse(data)
      setInvalid('')
      props.onPublish(to, event, parsed, persist)
    } catch (error) {
      setInvalid(`This is not JSON: ${(error as Error).message}`)
    }
  }
  return (
    <form onSubmit={submit}>
      <div className="pair">
        <div>
          <label htmlFor="to">Publish to</label>
          <input
            id="to"
            className="field mono"
            value={to}
            autoCapitalize="off"
            spellCheck={false}
            onChange={({ target }) => setTopic(target.value)}
          />
        </div>
        <div>
          <label htmlFor="event">Event</label>
          <input
            id="event"
            className="field mono"
            value={event}
            autoCapitalize="off"
            spellCheck={false}
            onChange={({ target }) => setEvent(target.value)}
          />
        </div>
      </div>
      <label htmlFor="data">Data, as JSON</label>
      <textarea
        id="data"
        className="field mono"
        rows={3}
        value={data}
        spellCheck={false}
        aria-invalid={invalid !== ''}
        aria-describedby="invalid"
        onChange={({ target }) => setData(target.value)}
      />
      <p id="invalid" className="invalid" role="status" aria-label="Data">
        {invalid}
      </p>
      <div className="last">
        <label>
          <input type="checkbox" checked={persist} onChange={({ target }) => setPersist(target.checked)} />{' '}
          Keep it in the history
        </label>
        <button type="submit" className="button primary">
          Publish
        </button>
      </div>
    </form>
  )
}
