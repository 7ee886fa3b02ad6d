/** A small drawing per example: ink for what is there, the warm colour for what is live. */
import type { ReactNode } from 'react'

function Glyph({ children }: { children: ReactNode }) {
  return (
    <svg className="glyph" viewBox="0 0 96 56" aria-hidden="true">
      {children}
    </svg>
  )
}

export function ChatGlyph() {
  return (
    <Glyph>
      <rect className="quiet" x="4" y="6" width="46" height="14" rx="7" />
      <rect className="ink" x="38" y="25" width="54" height="14" rx="7" />
      <circle className="live" cx="9" cy="50" r="3" />
      <circle className="live" cx="19" cy="50" r="3" />
      <circle className="live" cx="29" cy="50" r="3" />
    </Glyph>
  )
}

export function TodosGlyph() {
  return (
    <Glyph>
      <rect className="ink" x="4" y="6" width="11" height="11" rx="3" />
      <path className="stroke" d="M24 11.5h42" />
      <rect className="outline" x="5" y="25" width="9" height="9" rx="2" />
      <path className="stroke" d="M24 29.5h58" />
      <rect className="outline" x="5" y="43" width="9" height="9" rx="2" />
      <path className="stroke" d="M24 47.5h30" />
      <path className="live" d="M60 41h2v13h-2z" />
    </Glyph>
  )
}

export function DashboardGlyph() {
  return (
    <Glyph>
      {[18, 30, 12, 24, 38, 28, 46].map((height, index) => (
        <rect
          // biome-ignore lint/suspicious/noArrayIndexKey: a drawing does not change
          key={index}
          className={index === 6 ? 'live' : 'ink'}
          x={4 + index * 13}
          y={52 - height}
          width="9"
          height={height}
        />
      ))}
    </Glyph>
  )
}

export function CursorsGlyph() {
  return (
    <Glyph>
      <path className="dotted" d="M8 48C26 10 52 50 74 14" />
      <path className="live" d="m70 10 18 8-8 2.5-3 8z" />
      <path className="ink" d="m22 22 18 8-8 2.5-3 8z" />
    </Glyph>
  )
}

export function AuctionGlyph() {
  return (
    <Glyph>
      <circle className="outline" cx="32" cy="29" r="23" />
      <path className="live" d="M32 29 47 13l-11 19z" />
      <circle className="ink" cx="32" cy="29" r="4" />
      <path className="stroke" d="M66 14h26M66 29h20M66 44h12" />
    </Glyph>
  )
}

export function PlainGlyph() {
  return (
    <Glyph>
      <path className="thick" d="M24 12 8 28l16 16M72 12l16 16-16 16" />
      <path className="live" d="M51 8h5L45 48h-5z" />
    </Glyph>
  )
}
