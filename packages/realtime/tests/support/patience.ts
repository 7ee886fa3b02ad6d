/** Import it where a test waits for what React shows: Testing Library's own second is too short on a busy machine. */
import { configure } from '@testing-library/dom'

configure({ asyncUtilTimeout: 60_000 })
