import type { ReactNode } from 'react'

export interface Column<Row> {
  name: string
  cell(row: Row): ReactNode
  /** Numbers stand on the right. */
  number?: boolean
}

interface Props<Row> {
  /** What the table lists, for a screen reader. */
  caption: string
  columns: Column<Row>[]
  rows: Row[] | undefined
  id(row: Row): string
  /** What is said when there are no rows. */
  empty: ReactNode
}

/** A table of rows; on a phone each row is a card, with the names of the columns beside the values. */
export function Listing<Row>({ caption, columns, rows, id, empty }: Props<Row>) {
  if (rows && !rows.length) return <p className="empty panel">{empty}</p>
  return (
    <div className="panel listing" aria-busy={!rows}>
      <table>
        <caption className="hidden">{caption}</caption>
        <thead>
          <tr>
            {columns.map((each) => (
              <th key={each.name} scope="col" className={each.number ? 'number' : undefined}>
                {each.name}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows?.map((row) => (
            <tr key={id(row)}>
              {columns.map((each) => (
                <td key={each.name} data-name={each.name} className={each.number ? 'number' : undefined}>
                  <div>{each.cell(row)}</div>
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  )
}
