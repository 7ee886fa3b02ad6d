import type { CSSProperties } from 'react'
import { colourOf } from './person.ts'

/** The first letter of a name on the person's colour. Put the name beside it. */
export function Face({ userId, name }: { userId: string; name: string }) {
  const person = { '--person': colourOf(userId) } as CSSProperties
  return (
    <span className="face" style={person} aria-hidden="true">
      {name.slice(0, 1).toUpperCase()}
    </span>
  )
}
