/**
 * When and how often a backend call happens: one `Backend → Backend` wrapper, outer to inner
 *
 *     span + metrics → circuit breaker → retry → permit → attempt timeout → backend call
 *
 * The order matters. The breaker sees one outcome per call, however often it was tried. A permit is held only
 * while an attempt runs: a call that waits out its backoff does not keep others from going on, and neither does
 * a body that is being read, so `copy` works with `concurrency: 1`. The timeout bounds an attempt, never a
 * body: bodies have an idle timeout in `object-store.ts`.
 *
 * Only failures that are `transient` are tried again. A failure that may have taken effect leaves its mark on
 * the final error (`ambiguous`), so that the engine can settle it by comparing write ids.
 *
 * @module
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Metric from "effect/Metric"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as Schedule from "effect/Schedule"
import * as Semaphore from "effect/Semaphore"
import * as Tracer from "effect/Tracer"
import type { Backend } from "./backend.ts"
import { StoreError } from "./error.ts"
import { PartPool } from "./streams/parts.ts"

/** How transient failures are tried again; its input is the failure of the attempt before. */
export type RetrySchedule = Schedule.Schedule<unknown, StoreError>

/** Options of {@link withPolicy}; every backend's layer takes them as `policy`. */
export interface PolicyOptions {
  /**
   * When a transient failure is tried again. Default {@link defaultRetry}. `"none"`: never. A schedule of your
   * own replaces timing and count; permanent failures are never tried again, and the retry budget still holds.
   */
  readonly retry?: RetrySchedule | "none" | undefined
  /**
   * Calls in flight at once, over all keys. Default 64: enough to hide a wide-area round trip for small
   * objects, few enough for one process's sockets and threads.
   */
  readonly concurrency?: number | undefined
  /**
   * Time for one attempt up to its answer; a body may take longer. Default 60 s: an 8 MiB part at 1.1 Mbit/s.
   */
  readonly attemptTimeout?: Duration.Input | undefined
  /**
   * After `failures` calls in a row have failed for want of an answer, fail at once for `cooldown`, then let a
   * single call through to see. Default 5 and 10 s. `"none"`: always try.
   */
  readonly breaker?: { readonly failures?: number; readonly cooldown?: Duration.Input } | "none" | undefined
}

/** A retry schedule for the calls made inside an effect, instead of the layer's. */
export const CurrentRetry: Context.Reference<RetrySchedule | "none" | undefined> = Context.Reference<
  RetrySchedule | "none" | undefined
>("@holdfast/holdfast/policy/CurrentRetry", { defaultValue: () => undefined })

/** First backoff. Source: the AWS SDKs' standard mode (100 ms base, 20 s cap). */
const baseDelay = 100
const maxDelay = 20_000
/** The longest `Retry-After` that is honoured in full. */
const maxRetryAfter = 60_000

/**
 * Up to four more attempts after 0–100 ms, 0–200 ms, 0–400 ms, 0–800 ms (full jitter, so that callers who failed
 * together do not come back together), but never sooner than the store asked with `Retry-After` (up to 60 s).
 */
export const defaultRetry: RetrySchedule = Schedule.fromStepWithMetadata(
  Effect.succeed(({ attempt, input }: Schedule.InputMetadata<StoreError>) =>
    attempt > 4 ? Cause.done(undefined) : Effect.map(Random.next, (random) => {
      const jittered = Math.min(baseDelay * 2 ** (attempt - 1), maxDelay) * random
      return [attempt, Duration.millis(Math.max(jittered, Math.min(input.retryAfter ?? 0, maxRetryAfter)))]
    })
  ),
)

/**
 * Makes an attempt, and others while they fail for a while only: as the schedule says, and `may` allows. Hardly any
 * call fails, so what a schedule costs is paid by those that do: it is started with their failure. (`Effect.retry`
 * does the same and more.)
 */
