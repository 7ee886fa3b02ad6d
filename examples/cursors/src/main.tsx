import { mount } from '@examples/theme'
import { Cursors } from './Cursors.tsx'

mount(<Cursors />)
