/** What the channel `chat/<room>` carries, by event name. */
export type ChatEvents = {
  message: ChatMessage
  typing: { userId: string; name: string }
}

export interface ChatMessage {
  id: string
  userId: string
  userName: string
  text: string
  timestamp: number
}
