/** What a machine can check of accessibility, with people on the page; keyboards are used in the other files. */
import { expectAccessible, test } from './people.ts'
import { serverOfThisFile } from './server.ts'

const server = serverOfThisFile()
const PAGES = [
  '/',
  '/examples/chat/',
  '/examples/todos/',
  '/examples/dashboard/?simulate',
  '/examples/cursors/',
  '/examples/auction/',
  '/examples/support/',
  '/examples/notifications/',
  '/examples/game/',
  '/examples/editor/',
]

for (const path of PAGES)
  test(`${path} has labels, order and contrast, in the light and in the dark, and fits a phone`, async ({
    arrive,
  }) => {
    await server.publish('chat/general', 'message', { userId: 'otto', userName: 'Otto', text: 'Hello' })
    const { page } = await arrive(server, path, 'Amelia')
    await expectAccessible(page)
  })
