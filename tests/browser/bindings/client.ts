/** What the pages of this directory share: the document `?topic=` on `?server=`, edited by `?as=`. */
import { createClient } from 'aerostack-realtime'
import { AerostackProvider } from 'aerostack-realtime/yjs'
import type * as Y from 'yjs'

const parameters = new URL(location.href).searchParams
export const NAME = parameters.get('as') ?? ''
const TOPIC = parameters.get('topic') ?? ''
const url = parameters.get('server') ?? ''

/** A provider for a document, which does not connect yet. `#status` shows when it has what the server has. */
export function provide(doc: Y.Doc): AerostackProvider {
  const status = document.querySelector('#status') as HTMLOutputElement
  const realtime = createClient({ url, userId: NAME })
  const provider = new AerostackProvider(realtime, TOPIC, doc, { connect: false })
  provider.on('synced', (synced) => {
    status.value = synced ? 'synced' : 'not synced'
  })
  return provider
}
