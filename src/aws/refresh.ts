/**
 * Credentials that are fetched once, served to everyone, and renewed before they end.
 *
 * One call of the provider is in flight at a time, whatever the number of callers, and it belongs to none of them:
 * a caller that gives up leaves the others waiting for the same answer. While the old credentials are still valid
 * nobody waits for new ones, and a renewal that fails is not an error.
 *
 * @module
 */
import { StoreError } from "../error.ts"
import { type Credentials, credentialsOf, type CredentialsProvider } from "./credentials.ts"

/** Milliseconds before their end at which credentials are renewed; the AWS SDKs' figure. */
const early = 5 * 60_000

/** Up to this many milliseconds earlier, by chance, so that a fleet started together does not renew together. */
const jitter = 60_000

/** Least milliseconds between two renewals that are not asked for. */
const pause = 60_000

/** Milliseconds before credentials' end from which a caller waits for new ones rather than use the old. */
const last = 10_000

/** Milliseconds after which a call of the provider is given up; a provider may ask its user for something. */
const defaultTimeout = 60_000

/** How credentials are renewed. */
export interface RefreshOptions {
  /** The time in milliseconds since 1970. Default: `Date.now`. A signer passes its own clock. */
  readonly now?: (() => number) | undefined
  /** Chance, from 0 up to 1. Default: `Math.random`. */
  readonly random?: (() => number) | undefined
  /** Milliseconds after which one call of the provider has failed. Default 60,000. */
  readonly timeout?: number | undefined
}

/** Credentials, and until when they serve. */
interface Held {
  readonly credentials: Credentials
  /** When to look for new ones. */
  readonly renewAt: number
  /** When they are of no use any more. */
  readonly endsAt: number
}

/** The provider's error, which may be one of its own kind. */
const failure = (cause: unknown): StoreError =>
  StoreError.is(cause) ? cause : new StoreError({
    reason: "Unauthorized",
    detail: "the credentials provider failed",
    operation: "authenticate",
    hint: "the cause holds the provider's own error",
    cause,
  })

/** A source of credentials that are always fresh. Made by {@link refreshing}. */
export class Refreshing {
  readonly #provider: CredentialsProvider
  readonly #now: () => number
  readonly #random: () => number
  readonly #timeout: number
  #held: Held | undefined
  #pending: Promise<Credentials> | undefined
  /** After a failed renewal: when to try again. */
  #notBefore = 0

  /** See {@link refreshing}. */
  constructor(provider: CredentialsProvider, options: RefreshOptions = {}) {
    this.#provider = provider
    this.#now = options.now ?? Date.now
    this.#random = options.random ?? Math.random
    this.#timeout = options.timeout ?? defaultTimeout
  }

  /** Valid credentials. Fails as the provider does, and only when there are none to fall back on. */
  async get(): Promise<Credentials> {
    const held = this.#held
    if (held === undefined) return await this.#renew()
    const now = this.#now()
    if (now < held.renewAt) return held.credentials
    if (now < held.endsAt - last) {
      // In the background, where a failure is nobody's: the next caller after a pause tries again.
      if (now >= this.#notBefore) this.#renew().catch(() => undefined)
      return held.credentials
    }
    try {
      return await this.#renew()
    } catch (error) {
      // What `#held` is now: it may have been refused, or replaced, while we waited.
      const old = this.#held
      if (old !== undefined && this.#now() < old.endsAt) return old.credentials
      throw error
    }
  }

  /**
   * Tells that the service refused `used`: they are not served again. Without effect where others have taken their
   * place already, because another caller was refused first.
   */
  invalidate(used: Credentials): void {
    if (this.#held?.credentials === used) this.#held = undefined
  }

  #renew(): Promise<Credentials> {
    return this.#pending ??= this.#ask().finally(() => {
      this.#pending = undefined
    })
  }

  async #ask(): Promise<Credentials> {
    try {
      const credentials = credentialsOf(await within(this.#timeout, this.#provider))
      this.#held = this.#hold(credentials)
      this.#notBefore = 0
      return credentials
    } catch (error) {
      this.#notBefore = this.#now() + pause
      throw failure(error)
    }
  }

  #hold(credentials: Credentials): Held {
    const ends = credentials.expiration?.getTime()
    if (ends === undefined) return { credentials, renewAt: Infinity, endsAt: Infinity }
    const now = this.#now()
    // Over on arrival: our clock is wrong, or the metadata service lives through an outage and says so. Either way
    // the service that is asked decides, and we look for better ones now and then.
    if (ends <= now) return { credentials, renewAt: now + pause, endsAt: Infinity }
    const soonest = Math.min(pause, (ends - now) / 2)
    const renewAt = now + Math.max(soonest, ends - now - early - this.#random() * jitter)
    return { credentials, renewAt, endsAt: ends }
  }
}

/** `run`, or a `Timeout` after `timeout` milliseconds, so that a provider that hangs does not hang everyone. */
const within = async <A>(timeout: number, run: () => Promise<A>): Promise<A> => {
  let timer: ReturnType<typeof setTimeout> | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      const detail = `the credentials provider did not answer within ${timeout} ms`
      reject(new StoreError({ reason: "Timeout", detail, operation: "authenticate", ambiguous: false }))
    }, timeout)
  })
  try {
    return await Promise.race([run(), late])
  } finally {
    clearTimeout(timer)
  }
}

/**
 * Makes a provider's credentials last: they are asked for once and kept, renewed 5 to 6 minutes before they end
 * while the old ones still serve, and asked for anew after {@link Refreshing.invalidate}.
 */
export const refreshing = (provider: CredentialsProvider, options?: RefreshOptions): Refreshing =>
  new Refreshing(provider, options)
