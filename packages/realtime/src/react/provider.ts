import { type Client, type ClientOptions, createClient } from 'aerostack-realtime'
import {
  createContext,
  createElement,
  type ReactNode,
  useContext,
  useEffect,
  useMemo,
  useRef,
  useState,
} from 'react'
import { anonymous, type User, userOf } from './auth.js'

export interface AerostackProviderProps {
  children?: ReactNode
  /** Use this client; the app connects and configures it. Otherwise one is made of the properties below. */
  client?: Client
  url?: string
  projectId?: string
  apiKey?: string
  /** Who an anonymous user is; else made up for as long as the page lives. */
  userId?: string
  token?: string | null
  getToken?: ClientOptions['getToken']
  /** Who the user is, for apps without tokens; else the token's claims say it. */
  user?: User
  onError?: ClientOptions['onError']
  /** Whatever else `createClient` takes; read once. */
  options?: ClientOptions
}

export interface Auth {
  /** The one signed in, or an anonymous user: never null, so `user.id` is always there. */
  user: User
  token: string | null
  signIn(token: string): void
  signOut(): void
}

interface Context {
  client: Client
  auth: Auth
}

const AerostackContext = createContext<Context | null>(null)

/** Gives the tree below it a client, connected while it is mounted. */
export function AerostackProvider(props: AerostackProviderProps): ReactNode {
  const { children, token: given } = props
  const [made] = useState(() => `anonymous-${Math.random().toString(36).slice(2, 12)}`)
  const guest = props.userId ?? made
  const [token, setToken] = useState(given ?? props.client?.token ?? null)
  const user = useUser(props.user, token, guest)
  const client = useClient(props, guest, setToken)

  useEffect(() => (given === undefined ? undefined : setToken(given)), [given])
  useEffect(() => client.setToken(token), [client, token])
  useEffect(() => (props.client ? undefined : hold(client)), [client, props.client])

  const auth = useMemo(
    () => ({ user, token, signIn: (token: string) => setToken(token), signOut: () => setToken(null) }),
    [user, token],
  )
  const context = useMemo(() => ({ client, auth }), [client, auth])
  return createElement(AerostackContext.Provider, { value: context }, children)
}

function useUser(given: User | undefined, token: string | null, guest: string): User {
  const written = JSON.stringify(given) // one object per content, so that effects may depend on it
  return useMemo(
    () => (written ? JSON.parse(written) : ((token && userOf(token)) ?? anonymous(guest))),
    [written, token, guest],
  )
}

/** The client of the properties; a new one only when the place or the key it connects with changes. */
function useClient(
  props: AerostackProviderProps,
  guest: string,
  onToken: (token: string | null) => void,
): Client {
  const { client, url, projectId, apiKey, user } = props
  const latest = useRef(props)
  useEffect(() => {
    latest.current = props
  })
  const userId = user?.id ?? guest
  const renewable = props.getToken !== undefined
  // biome-ignore lint/correctness/useExhaustiveDependencies: tokens and callbacks change without a new client
  return useMemo(() => {
    if (client) return client
    const options: ClientOptions = { ...props.options, token: props.token ?? null, userId }
    if (url) options.url = url
    if (projectId) options.projectId = projectId
    if (apiKey) options.apiKey = apiKey
    if (renewable)
      options.getToken = async () => {
        const token = (await latest.current.getToken?.()) ?? null
        onToken(token)
        return token
      }
    const made = createClient(options)
    if (props.onError) made.onError((error) => latest.current.onError?.(error))
    return made
  }, [client, url, projectId, apiKey, userId, renewable])
}

const holders = new WeakMap<Client, number>()

/** Keep `client` connected until released; StrictMode's release and return within a tick changes nothing. */
function hold(client: Client): () => void {
  holders.set(client, (holders.get(client) ?? 0) + 1)
  client.connect()
  return () => {
    holders.set(client, (holders.get(client) ?? 0) - 1)
    setTimeout(() => {
      if (!holders.get(client)) client.disconnect()
    })
  }
}

function useProvided(hook: string): Context {
  const context = useContext(AerostackContext)
  if (!context) throw new Error(`${hook} needs an <AerostackProvider> above it.`)
  return context
}

/** The client, by the two names it has: `realtime`, and `sdk` for code written against the whole SDK. */
export function useAerostack(): { realtime: Client; sdk: Client; projectId: string } {
  const { client } = useProvided('useAerostack')
  return useMemo(() => ({ realtime: client, sdk: client, projectId: client.projectId }), [client])
}

/** Who is signed in. */
export function useAuth(): Auth {
  return useProvided('useAuth').auth
}
