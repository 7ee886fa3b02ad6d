import { Frame } from '@examples/theme'
import { useState } from 'react'
import './chat.css'
import { Room } from './Room.tsx'

const ROOMS = ['general', 'support', 'random']

export function Chat() {
  const [room, setRoom] = useState(ROOMS.find((name) => location.hash === `#${name}`) ?? 'general')
  const enter = (name: string) => {
    history.replaceState(null, '', `#${name}`)
    setRoom(name)
  }
  return (
    <Frame title="Chat">
      <div className="chat">
        <nav className="choices" aria-label="Rooms">
          {ROOMS.map((name) => (
            <button
              key={name}
              type="button"
              className="choice"
              aria-current={name === room}
              onClick={() => enter(name)}
            >
              <span className="mono" aria-hidden="true">
                #
              </span>{' '}
              {name}
            </button>
          ))}
        </nav>
        <Room key={room} room={room} />
      </div>
    </Frame>
  )
}
