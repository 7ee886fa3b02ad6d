/** A small chart of the newest values, drawn by hand: a line, and the area below it. */
const WIDTH = 120
const HEIGHT = 32

interface Props {
  /** Oldest first. */
  values: readonly number[]
  /** How many values fill the width. */
  span: number
  /** What it shows, for those who do not see it. */
  label: string
}

export function Sparkline({ values, span, label }: Props) {
  const top = Math.max(...values, 0) || 1
  const step = WIDTH / (span - 1)
  const points = values.map((value, index) => {
    const x = WIDTH - (values.length - 1 - index) * step
    return `${x.toFixed(1)} ${(HEIGHT - 2 - (value / top) * (HEIGHT - 4)).toFixed(1)}`
  })
  const line = points.join(' L')
  const left = points[0]?.split(' ')[0]
  return (
    <svg
      className="sparkline"
      viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
      preserveAspectRatio="none"
      role="img"
      aria-label={`${label}; highest ${Math.round(top * 10) / 10}`}
    >
      <path className="base" d={`M0 ${HEIGHT - 1} H${WIDTH}`} />
      {points.length > 1 && (
        <>
          <path className="area" d={`M${left} ${HEIGHT} L${line} L${WIDTH} ${HEIGHT} Z`} />
          <path className="line" d={`M${line}`} />
        </>
      )}
    </svg>
  )
}
