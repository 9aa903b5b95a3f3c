/**
 * The circuit breaker of PERSIST-003: around whole operations, retries included, and counted. (The one in `policy.ts` is
 * around single calls of a backend.)
 *
 * Closed, it lets everything through and counts the operations in a row that got no answer. At the threshold it opens,
 * and operations fail at once. After a while it is half open: one operation goes through to see; its success closes the
 * breaker, its failure opens it again.
 *
 * @module
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import { type Reason, StoreError } from "../error.ts"
import type { CheckpointMetrics } from "../stores/checkpoint-metrics.ts"

/** What says that the service, and not the caller, is in trouble. */
const silence: ReadonlySet<Reason> = new Set(["Unavailable", "Timeout", "RateLimited"])

/** Lets operations through, or not. */
export class CircuitBreaker {
  readonly #threshold: number
  readonly #timeout: number
  readonly #metrics: CheckpointMetrics
  #inRow = 0
  #openUntil: number | undefined
  #probing = false

  /** Opens after `threshold` failures in a row, for `timeout` milliseconds. */
  constructor(threshold: number, timeout: number, metrics: CheckpointMetrics) {
    this.#threshold = threshold
    this.#timeout = timeout
    this.#metrics = metrics
  }

  /** Runs an operation, or fails with `Unavailable`: "Circuit breaker is open". */
  guard<A>(effect: Effect.Effect<A, StoreError>): Effect.Effect<A, StoreError> {
    return Effect.flatMap(Clock.currentTimeMillis, (now) => {
      const probe = this.#openUntil !== undefined
      if (probe) {
        if (now < this.#openUntil! || this.#probing) return Effect.fail(this.#refusal(now))
        this.#probing = true
        this.#metrics.add("circuit_breaker_half_open")
      }
      return Effect.onExit(
        effect,
        (exit) => Effect.map(Clock.currentTimeMillis, (ended) => this.#record(exit, probe, ended)),
      )
    })
  }

  #refusal(now: number): StoreError {
    this.#metrics.add("circuit_breaker_rejections")
    return new StoreError({
      reason: "Unavailable",
      detail: "Circuit breaker is open",
      hint: "wait; after a while one call is let through to see whether the service answers again",
      ambiguous: false,
      attempts: 0,
      retryAfter: Math.max(0, (this.#openUntil ?? now) - now),
    })
  }

  #record(exit: Exit.Exit<unknown, StoreError>, probe: boolean, now: number): void {
    const error = Exit.isSuccess(exit) ? undefined : Option.getOrUndefined(Cause.findErrorOption(exit.cause))
    if (probe) this.#probing = false
    // An interrupted operation tells nothing.
    if (!Exit.isSuccess(exit) && error === undefined) return
    // One that was under way when the breaker opened changes nothing either.
    if (this.#openUntil !== undefined && !probe) return
    if (error !== undefined && silence.has(error.reason)) {
      if (++this.#inRow < this.#threshold && !probe) return
      this.#openUntil = now + this.#timeout
      this.#metrics.add("circuit_breaker_opened")
      return
    }
    this.#inRow = 0
    if (!probe) return
    this.#openUntil = undefined
    this.#metrics.add("circuit_breaker_closed")
  }
}
