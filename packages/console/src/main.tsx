import { StrictMode } from 'react'
import { createRoot } from 'react-dom/client'
import '../../../examples/theme/theme.css'
import { App } from './App.tsx'
import './console.css'

const root = document.getElementById('root')
if (!root) throw new Error('index.html has no element with the id "root".')
createRoot(root).render(
  <StrictMode>
    <App />
  </StrictMode>,
)
