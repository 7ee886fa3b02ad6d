import { useAuth } from 'aerostack-realtime/react'
import { type ReactNode, useState } from 'react'
import { Face } from './Face.tsx'
import './frame.css'
import { Mark } from './Mark.tsx'
import { Notice } from './Notice.tsx'
import { addressForAnother } from './person.ts'
import { Status } from './Status.tsx'

/** What every page has: where it belongs, whether it is connected, and who is looking. */
export function Frame({ title, children }: { title: string; children: ReactNode }) {
  const { user } = useAuth()
  const [another] = useState(() => addressForAnother(user.name))
  return (
    <>
      <header className="masthead">
        <a className="home" href="/">
          <Mark />
          <span className="wordmark">Aerostack</span>
          <span className="hidden">, all examples</span>
        </a>
        <h1>{title}</h1>
        <div className="right">
          <a className="invite" href={another} target="_blank" rel="noreferrer">
            Join as somebody else
          </a>
          <Status />
          <span className="self">
            <Face userId={user.id} name={user.name} />
            <span>
              <span className="hidden">You are </span>
              {user.name}
            </span>
          </span>
        </div>
      </header>
      <Notice />
      {children}
    </>
  )
}
