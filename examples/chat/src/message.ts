import type { HistoryMessage } from 'aerostack-realtime'

/** What the channel `chat/<room>` carries, by event name. */
export type ChatEvents = {
  message: ChatMessage
  typing: { userId: string; name: string }
}

/** What a sender says of a message. Its id, its time and its place among the others come from the server. */
export interface ChatMessage {
  userId: string
  userName: string
  text: string
}

/** A message as it is shown. Anybody may publish anything to a room, so nothing is taken for granted. */
export function shown({ user_id, data }: HistoryMessage<Partial<ChatMessage> | null>): ChatMessage {
  const { userId = user_id, userName = 'Somebody', text = JSON.stringify(data) } = data ?? {}
  return { userId, userName: String(userName), text: String(text) }
}
