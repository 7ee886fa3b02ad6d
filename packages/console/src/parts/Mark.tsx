/** Three wings, one above the other: a stack in the air. */
export function Mark() {
  return (
    <svg className="mark" viewBox="0 0 26 22" aria-hidden="true">
      <path d="M1 8 18 1h7l-9 7z" fill="var(--live)" />
      <path d="M1 15 18 8h7l-9 7z" fill="var(--ink)" />
      <path d="M1 22 18 15h7l-9 7z" fill="var(--edge)" />
    </svg>
  )
}
