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
  useSyncExternalStore,
} from 'react'
import { anonymous, type User, userOf } from './auth.js'

/** Properties of `AerostackProvider`. Those without a comment are options of `createClient`. */
export interface AerostackProviderProps {
  children?: ReactNode
  /** Use this client, which the app configures and connects. Otherwise the provider creates one. */
  client?: Client
  url?: ClientOptions['url']
  baseUrl?: ClientOptions['baseUrl']
  projectId?: string
  apiKey?: string
  /** The id of an anonymous user. Default: a random one, for as long as the page lives. */
  userId?: string
  token?: string | null
  getToken?: ClientOptions['getToken']
  /** The user, for apps without tokens. Default: the claims of the token. */
  user?: User
  maxReconnectAttempts?: number
  onError?: ClientOptions['onError']
  /** All other options of `createClient`. They are read once. */
  options?: ClientOptions
}

/** What `useAuth` returns. */
export interface Auth {
  /** The signed-in user, or an anonymous one: never null. */
  user: User
  /** The token in use. */
  token: string | null
  signIn(token: string): void
  signOut(): void
}

interface Context {
  client: Client
  auth: Auth
}

const AerostackContext = createContext<Context | null>(null)

/** Provides a client to the components below it, connected while it is mounted. */
export function AerostackProvider(props: AerostackProviderProps): ReactNode {
  const { children, token: given } = props
  const [made] = useState(() => `anonymous-${Math.random().toString(36).slice(2, 12)}`)
  const guest = props.userId ?? made
  const [token, setToken] = useState(given ?? props.client?.token ?? null)
  const hydrated = useHydrated()
  const user = useUser(props.user, token, props.userId ?? (hydrated ? made : 'anonymous'))
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

const NEVER_CHANGES = () => () => {}

/** False on a server and while its HTML is hydrated, when nothing random may be rendered; true afterwards. */
function useHydrated(): boolean {
  return useSyncExternalStore(
    NEVER_CHANGES,
    () => true,
    () => false,
  )
}

function useUser(given: User | undefined, token: string | null, guest: string): User {
  const json = JSON.stringify(given) // one object per content, so that effects may depend on it
  return useMemo(
    () => (json ? JSON.parse(json) : ((token && userOf(token)) ?? anonymous(guest))),
    [json, token, guest],
  )
}

/** The client for these properties; a new one only when the server, project, key or user changes. */
function useClient(
  props: AerostackProviderProps,
  guest: string,
  onToken: (token: string | null) => void,
): Client {
  const { client, url = props.baseUrl, projectId, apiKey, user, maxReconnectAttempts } = props
  const addresses = JSON.stringify(url)
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
    if (maxReconnectAttempts !== undefined) options.maxReconnectAttempts = maxReconnectAttempts
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
  }, [client, addresses, projectId, apiKey, userId, renewable, maxReconnectAttempts])
}

const holders = new WeakMap<Client, number>()

/** Keep `client` connected until released. A release and a new hold within one tick (StrictMode) change nothing. */
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

/** The client. `realtime`, `sdk` and `sdk.realtime` are the same object. */
export function useAerostack(): { realtime: Client; sdk: Client; projectId: string } {
  const { client } = useProvided('useAerostack')
  return useMemo(() => ({ realtime: client, sdk: client, projectId: client.projectId }), [client])
}

/** The signed-in user and token. */
export function useAuth(): Auth {
  return useProvided('useAuth').auth
}
