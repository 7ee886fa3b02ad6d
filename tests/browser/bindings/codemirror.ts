/** CodeMirror 6 with y-codemirror.next, as its README shows it. */
import { EditorState } from '@codemirror/state'
import { EditorView } from '@codemirror/view'
import { yCollab } from 'y-codemirror.next'
import * as Y from 'yjs'
import { NAME, provide } from './client.ts'

const doc = new Y.Doc()
const text = doc.getText('codemirror')
const provider = provide(doc)
provider.awareness.setLocalStateField('user', { name: NAME, color: '#0c2a32' })
provider.once('synced', () => {
  const label = EditorView.contentAttributes.of({ 'aria-label': 'Text' })
  const state = EditorState.create({
    doc: text.toString(),
    extensions: [label, yCollab(text, provider.awareness)],
  })
  new EditorView({ state, parent: document.querySelector('#editor') as HTMLElement })
})
provider.connect()
