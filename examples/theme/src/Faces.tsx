import type { Member } from 'aerostack-realtime'
import { useAuth } from 'aerostack-realtime/react'
import { Face } from './Face.tsx'

/** The present members by name; `note` may say something about a member. */
export function Faces<S extends { name: string }>(props: {
  label: string
  members: readonly Member<S>[]
  note?: (member: Member<S>) => string | undefined
}) {
  const { label, members, note } = props
  const { user } = useAuth()
  return (
    <ul className="faces" aria-label={label}>
      {members.map((member) => (
        <li key={member.userId}>
          <Face userId={member.userId} name={member.state.name} />
          <span>
            {member.state.name}
            {member.userId === user.id && ' (you)'}
            {note?.(member) && <span className="label"> {note(member)}</span>}
          </span>
        </li>
      ))}
    </ul>
  )
}
