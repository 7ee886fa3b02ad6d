import { mount } from '@examples/theme'
import { Support } from './Support.tsx'

mount(<Support />)
