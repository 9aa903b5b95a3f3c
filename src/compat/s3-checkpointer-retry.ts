/**
 * The retries of PERSIST-003: delays that double up to a limit, each cut by up to a half at random, so that callers who
 * failed together do not come back together. What a service asks for with `Retry-After` is waited for up to the limit.
 *
 * @module
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as Schedule from "effect/Schedule"
import type { StoreError } from "../error.ts"
import type { RetrySchedule } from "../policy.ts"
import type { S3Config } from "./s3-checkpointer-config.ts"

/** The schedule that a configuration describes. */
export const retrySchedule = (
  { initial_retry_delay_ms, max_retry_delay_ms, max_retries }: Pick<
    S3Config,
    "initial_retry_delay_ms" | "max_retry_delay_ms" | "max_retries"
  >,
): RetrySchedule =>
  Schedule.exponential(Math.max(initial_retry_delay_ms, 1), 2).pipe(
    Schedule.setInputType<StoreError>(),
    Schedule.modifyDelay(({ duration, input }) =>
      Effect.map(Random.next, (random) => {
        const delay = Math.min(Duration.toMillis(duration), max_retry_delay_ms) * (1 - random / 2)
        return Duration.millis(Math.max(delay, Math.min(input.retryAfter ?? 0, max_retry_delay_ms)))
      })
    ),
    Schedule.upTo({ times: max_retries }),
  )
