import { useAuth } from 'aerostack-realtime/react'
import { type Auction, dollars, reopen } from './auction.ts'
import { BidForm } from './BidForm.tsx'
import { Dial } from './Dial.tsx'
import { clock, useTimeLeft } from './time.ts'

const REOPEN_SECONDS = 300
const URGENT_SECONDS = 30

export function Lot({ auction, bids }: { auction: Auction; bids: number }) {
  const { user } = useAuth()
  const left = useTimeLeft(auction.ends_at)
  const leads = auction.leader_id === user.id
  const leader = leads ? 'You' : auction.leader_name
  return (
    <article className="lot panel" aria-labelledby="lot">
      <Dial price={auction.price} />
      <div className="about">
        <h2 id="lot">{auction.title}</h2>
        <p>{auction.description}</p>
      </div>
      <dl>
        <div>
          <dt className="label">{auction.leader_id ? 'price' : 'opening price'}</dt>
          <dd className="price" data-testid="price">
            {dollars(auction.price)}
          </dd>
          <dd className="leader" aria-live="polite" data-leads={leads || undefined}>
            {leader ? `${leader} ${left > 0 ? (leads ? 'lead' : 'leads') : 'won'}` : 'No bid yet'}
          </dd>
        </div>
        <div>
          <dt className="label">{left > 0 ? 'closes in' : 'closed'}</dt>
          <dd className="clock" data-urgent={(left > 0 && left <= URGENT_SECONDS) || undefined}>
            <span role="timer">{clock(left)}</span>
          </dd>
          <dd className="leader">{bids === 1 ? '1 bid' : `${bids} bids`}</dd>
        </div>
      </dl>
      {left > 0 ? (
        <BidForm auction={auction} leads={leads} />
      ) : (
        <button type="button" className="button primary" onClick={() => reopen(auction.id, REOPEN_SECONDS)}>
          Open it again for five minutes
        </button>
      )}
    </article>
  )
}
