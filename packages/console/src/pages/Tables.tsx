import { count } from '../format.ts'
import { useClients, useView } from '../live.ts'
import { Failure } from '../parts/Failure.tsx'
import { Listing } from '../parts/Listing.tsx'
import { to } from '../route.ts'
import type { Tables } from '../views.ts'

/** What the figures of the change feed are called here. */
const NAMES: Record<string, string> = {
  change_log_changes: 'Changes in the log',
  change_feed_lag_changes: 'Changes not read yet',
}

export function TablesPage() {
  const { data, error } = useView<Tables>('tables')
  const { tail } = useClients()
  const figures = Object.entries(data?.figures ?? {}).filter(
    ([name]) => name.includes('change') || name.includes('lag'),
  )
  return (
    <>
      <h1>Tables</h1>
      <Failure error={error ?? data?.problem ?? undefined} />
      {figures.length > 0 && (
        <dl className="totals panel">
          {figures.map(([name, value]) => (
            <div key={name}>
              <dt>{NAMES[name] ?? name.replaceAll('_', ' ')}</dt>
              <dd>{count(value)}</dd>
            </div>
          ))}
        </dl>
      )}
      <Listing
        caption="Tables of the database"
        rows={data?.rows}
        id={(each) => each.name}
        empty="The database has no user tables."
        columns={[
          {
            name: 'Table',
            cell: (each) => (
              <a href={to('channel', { topic: `table/${each.name}/${tail.projectId}` })}>{each.name}</a>
            ),
          },
          { name: 'Watched', cell: (each) => (each.watched ? 'yes' : 'no') },
          { name: 'Views', number: true, cell: (each) => count(each.views) },
          { name: 'Subscribers', number: true, cell: (each) => count(each.subscribers) },
          {
            name: 'Changes kept',
            number: true,
            cell: (each) => (each.changes === null ? '–' : count(each.changes)),
          },
        ]}
      />
    </>
  )
}
