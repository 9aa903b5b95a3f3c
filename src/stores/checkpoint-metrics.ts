/**
 * What a checkpoint store counts: the fourteen counters of PERSIST-003 under their names, and failures by reason.
 *
 * Counters belong to one object, not to the process, so two stores do not mix. Nothing here knows a thread or an id: in
 * a log line a key stands as `checkpoints/5d3a90c1/88ab20f4.json`, CRC-32s in place of names, so that lines about one
 * checkpoint can be found and name nobody.
 *
 * @module
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import { type Reason, StoreError } from "../error.ts"
import { type RetrySchedule, traced } from "../policy.ts"
import { crc32, formatCrc32 } from "../streams/crc32.ts"

/** The counters, as they stand at one moment. */
export interface CheckpointCounters {
  /** Saves begun. */
  readonly saves_total: number
  /** Saves that failed. */
  readonly saves_failed: number
  /** Loads begun. */
  readonly loads_total: number
  /** Loads that failed; that there is no such checkpoint is an answer and no failure. */
  readonly loads_failed: number
  /** Removals begun, one for each checkpoint or thread asked for. */
  readonly deletes_total: number
  /** Removals that failed. */
  readonly deletes_failed: number
  /** How often a circuit breaker opened. */
  readonly circuit_breaker_opened: number
  /** How often it closed again. */
  readonly circuit_breaker_closed: number
  /** How often it let a call through to see. */
  readonly circuit_breaker_half_open: number
  /** Calls it refused without a request. */
  readonly circuit_breaker_rejections: number
  /** Requests sent again; counted where the store's retry schedule is one of {@link CheckpointMetrics.counting}. */
  readonly retries_total: number
  /** Milliseconds waited before them. */
  readonly retry_delays_total_ms: number
  /** Milliseconds that saves, loads and removals took, retries included. */
  readonly operation_duration_ms: number
  /** Stored bytes of the checkpoints saved and loaded. */
  readonly bytes_transferred: number
}

type Writable = { -readonly [name in keyof CheckpointCounters]: number }

const help: { readonly [name in keyof CheckpointCounters]: string } = {
  saves_total: "Saves begun",
  saves_failed: "Saves that failed",
  loads_total: "Loads begun",
  loads_failed: "Loads that failed",
  deletes_total: "Removals begun",
  deletes_failed: "Removals that failed",
  circuit_breaker_opened: "Times that the circuit breaker opened",
  circuit_breaker_closed: "Times that the circuit breaker closed",
  circuit_breaker_half_open: "Times that the circuit breaker let a call through to see",
  circuit_breaker_rejections: "Calls that the circuit breaker refused",
  retries_total: "Requests sent again",
  retry_delays_total_ms: "Milliseconds waited before requests were sent again",
  operation_duration_ms: "Milliseconds that operations took",
  bytes_transferred: "Stored bytes of the checkpoints saved and loaded",
}

const names = Object.keys(help) as Array<keyof CheckpointCounters>

/** The attempts made for the operation that a fiber is in. */
const CurrentAttempts: Context.Reference<{ count: number } | undefined> = Context.Reference<
  { count: number } | undefined
>("@holdfast/holdfast/stores/CurrentAttempts", { defaultValue: () => undefined })

/** What is counted apart. */
export type CheckpointOperation = "save" | "load" | "delete"

const counters: Readonly<
  Record<CheckpointOperation, readonly [total: keyof CheckpointCounters, failed: keyof CheckpointCounters]>
> = {
  save: ["saves_total", "saves_failed"],
  load: ["loads_total", "loads_failed"],
  delete: ["deletes_total", "deletes_failed"],
}

/** A part of a key that names nobody: eight hex digits, the same for the same text. */
const scrubbed = (text: string): string => formatCrc32(crc32(new TextEncoder().encode(text)))

/**
 * Counts what checkpoint stores do. One may be shared by several stores.
 *
 * @example Counters as Prometheus reads them
 * ```ts
 * import { open } from "@holdfast/holdfast"
 * import { CheckpointStore } from "@holdfast/holdfast/checkpoints"
 *
 * await using store = await open("mem:")
 * const checkpoints = new CheckpointStore(store)
 * await checkpoints.save("thread-1", { step: 1 })
 * console.assert(checkpoints.metrics.counters().saves_total === 1)
 * console.assert(checkpoints.metrics.prometheus().includes("holdfast_checkpoint_saves_total 1"))
 * ```
 */
export class CheckpointMetrics {
  readonly #counters: Writable = Object.fromEntries(names.map((name) => [name, 0])) as Writable
  readonly #errors = new Map<Reason, number>()

