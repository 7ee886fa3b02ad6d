import { type ComponentType, useEffect, useRef } from 'react'
import { type About, post, reportSignedOut } from './api.ts'
import { OperatorContext } from './operator.ts'
import { ChannelPage } from './pages/Channel.tsx'
import { ChannelsPage } from './pages/Channels.tsx'
import { ConnectionPage } from './pages/Connection.tsx'
import { ConnectionsPage } from './pages/Connections.tsx'
import { ExplainPage } from './pages/Explain.tsx'
import { LogPage } from './pages/Log.tsx'
import { OverviewPage } from './pages/Overview.tsx'
import { RulesPage } from './pages/Rules.tsx'
import { StreamsPage } from './pages/Streams.tsx'
import { TablesPage } from './pages/Tables.tsx'
import { Mark } from './parts/Mark.tsx'
import { Status } from './parts/Status.tsx'
import { to, useRoute } from './route.ts'

const PAGES: { page: string; name: string; of?: string[] }[] = [
  { page: 'overview', name: 'Overview' },
  { page: 'channels', name: 'Channels', of: ['channel'] },
  { page: 'connections', name: 'Connections', of: ['connection'] },
  { page: 'tables', name: 'Tables' },
  { page: 'streams', name: 'Streams' },
  { page: 'rules', name: 'Rules' },
  { page: 'explain', name: 'Explain' },
  { page: 'log', name: 'Logs' },
]

const COMPONENTS: Record<string, ComponentType> = {
  overview: OverviewPage,
  channels: ChannelsPage,
  channel: ChannelPage,
  connections: ConnectionsPage,
  connection: ConnectionPage,
  tables: TablesPage,
  streams: StreamsPage,
  rules: RulesPage,
  explain: ExplainPage,
  log: LogPage,
}

/** The frame of every page: where one is, who one is, and whether the data is live. */
export function Shell({ about }: { about: About }) {
  const { page } = useRoute()
  const Page = COMPONENTS[page] ?? OverviewPage
  const here = PAGES.find((each) => each.page === page || each.of?.includes(page)) ?? PAGES[0]
  const main = useRef<HTMLElement>(null)
  const pages = useRef<HTMLElement>(null)
  const first = useRef(true)
  useEffect(() => {
    document.title = `${here?.name} · Console · Aerostack`
    // After a step within the console the reading position is the new page, also for a screen reader.
    if (!first.current) main.current?.focus({ preventScroll: true })
    first.current = false
    pages.current?.querySelector('[aria-current]')?.scrollIntoView({ block: 'nearest', inline: 'center' })
  }, [here])
  useEffect(() => {
    function search(event: KeyboardEvent) {
      const field = document.querySelector<HTMLInputElement>('input[type=search]')
      const typing = event.target instanceof HTMLElement && event.target.matches('input, textarea, select')
      if (event.key !== '/' || typing || !field || event.ctrlKey || event.metaKey || event.altKey) return
      event.preventDefault()
      field.focus()
    }
    addEventListener('keydown', search)
    return () => removeEventListener('keydown', search)
  }, [])
  return (
    <OperatorContext value={about.operator}>
      <button className="skip button" type="button" onClick={() => main.current?.focus()}>
        To the content
      </button>
      <header className="bar">
        <a className="brand" href={to('overview')}>
          <Mark />
          <span>Console</span>
        </a>
        <span className="label project">{about.project}</span>
        <Status />
        <span className="who">
          <span className="hidden">Signed in as </span>
          {about.operator?.name}
          {about.operator?.rights === 'read' && <span className="label"> read-only</span>}
        </span>
        <button
          className="button small"
          type="button"
          onClick={() => post('sign-out').finally(reportSignedOut)}
        >
          Sign out
        </button>
      </header>
      <nav ref={pages} className="pages" aria-label="Pages">
        {PAGES.map((each) => (
          <a
            key={each.page}
            className="choice"
            href={to(each.page)}
            aria-current={each === here ? 'page' : undefined}
          >
            {each.name}
          </a>
        ))}
      </nav>
      <main ref={main} id="main" tabIndex={-1}>
        <Page />
      </main>
    </OperatorContext>
  )
}
