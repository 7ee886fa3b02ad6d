import { count } from '../format.ts'
import { useView } from '../live.ts'
import { Failure } from '../parts/Failure.tsx'
import { Listing } from '../parts/Listing.tsx'
import { Pager } from '../parts/Pager.tsx'
import { Search } from '../parts/Search.tsx'
import { replaceQuery, to, useRoute } from '../route.ts'
import type { ChannelRow, Page } from '../views.ts'

export function ChannelsPage() {
  const { query } = useRoute()
  const search = query.search ?? ''
  const offset = Number(query.offset ?? 0)
  const { data, error } = useView<Page<ChannelRow>>('channels', { search, offset })
  return (
    <>
      <h1>Channels</h1>
      <div className="tools">
        <Search
          label="Search topics"
          value={search}
          onChange={(value) => replaceQuery('channels', { search: value })}
        />
        <Pager
          total={data?.total}
          offset={offset}
          onMove={(next) => replaceQuery('channels', { search, offset: next })}
        />
      </div>
      <Failure error={error} />
      <Listing<ChannelRow>
        caption="Channels, those with most subscribers first"
        rows={data?.rows}
        id={(each) => each.topic}
        empty={
          search
            ? 'No channel has this in its topic.'
            : 'Nobody is subscribed to anything, and no channel has recent events.'
        }
        columns={[
          { name: 'Topic', cell: (each) => <a href={to('channel', { topic: each.topic })}>{each.name}</a> },
          { name: 'Kind', cell: (each) => (each.table ? 'table' : 'channel') },
          { name: 'Subscribers', number: true, cell: (each) => count(each.subscribers) },
          { name: 'Members', number: true, cell: (each) => count(each.members) },
        ]}
      />
    </>
  )
}
