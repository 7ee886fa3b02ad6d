const PICTURES = import.meta.glob<string>('../pictures/*.webp', {
  eager: true,
  query: '?url',
  import: 'default',
})

const EXAMPLES = [
  {
    name: 'Chat',
    path: 'chat/',
    shows: 'History, presence and typing. A message appears once the server has confirmed it.',
  },
  {
    name: 'Todos',
    path: 'todos/',
    shows: 'The live rows of a table, and who is editing which row.',
  },
  {
    name: 'Dashboard',
    path: 'dashboard/?simulate',
    shows: 'Published figures, and figures computed from live rows.',
  },
  {
    name: 'Cursors',
    path: 'cursors/',
    shows: 'Presence thirty times a second, without storage.',
  },
  {
    name: 'Auction',
    path: 'auction/',
    shows: 'Two bids at once: the database decides, and everyone sees one price.',
  },
  {
    name: 'Editor',
    path: 'editor/',
    shows: 'A document that several people write at once, with their cursors, also offline.',
  },
  {
    name: 'Support',
    path: 'support/',
    shows: 'A queue. Tickets go to agents who are here and free, each to one, also when two take it at once.',
  },
  {
    name: 'Notifications',
    path: 'notifications/',
    shows: 'A feed per user, with unread count and toast. A rule on the rows keeps feeds apart.',
  },
  {
    name: 'Game',
    path: 'game/',
    shows:
      'Positions twenty times a second, of which only the newest counts. The database decides who scores.',
  },
  {
    name: 'Plain page',
    path: 'plain/',
    shows: 'One HTML file and one script, without npm.',
  },
]

export function Cards() {
  return (
    <section aria-labelledby="examples">
      <h2 id="examples">Examples</h2>
      <ul className="cards">
        {EXAMPLES.map(({ name, path, shows }) => (
          <li key={name} className="card panel">
            <Picture of={path.replace(/\/.*/, '')} />
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

/** How a page looks, taken by `npm run screenshots`. The words beside it say what it is. */
function Picture({ of }: { of: string }) {
  return (
    <picture>
      <source srcSet={PICTURES[`../pictures/${of}-dark.webp`]} media="(prefers-color-scheme: dark)" />
      <img src={PICTURES[`../pictures/${of}-light.webp`]} alt="" width="640" height="400" loading="lazy" />
    </picture>
  )
}
