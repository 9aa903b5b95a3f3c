/**
 * The stored bytes of an object as a Web stream that heals itself: when the connection under it breaks or stalls, it
 * asks for the rest from the exact byte, on the condition that the object is still the same. What cannot be healed is
 * an error, never a quiet end: fewer bytes than promised is `Truncated`, another object `Changed`, and a whole object
 * whose CRC-32 is not the stored one `Corrupt`.
 *
 * @module
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type { Backend, GetResult, StatOptions } from "./backend.ts"
import { StoreError } from "./error.ts"
import { CurrentRetry, defaultRetry, type RetrySchedule, tryAgain } from "./policy.ts"
import { type Progress, report } from "./save.ts"
import { crc32, formatCrc32 } from "./streams/crc32.ts"
import { type Reader, readerOf, streamOf } from "./streams/reader.ts"

/** How a body is read. */
export interface BodyPlan extends StatOptions {
  readonly key: string
  /** Milliseconds a read may take before the body is given up and asked for again. */
  readonly idleTimeout: number
  readonly signal: AbortSignal | undefined
  readonly onProgress: ((progress: Progress) => void) | undefined
  /** Hold a whole object against its CRC-32. Whoever decodes it has finer checks, which say where it is damaged. */
  readonly checkCrc: boolean
  /** The call's retry schedule, or else the layer's. */
  readonly retry: RetrySchedule | "none" | undefined
}

/** The error of a caller's signal. */
export const aborted = (operation: string, key: string | undefined, signal: AbortSignal): StoreError =>
  new StoreError({
    reason: "Aborted",
    ambiguous: operation !== "load",
    detail: "the signal was aborted",
    operation,
    key,
    cause: signal.reason,
  })

