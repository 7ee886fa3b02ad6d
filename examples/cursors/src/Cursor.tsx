import { colourOf } from '@examples/theme'
import type { CSSProperties } from 'react'
import type { Pointer } from './pointer.ts'

/** Somebody's cursor with the name on it. One's own is drawn by the system; only the keyboard needs it here. */
export function Cursor({ userId, name, at, own }: Pointer & { own: boolean }) {
  if (!at) return null
  const style = {
    left: `${at.x * 100}%`,
    top: `${at.y * 100}%`,
    '--person': colourOf(userId),
  } as CSSProperties
  return (
    <div className="cursor" data-own={own || undefined} data-name={name} style={style} aria-hidden="true">
      <svg viewBox="0 0 20 20" aria-hidden="true">
        <path d="M2 1.5 17 8l-6.5 2.2L8 17z" />
      </svg>
      {!own && <span>{name}</span>}
    </div>
  )
}
