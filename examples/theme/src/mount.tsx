import { AerostackProvider, type User } from 'aerostack-realtime/react'
import { type ReactNode, StrictMode } from 'react'
import { createRoot } from 'react-dom/client'
import '../theme.css'
import { currentPerson } from './person.ts'

/**
 * Put `app` on the page, connected to the server that the page came from. Where rules depend on the user, `tokenOf`
 * gets the token that proves who it is.
 */
export function mount(app: ReactNode, tokenOf?: (user: User) => Promise<string>): void {
  const root = document.getElementById('root')
  if (!root) throw new Error('index.html has no element with the id "root".')
  const person = currentPerson()
  createRoot(root).render(
    <StrictMode>
      <AerostackProvider
        user={person}
        projectId={projectOfServer()}
        getToken={tokenOf && (() => tokenOf(person))}
      >
        {app}
      </AerostackProvider>
    </StrictMode>,
  )
}

/** The server writes its project into the page. */
function projectOfServer(): string {
  return document.querySelector<HTMLMetaElement>('meta[name=aerostack-project]')?.content ?? 'default'
}
