import type { ReactNode } from 'react'

/** One number, what it is, and where it comes from. */
export function Figure(props: { label: string; value: string; source: string; children?: ReactNode }) {
  const { label, value, source, children } = props
  return (
    <section className="figure panel" aria-label={label}>
      <h2>{label}</h2>
      <p className="value">{value}</p>
      {children}
      <p className="label">{source}</p>
    </section>
  )
}
