/**
 * A range of stored bytes: in one body, or, on stores where that is faster, in pieces that are fetched side by side
 * and handed out in order.
 *
 * The first request asks for the first piece only; its answer tells how large the object is. All further ones are
 * pinned to the same etag, so that no mixture of two versions can come out. Nothing is read before the first read.
 *
 * From then on `concurrency` requests are open. What they bring is read ahead of its turn only while the consumer has to
 * wait: where the network is the slower one, all connections are in use; where it is not, what has come waits in the
 * sockets, since chunks that wait in memory live long enough to be collected late.
 *
 * @module
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type { Backend, GetOptions, GetResult, ObjectInfo } from "./backend.ts"
import { aborted, type BodyPlan, healingBody } from "./body.ts"
import { StoreError } from "./error.ts"
import { report } from "./save.ts"
import { combineCrc32, crc32, formatCrc32 } from "./streams/crc32.ts"
import { readerOf, streamOf } from "./streams/reader.ts"

const MiB = 2 ** 20

/** Bytes of a piece: a request costs about as much time as receiving a quarter of this on one machine. */
export const pieceSize: number = 8 * MiB

/** Pieces in flight where the caller does not say. Beyond four, one machine's network is the limit. */
const defaultConcurrency = 4

/** Milliseconds without a chunk after which the network counts as slower than the consumer, until the next chunk. */
const patience = 5

/** How a range is read. */
export interface RangePlan extends Omit<BodyPlan, "checkCrc" | "onProgress"> {
  /** Pieces in flight. */
  readonly concurrency: number | undefined
}

/** A range whose first bytes are on their way. Read its body or discard it. */
export interface Opened {
  /** Facts of the whole object. */
  readonly info: ObjectInfo
  readonly offset: number
  readonly length: number
  /** The bytes; call it once. */
  readonly body: (options: Pick<BodyPlan, "checkCrc" | "onProgress">) => ReadableStream<Uint8Array>
  /** Frees what has been opened. */
  readonly discard: Effect.Effect<void>
}

/** What it means that a request pinned to an etag is refused. */
export const asChanged = (error: StoreError): StoreError =>
  error.reason === "PreconditionFailed" || error.reason === "NotFound" || error.reason === "RangeNotSatisfiable"
    ? error.with({
      reason: "Changed",
      detail: "the object changed while it was being read",
      hint: undefined,
      transient: false,
      cause: error,
    })
    : error

/** Asks for a range, or for its first piece. */
export const openRange = (
  backend: Backend,
  plan: RangePlan,
  range: GetOptions,
): Effect.Effect<Opened, StoreError> =>
  Effect.gen(function* () {
    const context = yield* Effect.context<never>()
    const { length = Infinity } = range
    // A Worker may have six connections and 128 MiB. wrangler knows that it builds one, and leaves the pieces out of it.
    return backend.capabilities.parallelRanges && length > pieceSize && navigator.userAgent !== "Cloudflare-Workers"
      ? yield* openPieces(backend, plan, range, context)
      : oneBody(backend, plan, yield* backend.get(plan.key, range), context)
  })

const openPieces = (
  backend: Backend,
  plan: RangePlan,
  range: GetOptions,
  context: Context.Context<never>,
): Effect.Effect<Opened, StoreError> =>
  Effect.gen(function* () {
    const { offset = 0, length = Infinity } = range
    const first = yield* Effect.catch(
      backend.get(plan.key, { ...range, length: pieceSize }),
      (error) =>
        // An empty object has no first piece.
        error.reason === "RangeNotSatisfiable" && offset === 0 && length === Infinity
          ? backend.get(plan.key, range)
          : Effect.fail(error),
    )
    const total = Math.min(length, first.info.size - offset)
    if (total <= first.length) return oneBody(backend, plan, first, context)
    // Without a strong etag the pieces might belong to different versions.
    if (first.info.etag.startsWith("W/")) {
      yield* Effect.promise(() => first.body.cancel().catch(() => undefined))
      return oneBody(backend, plan, yield* backend.get(plan.key, range), context)
    }
    return {
      ...oneBody(backend, plan, first, context),
      length: total,
      body: (options) => piecewiseBody(backend, { ...plan, ...options }, first, total, context),
    }
  })

/** All of the range in one body. */
const oneBody = (backend: Backend, plan: RangePlan, got: GetResult, context: Context.Context<never>): Opened => ({
  info: got.info,
  offset: got.offset,
  length: got.length,
  body: (options) => healingBody(backend, { ...plan, ...options }, got, context),
  discard: Effect.promise(() => got.body.cancel().catch(() => undefined)),
})

/** A piece on its way. */
class Piece {
  /** Bytes that have come. */
  length = 0
  /** Their CRC-32, made while they are warm. */
  crc = 0
  readonly #checkCrc: boolean
  readonly #chunks: Array<Uint8Array> = []
  #ended = false
  #error: unknown
  #arrived: PromiseWithResolvers<void> | undefined

  constructor(checkCrc: boolean) {
    this.#checkCrc = checkCrc
  }

