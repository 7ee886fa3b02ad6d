import { bytes, clock, count } from '../format.ts'
import { useView } from '../live.ts'
import { Failure } from '../parts/Failure.tsx'
import { Listing } from '../parts/Listing.tsx'
import { Pager } from '../parts/Pager.tsx'
import { Search } from '../parts/Search.tsx'
import { replaceQuery, to, useRoute } from '../route.ts'
import type { Page, StreamRow } from '../views.ts'

export function StreamsPage() {
  const { query } = useRoute()
  const search = query.search ?? ''
  const offset = Number(query.offset ?? 0)
  const { data, error } = useView<Page<StreamRow>>('streams', { search, offset })
  return (
    <>
      <h1>Open streams</h1>
      <div className="tools">
        <Search
          label="Search topics"
          value={search}
          onChange={(value) => replaceQuery('streams', { search: value })}
        />
        <Pager
          total={data?.total}
          offset={offset}
          onMove={(next) => replaceQuery('streams', { search, offset: next })}
        />
      </div>
      <Failure error={error} />
      <Listing<StreamRow>
        caption="Streams that are open, oldest first"
        rows={data?.rows}
        id={(each) => `${each.topic} ${each.id}`}
        empty="No stream is open: every message that was growing has ended."
        columns={[
          { name: 'Topic', cell: (each) => <a href={to('channel', { topic: each.topic })}>{each.topic}</a> },
          { name: 'Event', cell: (each) => each.event },
          { name: 'Id', cell: (each) => each.id },
          { name: 'Writer', cell: (each) => each.userId ?? '–' },
          { name: 'Since', cell: (each) => clock(each.since) },
          { name: 'Pieces', number: true, cell: (each) => count(each.n) },
          { name: 'Size', number: true, cell: (each) => bytes(each.bytes) },
          { name: 'Stored', cell: (each) => (each.persist ? 'yes' : 'no') },
        ]}
      />
    </>
  )
}
