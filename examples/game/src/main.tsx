import { mount } from '@examples/theme'
import { Game } from './Game.tsx'

mount(<Game />)
