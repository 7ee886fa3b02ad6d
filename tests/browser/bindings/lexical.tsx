/** Lexical with its own plugin of collaboration. */
import { LexicalCollaboration } from '@lexical/react/LexicalCollaborationContext'
import { CollaborationPlugin } from '@lexical/react/LexicalCollaborationPlugin'
import { LexicalComposer } from '@lexical/react/LexicalComposer'
import { ContentEditable } from '@lexical/react/LexicalContentEditable'
import { LexicalErrorBoundary } from '@lexical/react/LexicalErrorBoundary'
import { PlainTextPlugin } from '@lexical/react/LexicalPlainTextPlugin'
import type { Provider } from '@lexical/yjs'
import { createRoot } from 'react-dom/client'
import * as Y from 'yjs'
import { NAME, provide } from './client.ts'

function start(id: string, documents: Map<string, Y.Doc>): Provider {
  const doc = new Y.Doc()
  documents.set(id, doc)
  return provide(doc) as unknown as Provider // its types know the awareness of Lexical’s own states only
}

function fail(error: Error): never {
  throw error
}

const config = { namespace: 'test', editorState: null, onError: fail } // the document is the state
createRoot(document.querySelector('#editor') as HTMLElement).render(
  <LexicalCollaboration>
    <LexicalComposer initialConfig={config}>
      <PlainTextPlugin
        contentEditable={<ContentEditable aria-label="Text" />}
        ErrorBoundary={LexicalErrorBoundary}
      />
      <CollaborationPlugin
        id="lexical"
        providerFactory={start}
        shouldBootstrap={NAME === 'Amelia'}
        username={NAME}
      />
    </LexicalComposer>
  </LexicalCollaboration>,
)
