import { Face } from '@examples/theme'
import { useAuth } from 'aerostack-realtime/react'
import { type Bid, dollars } from './auction.ts'

/** The bids accepted so far, the highest first. */
export function Bids({ bids }: { bids: readonly Bid[] }) {
  const { user } = useAuth()
  return (
    <section className="panel" aria-labelledby="bids">
      <h2 id="bids">Bids</h2>
      {bids.length === 0 && <p className="none">The first bid opens the auction.</p>}
      <ol className="bids" aria-labelledby="bids">
        {bids
          .toReversed()
          .slice(0, 12)
          .map((bid) => (
            <li key={bid.id}>
              <Face userId={bid.bidder_id} name={bid.bidder_name} />
              <span>{bid.bidder_id === user.id ? 'You' : bid.bidder_name}</span>
              <time className="label" dateTime={new Date(bid.placed_at).toISOString()}>
                {new Date(bid.placed_at).toLocaleTimeString([], { timeStyle: 'medium' })}
              </time>
              <strong>{dollars(bid.amount)}</strong>
            </li>
          ))}
      </ol>
    </section>
  )
}