  /** Reads all of a stream into memory, as it comes and as `turn` allows. */
  async fill(
    open: () => Promise<ReadableStream<Uint8Array>>,
    turn: (piece: Piece) => Promise<void> | undefined,
  ): Promise<void> {
    try {
      const reader = readerOf(await open())
      while (true) {
        for (let wait = turn(this); wait !== undefined; wait = turn(this)) await wait
        const chunk = await reader.read()
        if (chunk === undefined) break
        if (this.#checkCrc) this.crc = crc32(chunk, this.crc)
        this.length += chunk.length
        this.#chunks.push(chunk)
        this.#wake()
      }
    } catch (cause) {
      this.#error = cause
    }
    this.#ended = true
    this.#wake()
  }

  /** The next chunk if it is here, `"later"` if it is not yet, `undefined` at the end; throws what ended it. */
  next(): Uint8Array | "later" | undefined {
    const chunk = this.#chunks.shift()
    if (chunk !== undefined) return chunk
    if (this.#error !== undefined) throw this.#error
    return this.#ended ? undefined : "later"
  }

  /** Until more has come, or the end. */
  more(): Promise<void> {
    this.#arrived ??= Promise.withResolvers<void>()
    return this.#arrived.promise
  }

  #wake(): void {
    this.#arrived?.resolve()
    this.#arrived = undefined
  }
}

const piecewiseBody = (
  backend: Backend,
  plan: RangePlan & BodyPlan,
  first: GetResult,
  total: number,
  context: Context.Context<never>,
): ReadableStream<Uint8Array> => {
  const { key, signal, versionId, customerKey } = plan
  const { info, offset } = first
  const whole = plan.checkCrc && offset === 0 && total === info.size
  const stop = new AbortController()
  /** Nobody may have begun to read it. */
  const dropFirst = (): Promise<void> => first.body.cancel().catch(() => undefined)
  const onAbort = (): void => {
    stop.abort(signal?.reason)
    void dropFirst()
  }
  const inner: BodyPlan = { ...plan, signal: stop.signal, onProgress: undefined, checkCrc: false }
  const pieces: Array<Piece> = []
  const concurrency = plan.concurrency ?? defaultConcurrency
  let next = offset
  let delivered = 0
  /** Of the pieces that have been handed out. */
  let crc = 0
  /** The consumer waits for the network. */
  let starving = false
  let gate = Promise.withResolvers<void>()
  let expected: Promise<number | undefined> | undefined

  const run = <A>(effect: Effect.Effect<A, StoreError>): Promise<A> =>
    Effect.runPromiseWith(context)(effect, { signal: stop.signal })

  const startPiece = (): void => {
    const at = next
    const length = Math.min(pieceSize, offset + total - at)
    next += at === offset ? first.length : length
    const piece = new Piece(whole)
    pieces.push(piece)
    void piece.fill(async () => {
      if (at === offset) return healingBody(backend, inner, first, context)
      const range = { offset: at, length, ifMatch: info.etag, versionId, customerKey }
      const got = await run(Effect.mapError(backend.get(key, range), asChanged))
      if (got.info.etag !== info.etag || got.offset !== at || got.length !== length) {
        await got.body.cancel().catch(() => undefined)
        throw fault({ reason: "Changed", detail: "the object changed while it was being read" })
      }
      return healingBody(backend, inner, got, context)
    }, (piece) => piece === pieces[0] || starving ? undefined : gate.promise)
  }

  /** Lets all look again whether it is their turn to read. */
  const nextTurn = (): void => {
    gate.resolve()
    gate = Promise.withResolvers<void>()
  }

  const starve = (): void => {
    starving = true
    nextTurn()
  }

  const fault = (fields: Omit<ConstructorParameters<typeof StoreError>[0], "operation" | "key">): StoreError =>
    new StoreError({ backend: backend.name, ...fields, operation: "load", key })

  /** A range is answered without the checksum of the whole; the facts have it. */
  const knownCrc = (): Promise<number | undefined> =>
    info.crc32 !== undefined ? Promise.resolve(info.crc32) : run(backend.stat(key, { versionId, customerKey })).then(
      (now) => now.etag === info.etag ? now.crc32 : undefined,
      () => undefined,
    )

  const close = (reason?: unknown): void => {
    signal?.removeEventListener("abort", onAbort)
    stop.abort(reason)
  }

  if (signal?.aborted) onAbort()
  else signal?.addEventListener("abort", onAbort, { once: true })

  /** The next chunk, in order. */
  const take = async (): Promise<Uint8Array> => {
    while (true) {
      if (signal?.aborted) throw aborted("load", key, signal)
      while (pieces.length < concurrency && next < offset + total) startPiece()
      const piece = pieces[0]!
      const chunk = piece.next()
      if (chunk === "later") {
        starving = false
        const timer = setTimeout(starve, patience)
        await piece.more()
        clearTimeout(timer)
      } else if (chunk !== undefined) {
        return chunk
      } else {
        settle(pieces.shift()!)
        nextTurn()
      }
    }
  }

  const settle = (piece: Piece): void => {
    if (whole) crc = combineCrc32(crc, piece.crc, piece.length)
  }

  let failed: unknown
  return streamOf({
    read: async () => {
      if (failed !== undefined) throw failed
      if (delivered === total) return undefined
      try {
        if (whole) expected ??= knownCrc()
        const chunk = await take()
        delivered += chunk.length
        if (delivered === total) {
          settle(pieces[0]!)
          const known = await expected
          if (whole && known !== undefined && known !== crc) {
            throw fault({
              reason: "Corrupt",
              detail: `the bytes have CRC-32 ${formatCrc32(crc)}, saved were ${formatCrc32(known)}`,
            })
          }
          close()
        }
        report(plan.onProgress, delivered, total)
        return chunk
      } catch (cause) {
        failed = signal?.aborted ? aborted("load", key, signal) : cause
        close(failed)
        await dropFirst()
        throw failed
      }
    },
    cancel: async (reason) => {
      close(reason)
      await dropFirst()
    },
  })
}
