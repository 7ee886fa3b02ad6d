/** Who is signed in, as far as a browser can tell: the claims of a token, which only the server can verify. */
export interface User {
  id: string
  name: string
  /** Nobody is signed in; the id lasts as long as the page. */
  anonymous?: boolean
  // biome-ignore lint/suspicious/noExplicitAny: the other claims of the token
  [claim: string]: any
}

/** The user a JWT speaks of, with all its claims; undefined when it is not a JWT or names no `sub`. */
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

/** A user for whoever has not signed in, so that code that names the user works before anybody did. */
export function anonymous(id: string): User {
  return { id, name: 'Anonymous', anonymous: true }
}
