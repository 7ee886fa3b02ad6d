import { Faces, Frame } from '@examples/theme'
import { useAuth, usePresence, useTable } from 'aerostack-realtime/react'
import './auction.css'
import type { Auction, Bid } from './auction.ts'
import { Bids } from './Bids.tsx'
import { Lot } from './Lot.tsx'

const LOT = 'altimeter'

export function AuctionRoom() {
  const { user } = useAuth()
  const members = usePresence(`auction/${LOT}`, { userId: user.id, name: user.name })
  // One row and the bids on it. What is shown is what the database says, on every screen the same.
  const auctions = useTable<Auction>('auctions', { filter: { id: LOT } })
  const bids = useTable<Bid>('bids', { filter: { auction_id: LOT }, order: 'id' })
  const [auction] = auctions.rows
  const error = auctions.error ?? bids.error
  return (
    <Frame title="Auction">
      <main className="auction">
        {error && <p role="alert">{error.message}</p>}
        {auction && <Lot auction={auction} bids={bids.rows.length} />}
        <aside>
          <section className="panel" aria-labelledby="room">
            <h2 id="room">In the room</h2>
            <Faces label="In the room" members={members} />
          </section>
          <Bids bids={bids.rows} />
        </aside>
      </main>
    </Frame>
  )
}
