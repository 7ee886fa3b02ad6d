import type { AerostackError } from './errors.js'

/**
 * The promise of an answer. It is safe to ignore: a rejection that nobody handles goes to `unhandled` and never
 * becomes an unhandled rejection of the process.
 *
 * It is a class of its own because `await` on a native promise does not call its `then`.
 */
export class Reply<T> implements Promise<T> {
  declare readonly [Symbol.toStringTag]: string
  readonly #promise: Promise<T>
  #handled = false
  declare resolve: (value: T) => void
  declare reject: (error: AerostackError) => void

  constructor(unhandled: (error: AerostackError) => unknown) {
    this.#promise = new Promise<T>((resolve, reject) => {
      this.resolve = resolve
      this.reject = reject
    })
    this.#promise.catch(async (error) => {
      await null // an `await` of this reply calls `then` one microtask later
      await null
      if (!this.#handled) unhandled(error)
    })
  }

  // biome-ignore lint/suspicious/noThenProperty: it is a promise
  then<A = T, B = never>(
    resolved?: ((value: T) => A | PromiseLike<A>) | null,
    rejected?: ((error: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    this.#handled = true
    return this.#promise.then(resolved, rejected)
  }

  catch<B = never>(rejected?: ((error: unknown) => B | PromiseLike<B>) | null): Promise<T | B> {
    return this.then(undefined, rejected)
  }

  finally(settled?: (() => void) | null): Promise<T> {
    return this.then().finally(settled)
  }
}
