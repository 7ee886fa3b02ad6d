import type { AerostackError } from './errors.js'

/**
 * The promise of an answer. Ignoring it is safe: a rejection that nobody waits for is given to `unheard` and
 * never becomes an unhandled rejection.
 *
 * A class of its own because `await` on a native promise does not go through its `then`.
 */
export class Reply<T> implements Promise<T> {
  declare readonly [Symbol.toStringTag]: string
  readonly #promise: Promise<T>
  #heard = false
  declare resolve: (value: T) => void
  declare reject: (error: AerostackError) => void

  constructor(unheard: (error: AerostackError) => unknown) {
    this.#promise = new Promise<T>((resolve, reject) => {
      this.resolve = resolve
      this.reject = reject
    })
    this.#promise.catch(async (error) => {
      await null // an `await` of this reply calls `then` a microtask later
      await null
      if (!this.#heard) unheard(error)
    })
  }

  // biome-ignore lint/suspicious/noThenProperty: it is a promise
  then<A = T, B = never>(
    resolved?: ((value: T) => A | PromiseLike<A>) | null,
    rejected?: ((error: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    this.#heard = true
    return this.#promise.then(resolved, rejected)
  }

  catch<B = never>(rejected?: ((error: unknown) => B | PromiseLike<B>) | null): Promise<T | B> {
    return this.then(undefined, rejected)
  }

  finally(settled?: (() => void) | null): Promise<T> {
    return this.then().finally(settled)
  }
}
