import { clock } from '../format.ts'
import { useView } from '../live.ts'
import { Failure } from '../parts/Failure.tsx'
import { Listing } from '../parts/Listing.tsx'
import { Search } from '../parts/Search.tsx'
import { replaceQuery, to, useRoute } from '../route.ts'
import type { LogLine, NodeNames } from '../views.ts'

const KINDS = { audit: 'Audit', server: 'Server' } as const

export function LogPage() {
  const { query } = useRoute()
  const search = query.search ?? ''
  const kind = query.kind === 'server' ? 'server' : 'audit'
  const { data, error } = useView<{ rows: LogLine[]; nodes: NodeNames }>('log', { search, kind, limit: 200 })
  const several = Object.keys(data?.nodes ?? {}).length > 1
  return (
    <>
      <h1>Logs</h1>
      <div className="tools">
        <nav className="choices" aria-label="Logs">
          {(Object.keys(KINDS) as (keyof typeof KINDS)[]).map((each) => (
            <a
              key={each}
              className="choice"
              href={to('log', { kind: each, search })}
              aria-current={each === kind ? 'true' : undefined}
            >
              {KINDS[each]}
            </a>
          ))}
        </nav>
        <Search
          label="Search lines"
          value={search}
          onChange={(value) => replaceQuery('log', { kind, search: value })}
        />
      </div>
      <Failure error={error} />
      <Listing<LogLine>
        caption={`The newest lines of the ${kind} log`}
        rows={data?.rows}
        id={(each) => `${each.node} ${each.number}`}
        empty={search ? 'No line contains this.' : 'Nothing was logged yet.'}
        columns={[
          { name: 'Time', cell: (each) => clock(each.at) },
          ...(several
            ? [{ name: 'Node', cell: (each: LogLine) => data?.nodes[each.node] ?? each.node.slice(0, 8) }]
            : []),
          ...(kind === 'server'
            ? [
                {
                  name: 'Level',
                  cell: (each: LogLine) => (
                    <span className={each.level === 'info' ? 'label' : 'bad'}>{each.level}</span>
                  ),
                },
                { name: 'Part', cell: (each: LogLine) => each.part },
              ]
            : []),
          {
            name: kind === 'audit' ? 'What' : 'Message',
            cell: (each) => (
              <>
                {each.message}
                {Object.entries(each.facts).map(([name, value]) => (
                  <span key={name} className="fact">
                    <span className="label">{name}</span> {String(value)}
                  </span>
                ))}
              </>
            ),
          },
        ]}
      />
    </>
  )
}
