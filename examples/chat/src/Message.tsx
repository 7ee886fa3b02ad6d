import { Face } from '@examples/theme'
import type { HistoryMessage } from 'aerostack-realtime'
import { useAuth } from 'aerostack-realtime/react'
import { type ChatMessage, shown } from './message.ts'

/** One message; several in a row by one author name the author once. */
export function Message(props: {
  message: HistoryMessage<ChatMessage>
  before: HistoryMessage<ChatMessage> | undefined
}) {
  const { message, before } = props
  const { user } = useAuth()
  const { userId, userName, text } = shown(message)
  const follows = before !== undefined && shown(before).userId === userId
  const mine = userId === user.id
  const at = new Date(message.created_at)
  return (
    <li className="message" data-mine={mine || undefined} data-follows={follows || undefined}>
      {!mine && !follows && <Face userId={userId} name={userName} />}
      <p className={follows || mine ? 'hidden' : 'author'}>{userName}</p>
      <p className="text">{text}</p>
      <time className="label" dateTime={at.toISOString()}>
        {at.toLocaleTimeString([], { timeStyle: 'short' })}
      </time>
    </li>
  )
}
