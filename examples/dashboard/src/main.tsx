import { mount } from '@examples/theme'
import { Dashboard } from './Dashboard.tsx'

mount(<Dashboard />)