  /** The fourteen counters now. */
  counters(): CheckpointCounters {
    return { ...this.#counters }
  }

  /** Failed operations by the reason of their failure; reasons that never came are not there. */
  errors(): Readonly<Partial<Record<Reason, number>>> {
    return Object.fromEntries(this.#errors)
  }

  /** Adds to a counter. */
  add(name: keyof CheckpointCounters, amount = 1): void {
    this.#counters[name] += amount
  }

  /** Counts a failure. */
  failed(reason: Reason): void {
    this.#errors.set(reason, (this.#errors.get(reason) ?? 0) + 1)
  }

  /** The same retry schedule, whose retries and waits are counted here. Give it to a store as `policy.retry`. */
  counting(schedule: RetrySchedule): RetrySchedule {
    return Schedule.tap(schedule, ({ duration }) =>
      Effect.map(CurrentAttempts, (attempts) => {
        if (attempts !== undefined) attempts.count++
        this.add("retries_total")
        this.add("retry_delays_total_ms", Math.round(Duration.toMillis(duration)))
      }))
  }

  /**
   * Counts and times an operation, and says what became of it in its span and in a debug log line: `operation`, `key`
   * (scrubbed), `duration_ms`, `attempts`, and `reason` where it failed.
   */
  measure<A, E>(
    operation: CheckpointOperation,
    [prefix, ...parts]: readonly [prefix: string, ...parts: ReadonlyArray<string>],
    effect: Effect.Effect<A, E>,
    labels: Readonly<Record<string, string>> = {},
  ): Effect.Effect<A, E> {
    const [total, failed] = counters[operation]
    const key = `${prefix}${parts.map(scrubbed).join("/")}`
    const attempts = { count: 1 }
    return Effect.suspend(() => {
      const started = performance.now()
      this.add(total)
      const finish = (exit: Exit.Exit<A, E>): Effect.Effect<void> => {
        const duration = performance.now() - started
        this.add("operation_duration_ms", duration)
        const error = Exit.isSuccess(exit) ? undefined : Option.getOrUndefined(Cause.findErrorOption(exit.cause))
        const reason = StoreError.is(error) ? error.reason : undefined
        if (!Exit.isSuccess(exit) && !(operation === "load" && reason === "NotFound")) {
          this.add(failed)
          if (reason !== undefined) this.failed(reason)
        }
        const outcome = { attempts: attempts.count, ...(reason === undefined ? {} : { reason }) }
        const line = { ...labels, operation, key, duration_ms: Math.round(duration), ...outcome }
        return Effect.andThen(
          Effect.annotateCurrentSpan(outcome),
          Effect.annotateLogs(Effect.logDebug(`checkpoint ${operation}`), line),
        )
      }
      return effect.pipe(
        Effect.onExit(finish),
        Effect.provideService(CurrentAttempts, attempts),
        traced(`holdfast.${operation}Checkpoint`, { ...labels, operation, key }),
      )
    })
  }

  /** The counters in the text format of Prometheus, 0.0.4: `holdfast_checkpoint_saves_total 3`, and failures by reason. */
  prometheus(): string {
    const lines = names.flatMap((name) => {
      const metric = `holdfast_checkpoint_${name}`
      return [`# HELP ${metric} ${help[name]}`, `# TYPE ${metric} counter`, `${metric} ${this.#counters[name]}`]
    })
    const errors = "holdfast_checkpoint_errors_total"
    lines.push(`# HELP ${errors} Failed operations by reason`, `# TYPE ${errors} counter`)
    for (const [reason, count] of this.#errors) lines.push(`${errors}{reason="${reason}"} ${count}`)
    return `${lines.join("\n")}\n`
  }

  /**
   * The counters as one line of CloudWatch's embedded metric format: printed in a Lambda function, or sent by an agent,
   * it becomes metrics of `namespace`. Source: Amazon CloudWatch, "Specification: Embedded metric format".
   */
  cloudWatch(namespace = "Holdfast/Checkpoints", now: Date = new Date()): string {
    const unitOf = (name: string): string =>
      name.endsWith("_ms") ? "Milliseconds" : name.startsWith("bytes") ? "Bytes" : "Count"
    const metrics = names.map((name) => ({ Name: name, Unit: unitOf(name) }))
    return JSON.stringify({
      _aws: {
        Timestamp: now.getTime(),
        CloudWatchMetrics: [{ Namespace: namespace, Dimensions: [[]], Metrics: metrics }],
      },
      ...this.#counters,
    })
  }

  /** One line for people. */
  summary(): string {
    return names.map((name) => `${name}=${Math.round(this.#counters[name])}`).join(" ")
  }
}
