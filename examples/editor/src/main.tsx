import { mount } from '@examples/theme'
import { EditorPage } from './EditorPage.tsx'

mount(<EditorPage />)
