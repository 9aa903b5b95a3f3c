/**
 * The service's time. A signature carries the time it was made, and services refuse one that is off by more than
 * about 15 minutes; a machine with a wrong clock learns the difference here from the first refusal, and every
 * attempt signed later is right.
 *
 * Only a refusal that can mean a wrong clock teaches, never a success, a 5xx or a reply from a cache, and never
 * more than a day: a time zone set wrong is 14 hours at most, and a signature for a far future date is something
 * a false server could keep and use.
 *
 * @module
 */

/** A reply that refused a signed request. */
export interface Refusal {
  /** HTTP status. */
  readonly status: number
  /** The service's error code, where the reply had one; the reply to a HEAD has none. */
  readonly code?: string | undefined
  /** The reply's headers; `date` and `age` are used. */
  readonly headers: Headers
}

/** Codes that say the time is wrong. */
const definite: ReadonlySet<string> = new Set(["RequestTimeTooSkewed", "RequestInTheFuture", "RequestExpired"])

/** Codes that a wrong time is one cause of. */
const possible: ReadonlySet<string> = new Set(["SignatureDoesNotMatch", "InvalidSignatureException", "AuthFailure"])

/** A difference in milliseconds below which a refusal has another cause; the AWS SDKs' figure. */
const noticeable = 4 * 60_000

/** The same where the service names the cause: twice the resolution of a `Date` header. */
const smallest = 2000

/** The most that is learnt, in milliseconds. */
const most = 24 * 3_600_000

/** As services write it. `Date.parse` alone would take almost anything. */
const httpDate = /^[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT$/

/** A clock that can be put right by what a service answers. Share one among all signers for a service. */
export class Clock {
  readonly #system: () => number
  #offset = 0

  /** `system` gives milliseconds since 1970. Default: `Date.now`. */
  constructor(system: () => number = Date.now) {
    this.#system = system
  }

  /** The service's time as far as it is known, in milliseconds since 1970. */
  now(): number {
    return this.#system() + this.#offset
  }

  /**
   * Learns from a refusal of a request signed at `signedAt` (what {@link Clock.now} gave then). `true` if the time
   * it was signed with was wrong and is known now, so the same request signed again has a chance. Also `true` for
   * each of many requests that were in flight when the first one taught the clock.
   */
  learn(refusal: Refusal, signedAt: number): boolean {
    const date = refusal.headers.get("date")
    if (date === null || !httpDate.test(date) || Number(refusal.headers.get("age") ?? 0) > 0) return false
    const sure = refusal.code !== undefined && definite.has(refusal.code)
    const suspect = refusal.code === undefined
      ? refusal.status === 401 || refusal.status === 403
      : possible.has(refusal.code)
    if (!sure && !suspect) return false
    const service = Date.parse(date)
    const offset = service - this.#system()
    // Also false where the date is no date.
    if (!(Math.abs(offset) <= most && Math.abs(service - signedAt) >= (sure ? smallest : noticeable))) return false
    this.#offset = offset
    return true
  }
}
