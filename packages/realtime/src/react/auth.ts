/** The signed-in user as the token describes it. Only the server can verify a token. */
export interface User {
  id: string
  name: string
  /** True when nobody is signed in. The id then lasts as long as the page. */
  anonymous?: boolean
  // biome-ignore lint/suspicious/noExplicitAny: the other claims of the token
  [claim: string]: any
}

/** The user of a JWT, with all its claims; undefined when it is not a JWT or has no `sub`. */
export function userOf(token: string): User | undefined {
  try {
    const base64 = (token.split('.')[1] ?? '').replace(/-/g, '+').replace(/_/g, '/')
    const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0))
    const claims = JSON.parse(new TextDecoder().decode(bytes))
    if (typeof claims.sub !== 'string') return undefined
    const name = claims.name ?? claims.preferred_username ?? claims.email ?? claims.sub
    return { ...claims, id: claims.sub, name }
  } catch {
    return undefined
  }
}

/** The user when nobody is signed in, so that code that needs `user.id` works anyway. */
export function anonymous(id: string): User {
  return { id, name: 'Anonymous', anonymous: true }
}
