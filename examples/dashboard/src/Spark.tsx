/** The course of a figure, without an axis: only whether it rises. */
export function Spark({ label, values }: { label: string; values: readonly number[] }) {
  const low = Math.min(...values)
  const span = Math.max(...values) - low || 1
  const points = values.map((value, index) => `${index},${27 - ((value - low) / span) * 24}`).join(' ')
  return (
    <svg
      className="spark"
      viewBox={`0 0 ${Math.max(values.length - 1, 1)} 30`}
      preserveAspectRatio="none"
      role="img"
    >
      <title>{`${label}, the last ${values.length} samples`}</title>
      <polyline points={points} />
    </svg>
  )
}
