import { useAuth } from 'aerostack-realtime/react'
import { type FormEvent, useState } from 'react'
import { type Auction, bid, dollars, least } from './auction.ts'

/** A bid of one's own amount, or of a step or more at once. */
export function BidForm({ auction, leads }: { auction: Auction; leads: boolean }) {
  const { user } = useAuth()
  const [amount, setAmount] = useState('')
  const [said, setSaid] = useState('')
  const lowest = least(auction)

  const place = async (offer: number) => {
    setSaid('')
    const accepted = await bid(auction.id, offer, user)
    setSaid(
      accepted ? `Your bid of ${dollars(offer)} stands.` : 'Somebody was faster. Look at the new price.',
    )
    setAmount('')
  }
  const submit = (event: FormEvent) => {
    event.preventDefault()
    if (Number(amount) >= lowest) place(Number(amount))
    else setSaid(`Bid ${dollars(lowest)} or more.`)
  }
  return (
    <form className="bid" onSubmit={submit} noValidate>
      <fieldset>
        <legend className="hidden">Bid at once</legend>
        {[0, 1, 4].map((steps) => {
          const offer = lowest + steps * auction.step
          // By its amount, so that no button becomes another bid under somebody's finger.
          return (
            <button
              key={offer}
              type="button"
              className="button"
              disabled={leads}
              onClick={() => place(offer)}
            >
              Bid {dollars(offer)}
            </button>
          )
        })}
      </fieldset>
      <label htmlFor="amount">Or an amount of your own, in dollars</label>
      <div className="own">
        <input
          id="amount"
          className="field"
          inputMode="numeric"
          autoComplete="off"
          placeholder={`${lowest} or more`}
          value={amount}
          onChange={(event) => setAmount(event.target.value.replace(/\D/g, '').slice(0, 7))}
        />
        <button type="submit" className="button primary">
          Place bid
        </button>
      </div>
      <p className="said" role="status" aria-label="Your bid">
        {said}
      </p>
    </form>
  )
}
