const PLACES = [
  { name: 'Alderness', x: 29, y: 52, left: true },
  { name: 'Port Hale', x: 75, y: 37 },
  { name: 'Skerry', x: 61, y: 83 },
]
const LINES = Array.from({ length: 11 }, (_, index) => (index + 1) * 100)

/**
 * The ground: an invented archipelago on an aeronautical chart. It stretches with the screen, so that a place
 * has the same coordinates on a phone and on a desk.
 */
export function Chart() {
  return (
    <div className="chart" aria-hidden="true">
      <svg viewBox="0 0 1200 700" preserveAspectRatio="none" aria-hidden="true">
        <path className="grid" d={LINES.map((at) => `M${at} 0V700M0 ${at}H1200`).join('')} />
        <g className="land">
          <path d="M160 420c-30-90 40-190 140-210s150 30 190 10 120 20 110 90-90 70-120 130-70 110-150 110-145-60-170-130z" />
          <path d="M210 410c-15-65 35-135 110-150s100 25 140 15 75 15 70 60-65 55-95 105-50 75-105 75-105-45-120-105z" />
          <path d="M265 400c-5-40 25-80 75-90s70 20 95 15 35 10 30 35-40 35-60 65-30 45-65 45-70-30-75-70z" />
          <path d="M760 200c20-60 110-90 180-60s130 10 140 80-50 80-60 140-70 90-130 60-60-70-100-100-45-80-30-120z" />
          <path d="M810 215c15-40 75-60 125-40s85 10 90 50-35 60-40 100-45 55-85 35-40-50-65-70-35-45-25-75z" />
          <path d="M640 560c15-35 70-45 110-25s75 5 80 40-30 55-80 55-120-25-110-70z" />
        </g>
        <path className="route" d="M348 364 900 259 732 581z" />
      </svg>
      {PLACES.map(({ name, x, y, left }) => (
        <span key={name} className="place" data-left={left} style={{ left: `${x}%`, top: `${y}%` }}>
          {name}
        </span>
      ))}
    </div>
  )
}
