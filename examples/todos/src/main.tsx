import { mount } from '@examples/theme'
import { Todos } from './Todos.tsx'

mount(<Todos />)
