import { bytes, clock, count, seconds } from '../format.ts'
import { to } from '../route.ts'
import type { ConnectionRow, NodeNames } from '../views.ts'
import { type Column, Listing } from './Listing.tsx'

interface Props {
  caption: string
  rows: ConnectionRow[] | undefined
  empty: string
  /** With more than one node, the node of each is shown. */
  nodes?: NodeNames | undefined
}

export function ConnectionTable({ caption, rows, empty, nodes = {} }: Props) {
  const columns: Column<ConnectionRow>[] = [
    {
      name: 'User',
      cell: (each) => (
        <a href={to('connection', { id: each.id })}>{each.user ?? `${each.kind} ${each.id.slice(0, 6)}`}</a>
      ),
    },
    { name: 'Address', cell: (each) => each.address },
    { name: 'Since', cell: (each) => clock(each.at) },
    { name: 'Topics', number: true, cell: (each) => count(each.topics) },
    { name: 'Waiting', number: true, cell: (each) => bytes(each.waiting) },
    {
      name: 'Behind',
      number: true,
      cell: (each) =>
        each.behind || each.catchingUp ? <strong className="bad">{behind(each)}</strong> : '–',
    },
  ]
  if (Object.keys(nodes).length > 1)
    columns.splice(2, 0, { name: 'Node', cell: (each) => nodes[each.node] ?? each.node.slice(0, 8) })
  return <Listing caption={caption} rows={rows} id={(each) => each.id} empty={empty} columns={columns} />
}

/** For how long a connection has been too slow, where that is recorded. */
export function behind({ behind: since, catchingUp }: ConnectionRow): string {
  if (since) return seconds(Math.max(0, (Date.now() - since) / 1000))
  return catchingUp ? 'catching up' : 'no'
}