export const tryAgain = <A>(
  attempt: Effect.Effect<A, StoreError>,
  schedule: RetrySchedule,
  may: (error: StoreError) => boolean = () => true,
): Effect.Effect<A, StoreError> =>
  Effect.catch(attempt, (first) => {
    if (!first.transient) return Effect.fail(first)
    const bounded = Schedule.while(schedule, ({ input }) => Effect.sync(() => input.transient && may(input)))
    return Effect.flatMap(Schedule.toStepWithMetadata(bounded), (step) => {
      const next = (error: StoreError): Effect.Effect<A, StoreError> =>
        Effect.matchEffect(step(error), {
          onSuccess: () => Effect.catch(attempt, next),
          // The schedule has no more to say.
          onFailure: () => Effect.fail(error),
        })
      return next(first)
    })
  })

/**
 * What keeps an outage from being multiplied: a bucket of 500 tokens; a retry costs 5, after a timeout 10; a
 * first attempt that succeeds earns 1. Source: the AWS SDKs' standard mode.
 */
class RetryBudget {
  static readonly capacity = 500
  #tokens = RetryBudget.capacity

  spend(error: StoreError): boolean {
    const cost = error.reason === "Timeout" ? 10 : 5
    if (this.#tokens < cost) return false
    this.#tokens -= cost
    return true
  }

  earn(): void {
    if (this.#tokens < RetryBudget.capacity) this.#tokens++
  }
}

/** Opens after `failures` calls in a row without an answer; half open, it lets one call through. */
class Breaker {
  readonly #failures: number
  readonly #cooldown: number
  #inRow = 0
  #openUntil: number | undefined
  #probing = false

  constructor(failures: number, cooldown: number) {
    this.#failures = failures
    this.#cooldown = cooldown
  }

  /** Milliseconds until the next call may go through; 0: this one may, and must be followed by `record`. */
  admit(now: number): number {
    if (this.#openUntil === undefined) return 0
    if (now < this.#openUntil) return this.#openUntil - now
    if (this.#probing) return this.#cooldown
    this.#probing = true
    return 0
  }

  record(outcome: "answer" | "silence" | "interrupted", now: number): void {
    const probed = this.#probing
    this.#probing = false
    if (outcome === "answer") {
      this.#inRow = 0
      this.#openUntil = undefined
    } else if (outcome === "silence") {
      this.#inRow++
      if (probed || this.#inRow >= this.#failures) this.#openUntil = now + this.#cooldown
    }
  }

  get failures(): number {
    return this.#inRow
  }
}

/** What a series is told apart by. */
type Attributes = Readonly<Record<string, string>>

const requests = (attributes: Attributes) =>
  Metric.counter("holdfast_requests_total", {
    description: "Backend calls by backend, operation and outcome",
    incremental: true,
    attributes,
  })
const retries = (attributes: Attributes) =>
  Metric.counter("holdfast_retries_total", { description: "Attempts after the first", incremental: true, attributes })
const bytesMoved = (attributes: Attributes) =>
  Metric.counter("holdfast_bytes_total", {
    description: "Bytes given to put and putPart, and promised by get",
    incremental: true,
    attributes,
  })
/** From a millisecond on, fourfold up to 4 s. */
const boundaries = [0.001, 0.004, 0.016, 0.064, 0.256, 1.024, 4.096, Infinity]
const seconds = (attributes: Attributes) =>
  Metric.histogram("holdfast_request_seconds", {
    description: "Time of a backend call, its retries included",
    boundaries,
    attributes,
  })

/** The tracer where nobody has provided one: it makes spans that nobody will see. */
const unseen = Context.get(Context.empty(), Tracer.Tracer)
/** A stack taken here would name this file and nothing of the caller's. */
const noStack = { captureStackTrace: false } as const
const noAttributes: Readonly<Record<string, string>> = {}

/** A span around an effect, where there is a tracer to see it. */
export const traced =
  (name: string, attributes: Readonly<Record<string, string>>) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.contextWith((context: Context.Context<never>) =>
      Context.get(context, Tracer.Tracer) === unseen
        ? effect
        : (Effect.withSpan(effect, name, { attributes, ...noStack }) as Effect.Effect<A, E, R>)
    )

/** What a call is, as far as policy cares. */
interface Call {
  readonly operation: string
  readonly key?: string | undefined
  /** The call changes what is stored. */
  readonly mutates: boolean
  /** The buffer it sends. */
  readonly bytes?: Uint8Array | undefined
}

/**
 * Wraps a backend in retries, a breaker, permits, timeouts, spans and metrics. State (budget, breaker, permits)
 * belongs to the wrapper: wrap a backend once and share it.
 */
export const withPolicy = (backend: Backend, options: PolicyOptions = {}): Backend => {
  const layerRetry = options.retry ?? defaultRetry
  const permits = Semaphore.makeUnsafe(options.concurrency ?? 64)
  const attemptTimeout = Duration.fromInputUnsafe(options.attemptTimeout ?? "60 seconds")
  const budget = new RetryBudget()
  const breaker = options.breaker === "none" ? undefined : new Breaker(
    options.breaker?.failures ?? 5,
    Duration.toMillis(Duration.fromInputUnsafe(options.breaker?.cooldown ?? "10 seconds")),
  )

  const made = new Map<unknown, Map<string, Metric.Metric<number, unknown>>>()
  /** A metric of this backend; made once, since its key is costly to make. */
  const series = (
    metric: (attributes: Attributes) => Metric.Metric<number, unknown>,
    operation: string,
    outcome?: string,
  ): Metric.Metric<number, unknown> => {
    let known = made.get(metric)
    if (known === undefined) made.set(metric, known = new Map())
    const name = outcome === undefined ? operation : `${operation} ${outcome}`
    let one = known.get(name)
    if (one === undefined) {
      const attributes = { backend: backend.name, operation }
      one = metric(outcome === undefined ? attributes : { ...attributes, outcome })
      known.set(name, one)
    }
    return one
  }

  const guard = <A>(call: Call, effect: Effect.Effect<A, StoreError>): Effect.Effect<A, StoreError> =>
    Effect.suspend(() => {
      let attempts = 0
      let ambiguous = false
      const { operation, key } = call

      const attempt = Effect.suspend(() => {
        attempts++
        return effect
      }).pipe(
        Effect.timeoutOrElse({
          duration: attemptTimeout,
          orElse: () =>
            Effect.fail(
              new StoreError({
                reason: "Timeout",
                detail: `no answer within ${Duration.toMillis(attemptTimeout) / 1000} s`,
                backend: backend.name,
                operation,
                key,
              }),
            ),
        }),
        Semaphore.withPermits(permits, 1),
        Effect.onExit((exit) => {
          if (Exit.isSuccess(exit)) return Effect.void
          const failure = Option.getOrUndefined(Cause.findErrorOption(exit.cause))
          // Whoever did not answer in full may still be reading the buffer.
          if (call.bytes !== undefined) PartPool.abandon(call.bytes)
          if (call.mutates && (failure === undefined || failure.ambiguous)) ambiguous = true
          return Effect.void
        }),
        traced(`holdfast.${operation}.attempt`, noAttributes),
      )

      const retried = Effect.flatMap(CurrentRetry, (callRetry) => {
        const schedule = callRetry ?? layerRetry
        if (schedule === "none") return attempt
        return tryAgain(attempt, schedule, (error) => budget.spend(error))
      })

      const run = Effect.mapError(retried, (error) => error.with({ attempts, ambiguous }))

      const measured = Effect.flatMap(Clock.currentTimeMillis, (started) => {
        const wait = breaker?.admit(started) ?? 0
        if (wait > 0) {
          return Effect.fail(
            new StoreError({
              reason: "Unavailable",
              detail: `the store failed to answer ${breaker!.failures} calls in a row; not trying again yet`,
              hint: `wait ${Math.ceil(wait / 1000)} s; then one call is let through to see`,
              backend: backend.name,
              operation,
              key,
              ambiguous: false,
              attempts: 0,
              retryAfter: wait,
            }),
          )
        }
        return Effect.onExit(run, (exit) =>
          Effect.flatMap(Clock.currentTimeMillis, (now) => {
            const failure = Exit.isSuccess(exit) ? undefined : Option.getOrUndefined(Cause.findErrorOption(exit.cause))
            const interrupted = !Exit.isSuccess(exit) && failure === undefined
            const silence = failure?.reason === "Unavailable" || failure?.reason === "Timeout"
            breaker?.record(interrupted ? "interrupted" : silence && failure.transient ? "silence" : "answer", now)
            if (Exit.isSuccess(exit) && attempts === 1) budget.earn()
            const outcome = Exit.isSuccess(exit) ? "ok" : failure?.reason ?? "interrupted"
            return Effect.contextWith((context: Context.Context<never>) => {
              series(requests, operation, outcome).updateUnsafe(1, context)
              series(seconds, operation).updateUnsafe((now - started) / 1000, context)
              if (attempts > 1) series(retries, operation).updateUnsafe(attempts - 1, context)
              return Effect.void
            })
          }))
      })

      return measured.pipe(
        traced(`holdfast.${operation}`, key === undefined ? { backend: backend.name } : { backend: backend.name, key }),
      )
    })

  const count = (operation: string, bytes: number): Effect.Effect<void> =>
    Metric.update(series(bytesMoved, operation), bytes)

  const read = <A>(operation: string, key: string | undefined, effect: Effect.Effect<A, StoreError>) =>
    guard({ operation, key, mutates: false }, effect)
  const write = <A>(operation: string, key: string | undefined, effect: Effect.Effect<A, StoreError>) =>
    guard({ operation, key, mutates: true }, effect)

  return {
    name: backend.name,
    capabilities: backend.capabilities,
    stat: (key, o) => read("stat", key, backend.stat(key, o)),
    get: (key, o) => Effect.tap(read("get", key, backend.get(key, o)), (got) => count("get", got.length)),
    put: (key, bytes, o) =>
      Effect.tap(
        guard({ operation: "put", key, mutates: true, bytes }, backend.put(key, bytes, o)),
        () => count("put", bytes.length),
      ),
    list: (o) => read("list", o?.prefix, backend.list(o)),
    remove: (key, o) => write("remove", key, backend.remove(key, o)),
    removeMany: (keys) => write("removeMany", undefined, backend.removeMany(keys)),
    createUpload: (key, head) => write("createUpload", key, backend.createUpload(key, head)),
    putPart: (upload, part, bytes) =>
      Effect.tap(
        guard({ operation: "putPart", key: upload.key, mutates: true, bytes }, backend.putPart(upload, part, bytes)),
        () => count("putPart", bytes.length),
      ),
    completeUpload: (upload, parts, o) => write("completeUpload", upload.key, backend.completeUpload(upload, parts, o)),
    abortUpload: (upload) => write("abortUpload", upload.key, backend.abortUpload(upload)),
    copy: backend.copy && ((from, to, o) => write("copy", to, backend.copy!(from, to, o))),
    move: backend.move && ((from, to, o) => write("move", to, backend.move!(from, to, o))),
    copyPart: backend.copyPart &&
      ((upload, part, source) => write("copyPart", upload.key, backend.copyPart!(upload, part, source))),
    listUploads: backend.listUploads && ((o) => read("listUploads", o?.prefix, backend.listUploads!(o))),
    listParts: backend.listParts && ((upload) => read("listParts", upload.key, backend.listParts!(upload))),
    listVersions: backend.listVersions && ((o) => read("listVersions", o?.prefix, backend.listVersions!(o))),
    presign: backend.presign && ((method, key, o) => read("presign", key, backend.presign!(method, key, o))),
  }
}
