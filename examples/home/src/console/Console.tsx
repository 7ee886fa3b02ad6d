import { Faces } from '@examples/theme'
import type { Member } from 'aerostack-realtime'
import './console.css'
import { useConsole } from './console.ts'
import { Log } from './Log.tsx'
import { PublishForm } from './PublishForm.tsx'
import { SubscribeForm } from './SubscribeForm.tsx'

export function Console() {
  const { topics, members, entries, subscribe, unsubscribe, publish, clear } = useConsole()
  const present = topics.filter((topic) => members.get(topic)?.length)
  return (
    <section aria-labelledby="console">
      <h2 id="console">Console</h2>
      <div className="console panel">
        <div className="controls">
          <SubscribeForm topics={topics} onSubscribe={subscribe} onUnsubscribe={unsubscribe} />
          <PublishForm topic={topics.find((topic) => topic.includes('/'))} onPublish={publish} />
          {present.map((topic) => (
            <div key={topic} className="present">
              <h3>
                Present on <span className="mono">{topic}</span>
              </h3>
              <Faces label={`Present on ${topic}`} members={named(members.get(topic))} />
            </div>
          ))}
        </div>
        <Log entries={entries} onClear={clear} />
      </div>
    </section>
  )
}

/** The console shows members of any app: those whose state has no name go by their id. */
function named(members: readonly Member[] = []): Member<{ name: string }>[] {
  return members.map((member) => ({
    ...member,
    state: { name: String(member.state?.name ?? member.userId) },
  }))
}
