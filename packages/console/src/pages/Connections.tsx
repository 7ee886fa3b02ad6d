import { useView } from '../live.ts'
import { ConnectionTable } from '../parts/ConnectionTable.tsx'
import { Failure } from '../parts/Failure.tsx'
import { Pager } from '../parts/Pager.tsx'
import { Search } from '../parts/Search.tsx'
import { replaceQuery, useRoute } from '../route.ts'
import type { Connections } from '../views.ts'

export function ConnectionsPage() {
  const { query } = useRoute()
  const search = query.search ?? ''
  const order = query.order ?? ''
  const offset = Number(query.offset ?? 0)
  const { data, error } = useView<Connections>('connections', { search, order, offset })
  return (
    <>
      <h1>Connections</h1>
      <div className="tools">
        <Search
          label="Search user, address or id"
          value={search}
          onChange={(value) => replaceQuery('connections', { search: value, order })}
        />
        <label className="order">
          <span className="hidden">Order</span>
          <select
            className="field"
            value={order}
            onChange={(event) => replaceQuery('connections', { search, order: event.target.value })}
          >
            <option value="">Newest first</option>
            <option value="waiting">Most bytes waiting first</option>
          </select>
        </label>
        <Pager
          total={data?.total}
          offset={offset}
          onMove={(next) => replaceQuery('connections', { search, order, offset: next })}
        />
      </div>
      <Failure error={error} />
      <ConnectionTable
        caption="Connections"
        rows={data?.rows}
        nodes={data?.nodes}
        empty={search ? 'No connection matches.' : 'Nobody is connected.'}
      />
    </>
  )
}
