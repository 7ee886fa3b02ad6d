import { mount } from '@examples/theme'
import { Home } from './Home.tsx'

mount(<Home />)
