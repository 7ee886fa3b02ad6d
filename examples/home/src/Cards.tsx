import { AuctionGlyph, ChatGlyph, CursorsGlyph, DashboardGlyph, PlainGlyph, TodosGlyph } from './glyphs.tsx'

const EXAMPLES = [
  {
    name: 'Chat',
    path: 'chat/',
    shows: 'History, presence and typing. A message appears once the server has confirmed it.',
    Glyph: ChatGlyph,
  },
  {
    name: 'Todos',
    path: 'todos/',
    shows: 'The live rows of a table, and who is editing which row.',
    Glyph: TodosGlyph,
  },
  {
    name: 'Dashboard',
    path: 'dashboard/?simulate',
    shows: 'Published figures, and figures computed from live rows.',
    Glyph: DashboardGlyph,
  },
  {
    name: 'Cursors',
    path: 'cursors/',
    shows: 'Presence thirty times a second, without storage.',
    Glyph: CursorsGlyph,
  },
  {
    name: 'Auction',
    path: 'auction/',
    shows: 'Two bids at once: the database decides, and everyone sees one price.',
    Glyph: AuctionGlyph,
  },
  {
    name: 'Plain page',
    path: 'plain/',
    shows: 'One HTML file and one script, without npm.',
    Glyph: PlainGlyph,
  },
]

export function Cards() {
  return (
    <section aria-labelledby="examples">
      <h2 id="examples">Examples</h2>
      <ul className="cards">
        {EXAMPLES.map(({ name, path, shows, Glyph }) => (
          <li key={name} className="card panel">
            <Glyph />
            <h3>
              <a href={`/examples/${path}`}>{name}</a>
            </h3>
            <p>{shows}</p>
          </li>
        ))}
      </ul>
    </section>
  )
}
