import { mount } from '@examples/theme'
import { Chat } from './Chat.tsx'

mount(<Chat />)
