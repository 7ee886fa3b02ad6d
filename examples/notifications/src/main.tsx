import { tokenOf } from '@examples/backend'
import { mount } from '@examples/theme'
import { Notifications } from './Notifications.tsx'

mount(<Notifications />, tokenOf)