/** The body of `first`, and of the requests that heal it, which run in `context`. */
export const healingBody = (
  backend: Backend,
  plan: BodyPlan,
  first: GetResult,
  context: Context.Context<never>,
): ReadableStream<Uint8Array> => {
  const { key, signal } = plan
  const { info, offset, length } = first
  const whole = plan.checkCrc && offset === 0 && length === info.size && info.crc32 !== undefined
  let reader: Reader | undefined = readerOf(first.body)
  let delivered = 0
  let crc = 0
  let onAbort: (() => void) | undefined
  const watchdog = new Watchdog(
    plan.idleTimeout,
    (detail) => fault({ reason: "Timeout", ambiguous: false, detail }),
  )

  const fault = (fields: Omit<ConstructorParameters<typeof StoreError>[0], "operation" | "key">): StoreError =>
    new StoreError({ backend: backend.name, ...fields, operation: "load", key })

  const drop = async (reason: unknown): Promise<void> => {
    const dropped = reader
    reader = undefined
    await dropped?.cancel(reason).catch(() => undefined)
  }

  /** Reads one chunk, or throws. */
  const readChunk = async (): Promise<Uint8Array> => {
    while (true) {
      const chunk = await watchdog.watch(reader!.read())
      if (chunk === undefined) {
        throw fault({ reason: "Truncated", detail: `the body ended after ${delivered} of ${length} bytes` })
      }
      if (delivered + chunk.length > length) {
        throw fault({ reason: "Protocol", detail: `the body has more than the ${length} bytes promised` })
      }
      if (chunk.length > 0) return chunk
    }
  }

  const asStoreError = (cause: unknown): StoreError =>
    StoreError.is(cause) ? cause : fault({
      reason: "Unavailable",
      ambiguous: false,
      detail: `the body broke after ${delivered} of ${length} bytes`,
      cause,
    })

  /** Asks for the rest of the same object and reads its first chunk. */
  const resumeOnce = Effect.gen(function* () {
    const { versionId, customerKey } = plan
    const rest = {
      offset: offset + delivered,
      length: length - delivered,
      ifMatch: info.etag,
      versionId,
      customerKey,
    }
    const got = yield* Effect.mapError(
      backend.get(key, rest),
      (error) =>
        error.reason === "PreconditionFailed" || error.reason === "NotFound" || error.reason === "RangeNotSatisfiable"
          ? fault({
            reason: "Changed",
            detail: `the object changed after ${delivered} of ${length} bytes`,
            cause: error,
          })
          : error.with({ transient: false }),
    )
    reader = readerOf(got.body)
    if (got.info.etag !== info.etag || got.offset !== rest.offset || got.length !== rest.length) {
      yield* Effect.promise(() => drop(undefined))
      return yield* fault({ reason: "Changed", detail: `the object changed after ${delivered} of ${length} bytes` })
    }
    return yield* Effect.tryPromise({ try: readChunk, catch: asStoreError }).pipe(
      Effect.tapError((error) => Effect.promise(() => drop(error))),
    )
  })

  /** What policy says about trying a broken body again, as for any other call. */
  const resume = Effect.gen(function* () {
    const schedule = (yield* CurrentRetry) ?? plan.retry ?? defaultRetry
    if (schedule === "none") return yield* resumeOnce
    return yield* tryAgain(resumeOnce, schedule)
  })

  const next = async (): Promise<Uint8Array> => {
    try {
      return await readChunk()
    } catch (cause) {
      const error = asStoreError(cause)
      await drop(error)
      // A weak validator cannot promise that the rest belongs to the same object.
      if (!error.transient || plan.retry === "none" || info.etag.startsWith("W/")) throw error
      return await Effect.runPromiseWith(context)(resume, { signal })
    }
  }

  const close = async (reason: unknown): Promise<void> => {
    if (onAbort !== undefined) signal?.removeEventListener("abort", onAbort)
    onAbort = undefined
    watchdog.stop()
    await drop(reason)
  }

  let failed: StoreError | undefined
  if (signal !== undefined) {
    onAbort = () => {
      failed ??= aborted("load", key, signal)
      void close(failed)
    }
    if (signal.aborted) onAbort()
    else signal.addEventListener("abort", onAbort, { once: true })
  }

  return streamOf({
    read: async () => {
      if (failed !== undefined) throw failed
      try {
        const chunk = delivered < length ? await next() : undefined
        if (chunk !== undefined) {
          if (whole) crc = crc32(chunk, crc)
          delivered += chunk.length
        }
        if (delivered === length) {
          if (whole && crc !== info.crc32) {
            throw fault({
              reason: "Corrupt",
              detail: `the bytes have CRC-32 ${formatCrc32(crc)}, saved were ${formatCrc32(info.crc32!)}`,
            })
          }
          await close(undefined)
        }
        if (chunk !== undefined) report(plan.onProgress, delivered, length)
        return chunk
      } catch (cause) {
        failed = signal?.aborted ? aborted("load", key, signal) : asStoreError(cause)
        await close(failed)
        throw failed
      }
    },
    cancel: close,
  })
}

/**
 * Fails a read that takes longer than `idleTimeout` milliseconds. One timer watches all reads of a body: setting
 * one for each costs more than reading a chunk from a disk.
 */
class Watchdog {
  readonly #idleTimeout: number
  readonly #fault: (detail: string) => StoreError
  #timer: ReturnType<typeof setTimeout> | undefined
  #since = 0
  #reject: ((error: StoreError) => void) | undefined

  constructor(idleTimeout: number, fault: (detail: string) => StoreError) {
    this.#idleTimeout = idleTimeout
    this.#fault = fault
  }

  watch<A>(read: Promise<A>): Promise<A> {
    return new Promise<A>((resolve, reject) => {
      this.#since = performance.now()
      this.#reject = reject
      this.#timer ??= setTimeout(this.#look, this.#idleTimeout)
      read.then((value) => {
        this.#reject = undefined
        resolve(value)
      }, (error) => {
        this.#reject = undefined
        reject(error)
      })
    })
  }

  /** Lets the process end: nothing is being read any more. */
  stop(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#reject = undefined
  }

  readonly #look = (): void => {
    this.#timer = undefined
    const reject = this.#reject
    // Between reads it is the consumer who takes his time.
    if (reject === undefined) return
    const left = this.#since + this.#idleTimeout - performance.now()
    if (left > 1) this.#timer = setTimeout(this.#look, left)
    else {
      this.#reject = undefined
      reject(this.#fault(`no byte came for ${this.#idleTimeout} ms`))
    }
  }
}
