import { count } from '../format.ts'

export const PAGE = 50

interface Props {
  total: number | undefined
  offset: number
  onMove(offset: number): void
}

/** Which rows of how many are shown, and the way to the others. */
export function Pager({ total = 0, offset, onMove }: Props) {
  const last = Math.min(offset + PAGE, total)
  return (
    <nav className="pager" aria-label="Rows">
      <span className="label">
        {total ? `${count(offset + 1)}–${count(last)} of ${count(total)}` : 'none'}
      </span>
      <button
        className="button small"
        type="button"
        disabled={offset === 0}
        onClick={() => onMove(Math.max(0, offset - PAGE))}
      >
        Earlier rows
      </button>
      <button
        className="button small"
        type="button"
        disabled={last >= total}
        onClick={() => onMove(offset + PAGE)}
      >
        Later rows
      </button>
    </nav>
  )
}
