const ROUND = 1_000

/** The lot itself, an altimeter: its needle climbs with the price, once round for a thousand dollars. */
export function Dial({ price }: { price: number }) {
  return (
    <svg className="dial" viewBox="-110 -110 220 220" aria-hidden="true">
      <circle className="case" r="106" />
      <circle className="face-plate" r="94" />
      {Array.from({ length: 50 }, (_, tick) => (
        <path
          // biome-ignore lint/suspicious/noArrayIndexKey: ticks do not move
          key={tick}
          className="tick"
          d={tick % 5 ? 'M0-88V-82' : 'M0-88V-75'}
          transform={`rotate(${tick * 7.2})`}
        />
      ))}
      {Array.from({ length: 10 }, (_, digit) => {
        const angle = (digit / 10) * 2 * Math.PI
        return (
          // biome-ignore lint/suspicious/noArrayIndexKey: digits do not move
          <text key={digit} x={62 * Math.sin(angle)} y={-62 * Math.cos(angle)} dy=".36em">
            {digit}
          </text>
        )
      })}
      <text className="unit" y="34">
        HUNDRED $
      </text>
      <g className="needle" style={{ transform: `rotate(${(price / ROUND) * 360}deg)` }}>
        <path d="M0-80 5-12v34h-10v-34z" />
      </g>
      <circle className="hub" r="9" />
    </svg>
  )
}
