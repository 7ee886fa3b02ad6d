import { Frame } from '@examples/theme'
import { Cards } from './Cards.tsx'
import { Console } from './console/Console.tsx'
import './home.css'
import { Running } from './Running.tsx'
import { Snippets } from './Snippets.tsx'

export function Home() {
  return (
    <Frame title="Realtime">
      <main className="home-page">
        <Running />
        <Cards />
        <Console />
        <Snippets />
      </main>
    </Frame>
  )
}
