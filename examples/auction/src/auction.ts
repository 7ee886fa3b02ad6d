/** The tables `auctions` and `bids`, and the writes that an auctioneer's backend would make. */
import { query } from '@examples/backend'

export interface Auction {
  id: string
  title: string
  description: string
  opening: number
  /** What the next bid has to go beyond the price by. */
  step: number
  price: number
  leader_id: string | null
  leader_name: string | null
  ends_at: number
}

export interface Bid {
  id: number
  auction_id: string
  bidder_id: string
  bidder_name: string
  amount: number
  placed_at: number
}

/** The database's clock in milliseconds: of all the clocks in the room it is the one that counts. */
const NOW = "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)"

/**
 * Bid `amount`; false when somebody was faster or time is up.
 *
 * The database decides, in this one statement: of two bids at once the second finds the price already raised, and
 * changes nothing. A trigger of the table writes each accepted bid into `bids`.
 */
export async function bid(
  auction: string,
  amount: number,
  bidder: { id: string; name: string },
): Promise<boolean> {
  const accepted = await query(
    `UPDATE auctions SET price = ?1, leader_id = ?2, leader_name = ?3
      WHERE id = ?4 AND ends_at > ${NOW}
        AND ?1 >= price + CASE WHEN leader_id IS NULL THEN 0 ELSE step END
      RETURNING id`,
    [amount, bidder.id, bidder.name, auction],
  )
  return accepted.length === 1
}

/** Begin again, for `seconds` from now. */
export async function reopen(auction: string, seconds: number): Promise<void> {
  await query('DELETE FROM bids WHERE auction_id = ?', [auction])
  await query(
    `UPDATE auctions SET price = opening, leader_id = NULL, leader_name = NULL,
       ends_at = ${NOW} + ? WHERE id = ?`,
    [seconds * 1000, auction],
  )
}

/** The lowest amount that can win now. */
export function least({ price, step, leader_id }: Auction): number {
  return leader_id === null ? price : price + step
}

export function dollars(amount: number): string {
  return amount.toLocaleString('en', { style: 'currency', currency: 'USD', maximumFractionDigits: 0 })
}
