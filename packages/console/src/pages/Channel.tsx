import { bytes, clock, count } from '../format.ts'
import { useView } from '../live.ts'
import { ConnectionTable } from '../parts/ConnectionTable.tsx'
import { Failure } from '../parts/Failure.tsx'
import { Listing } from '../parts/Listing.tsx'
import { Tail } from '../parts/Tail.tsx'
import { to, useRoute } from '../route.ts'
import type { ChannelView } from '../views.ts'

export function ChannelPage() {
  const topic = useRoute().query.topic ?? ''
  const { data, error } = useView<ChannelView>('channel', { name: topic })
  return (
    <>
      <p className="trail">
        <a href={to('channels')}>Channels</a>
      </p>
      <h1>{data?.name ?? topic}</h1>
      <Failure error={error} />
      {data && (
        <>
          <dl className="totals panel">
            <div>
              <dt>Subscribers</dt>
              <dd>{count(data.subscribers)}</dd>
            </div>
            <div>
              <dt>Members</dt>
              <dd>{count(data.members.length)}</dd>
            </div>
            {data.table === null && (
              <div>
                <dt>Log for resuming</dt>
                <dd>{data.log ? count(data.log.events) : 0}</dd>
                <dd className="label">{data.log ? `events, ${bytes(data.log.bytes)}` : 'empty'}</dd>
              </div>
            )}
            <div>
              <dt>Rule</dt>
              <dd>
                <a className="mono" href={to('rules')}>
                  {data.rule}
                </a>
              </dd>
            </div>
          </dl>
          {data.table === null || data.watched ? (
            <Tail topic={data.topic} />
          ) : (
            <p className="empty panel">
              This table is not watched, so there is nothing to follow. Its first subscriber, or{' '}
              <code>aerostack tables watch {data.table}</code>, changes that.
            </p>
          )}
          <h2>Subscribers</h2>
          <ConnectionTable rows={data.connections} caption="Subscribers" empty="Nobody is subscribed." />
          {data.subscribers > data.connections.length && (
            <p className="note">{count(data.subscribers - data.connections.length)} more are not listed.</p>
          )}
          {data.members.length > 0 && (
            <>
              <h2>Members</h2>
              <Listing
                caption="Members"
                rows={data.members}
                id={(each) => each.userId}
                empty=""
                columns={[
                  { name: 'User', cell: (each) => each.userId },
                  { name: 'Since', cell: (each) => clock(each.since) },
                  { name: 'State', cell: (each) => <code>{JSON.stringify(each.state)}</code> },
                ]}
              />
            </>
          )}
          {data.table === null && (
            <>
              <h2>History</h2>
              <Listing
                caption="The newest stored messages"
                rows={data.history}
                id={(each) => `${each.userId} ${each.id}`}
                empty="No message of this channel is stored."
                columns={[
                  { name: 'Time', cell: (each) => clock(each.timestamp) },
                  { name: 'Event', cell: (each) => each.event },
                  { name: 'User', cell: (each) => each.userId ?? '–' },
                  { name: 'Data', cell: (each) => <code>{JSON.stringify(each.data)}</code> },
                  {
                    name: 'Why',
                    cell: (each) => (
                      <a href={to('explain', { topic: data.name, event: each.id })}>Who got it?</a>
                    ),
                  },
                ]}
              />
            </>
          )}
        </>
      )}
    </>
  )
}
