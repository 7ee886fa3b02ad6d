/**
 * Next.js with Aerostack Realtime: server actions write rows, send events and issue tokens; the page subscribes.
 *
 *     npm install
 *     aerostack dev --db shop.db
 *     npm run dev
 *
 * Open http://127.0.0.1:3000 and press the button: the row and the event arrive in every open page.
 */
import { createServer } from 'aerostack-realtime/server'
import { SignJWT } from 'jose'
import { connection } from 'next/server'
import { Shop } from './shop'

const URL = process.env.AEROSTACK_URL ?? 'http://127.0.0.1:8787'
const SECRET_KEY = process.env.AEROSTACK_SECRET_KEY ?? 'ac_secret_dev'
const TOKEN_SECRET = process.env.AEROSTACK_TOKEN_SECRET ?? 'aerostack-dev-token-secret-for-loopback-only'
const TABLE = 'CREATE TABLE IF NOT EXISTS orders (id INTEGER PRIMARY KEY, customer TEXT, item TEXT)'

const sdk = createServer({ url: URL, secretKey: SECRET_KEY })

/** Your own sign-in says who this is. */
async function currentUser(): Promise<string> {
  return 'alice'
}

/** Proves to the realtime server, for 15 minutes, who the user is. */
async function getToken(): Promise<string> {
  'use server'
  const token = new SignJWT({ sub: await currentUser() }).setProtectedHeader({ alg: 'HS256' })
  return token.setIssuedAt().setExpirationTime('15m').sign(new TextEncoder().encode(TOKEN_SECRET))
}

async function order(item: string): Promise<void> {
  'use server'
  const user = await currentUser()
  // Subscribers of the table are notified automatically.
  await sdk.db.query('INSERT INTO orders (customer, item) VALUES (?, ?)', [user, item])
  await sdk.socket.emit('shipped', { item }, `notifications/${user}`, { persist: true })
}

export default async function Page() {
  await connection() // the table is created when somebody asks for the page, not when it is built
  await sdk.db.query(TABLE)
  return <Shop url={URL} user={await currentUser()} getToken={getToken} order={order} />
}
