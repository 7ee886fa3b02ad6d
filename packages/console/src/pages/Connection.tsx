import { useState } from 'react'
import { CallError, post } from '../api.ts'
import { bytes, clock, count } from '../format.ts'
import { useView } from '../live.ts'
import { useMayAct } from '../operator.ts'
import { behind } from '../parts/ConnectionTable.tsx'
import { Failure } from '../parts/Failure.tsx'
import { Listing } from '../parts/Listing.tsx'
import { to, useRoute } from '../route.ts'
import type { ConnectionView } from '../views.ts'

export function ConnectionPage() {
  const id = useRoute().query.id ?? ''
  const { data, error } = useView<ConnectionView>('connection', { name: id })
  const record = data?.record
  const row = data?.row
  return (
    <>
      <p className="trail">
        <a href={to('connections')}>Connections</a>
      </p>
      <h1>{record?.user ?? (record ? `${record.kind} client` : 'Connection')}</h1>
      <Failure error={error} />
      {data && !record && (
        <p className="empty panel">
          The connection {id} is not known, or no longer recorded.{' '}
          <a href={to('connections')}>All connections</a>
        </p>
      )}
      {record && (
        <>
          <dl className="totals panel">
            <Fact
              name="State"
              value={row ? 'connected' : `ended with ${record.close_code}`}
              note={record.close_reason}
            />
            <Fact
              name="Since"
              value={clock(record.at)}
              note={record.closed_at ? `until ${clock(record.closed_at)}` : ''}
            />
            <Fact name="Address" value={row?.address ?? 'not recorded'} />
            <Fact name="Waiting" value={bytes(row?.waiting ?? record.waiting)} />
            <Fact name="Behind" value={row ? behind(row) : 'no'} note={lacking(data.lacks)} />
            <Fact name="Connection" value={record.id} />
          </dl>
          <Actions id={record.id} user={record.user} open={row !== null} key={record.id} />
          <h2>Subscriptions</h2>
          <Listing
            caption="Subscriptions"
            rows={[...record.periods].reverse()}
            id={(each) => `${each.topic} ${each.at}`}
            empty="It has subscribed to nothing."
            columns={[
              {
                name: 'Topic',
                cell: (each) => <a href={to('channel', { topic: each.topic })}>{each.topic}</a>,
              },
              { name: 'Since', cell: (each) => clock(each.at) },
              {
                name: 'Filter',
                cell: (each) => (each.filter ? <code>{JSON.stringify(each.filter)}</code> : '–'),
              },
              { name: 'When slow', cell: (each) => each.slow },
              {
                name: 'State',
                cell: (each) => (each.ending ? `${each.ending} ${clock(each.ended_at)}` : 'live'),
              },
            ]}
          />
          {record.notes.length > 0 && (
            <>
              <h2>What happened</h2>
              <Listing
                caption="What happened"
                rows={[...record.notes].reverse()}
                id={(each) => `${each.at} ${each.kind} ${each.topic} ${each.message}`}
                empty=""
                columns={[
                  { name: 'Time', cell: (each) => clock(each.at) },
                  { name: 'What', cell: (each) => each.kind.replace('_', ' ') },
                  { name: 'Topic', cell: (each) => each.topic || '–' },
                  {
                    name: 'Message',
                    cell: (each) => each.message || (each.count ? `${each.count} dropped` : '–'),
                  },
                ]}
              />
            </>
          )}
          {Object.keys(record.claims).length > 0 && (
            <>
              <h2>Claims</h2>
              <pre className="panel code">{JSON.stringify(record.claims, null, 2)}</pre>
            </>
          )}
        </>
      )}
    </>
  )
}

function Fact({ name, value, note }: { name: string; value: string; note?: string }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd className="small">{value}</dd>
      {note && <dd className="label">{note}</dd>}
    </div>
  )
}

/** How many events a connection lacks on which topics. */
function lacking(lacks: ConnectionView['lacks']): string {
  return Object.entries(lacks)
    .map(([topic, events]) => (events === null ? topic : `${count(events)} events on ${topic}`))
    .join(', ')
}

interface Action {
  name: string
  path: string
  body: Record<string, string>
  asks: string
}

function Actions({ id, user, open }: { id: string; user: string | null; open: boolean }) {
  const mayAct = useMayAct()
  const [asked, setAsked] = useState<Action>()
  const [said, setSaid] = useState('')
  if (!mayAct) return <p className="note">Your rights are read-only: you cannot disconnect anybody.</p>
  const actions: Action[] = []
  if (open)
    actions.push({
      name: 'Disconnect',
      path: 'disconnect',
      body: { connection: id },
      asks: 'Close this connection? A client that may connect does so again.',
    })
  if (user !== null)
    actions.push(
      {
        name: 'Disconnect user',
        path: 'disconnect',
        body: { userId: user },
        asks: `Close all connections of ${user}?`,
      },
      {
        name: 'Revoke tokens',
        path: 'revoke',
        body: { userId: user },
        asks: `Refuse all tokens that ${user} has now, and close the connections made with them?`,
      },
    )

  async function carryOut({ name, path, body }: Action) {
    setAsked(undefined)
    try {
      const { closed } = await post<{ closed: number }>(path, body)
      setSaid(`${name}: ${closed} ${closed === 1 ? 'connection' : 'connections'} closed.`)
    } catch (failure) {
      setSaid(failure instanceof CallError ? failure.message : 'That failed.')
    }
  }

  return (
    <div className="actions">
      {actions.map((each) => (
        <button key={each.name} className="button" type="button" onClick={() => setAsked(each)}>
          {each.name}
        </button>
      ))}
      {asked && (
        <div className="panel confirm" role="alertdialog" aria-label={asked.name} aria-describedby="asks">
          <p id="asks">{asked.asks}</p>
          <button className="button primary" type="button" ref={focus} onClick={() => carryOut(asked)}>
            {asked.name}, really
          </button>
          <button className="button" type="button" onClick={() => setAsked(undefined)}>
            Cancel
          </button>
        </div>
      )}
      <p className="note" role="status">
        {said}
      </p>
    </div>
  )
}

function focus(element: HTMLElement | null) {
  element?.focus()
}
