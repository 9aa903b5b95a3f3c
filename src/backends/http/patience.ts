/**
 * How long a store behind a server is waited for.
 *
 * A cloud's service is always there; a server is one process, and comes back a few seconds after it was restarted. A
 * save of an hour is not to be lost to that: what it has sent has survived, as uploads do.
 *
 * @module
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import type { StoreError } from "../../error.ts"
import type { PolicyOptions, RetrySchedule } from "../../policy.ts"

/** The longest `Retry-After` that is honoured in full, in milliseconds. */
const maxRetryAfter = 60_000

/**
 * More attempts for 30 s after the first failure: after 0.1 s, 0.2 s, 0.4 s … 2 s, each ± 20 %, but never sooner than the
 * server asked with `Retry-After` (up to 60 s).
 */
export const patientRetry: RetrySchedule = Schedule.min([
  Schedule.exponential("100 millis", 2),
  Schedule.spaced("2 seconds"),
]).pipe(
  Schedule.jittered,
  Schedule.setInputType<StoreError>(),
  Schedule.modifyDelay(({ duration, input }) =>
    Effect.succeed(Duration.max(duration, Duration.millis(Math.min(input.retryAfter ?? 0, maxRetryAfter))))
  ),
  Schedule.upTo({ duration: "30 seconds" }),
)

/** The policy of a store behind a server, where `given` does not say otherwise. */
export const patientPolicy = (given: PolicyOptions | undefined): PolicyOptions => ({ retry: patientRetry, ...given })
