/**
 * One save, from a source to an object.
 *
 * A source that ends within its first part is one `put`; anything longer is an upload. Each byte is copied once,
 * into a pooled part buffer, and covered by that part's CRC-32; the parts' checksums combine into the object's.
 * Where the object is compressed, an encoder stands between the source and the parts: then sizes and digests that the
 * caller speaks of are those of the source, and sizes and checksums that the backend sees those of the stored bytes.
 * At most `concurrency` parts are in flight and one is being filled, so memory is bounded by
 * `partSize × (concurrency + 1)` and a slow backend slows the source.
 *
 * Whatever happens, the upload ends: complete, or aborted after the parts in flight have settled. The first
 * error wins.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Scope from "effect/Scope"
import type { Backend, ObjectHead, ObjectInfo, Part, PartRules, SavedFacts, Upload, WriteCondition } from "./backend.ts"
import { StoreError } from "./error.ts"
import { makeLanes } from "./lanes.ts"
import { combineCrc32, crc32, formatCrc32 } from "./streams/crc32.ts"
import { ContainerEncoder, type EncodeOptions } from "./streams/container-encoder.ts"
import type { Hasher } from "./streams/digest.ts"
import { type PartPool, PartReader } from "./streams/parts.ts"
import { type ByteReader, SourceError } from "./streams/source.ts"

/** How far a transfer has come. */
export interface Progress {
  /** Bytes of the source that are stored, or bytes handed out, so far; before compression. */
  readonly bytes: number
  /** Bytes in all, where known. */
  readonly total: number | undefined
}

/** A save whose options have been checked. */
export interface SavePlan {
  readonly key: string
  readonly head: ObjectHead
  readonly condition: WriteCondition
  readonly expectedSize: number | undefined
  readonly expectedSha256: string | undefined
  readonly hasher: Hasher | undefined
  readonly keepSha256: boolean
  /** How the source is compressed; absent: not at all. */
  readonly encode: EncodeOptions | undefined
  /** What is known of a source that is in its stored form already. */
  readonly facts: SavedFacts | undefined
  readonly partSize: number | undefined
  readonly concurrency: number | undefined
  readonly onProgress: ((progress: Progress) => void) | undefined
}

const MiB = 2 ** 20

/** Bytes of parts that one save has in flight at most; larger parts mean fewer of them. */
const inFlightBudget = 64 * MiB

/** The first buffer of a source of unknown length; it grows fourfold up to the part size. */
const firstBuffer = 64 * 1024

/** Calls a caller's progress function; what it throws is its own affair and never fails a transfer. */
export const report = (onProgress: ((progress: Progress) => void) | undefined, bytes: number, total?: number): void => {
  try {
    onProgress?.({ bytes, total })
  } catch {
    // A progress bar that breaks must not lose a snapshot.
  }
}

/** The size of part `number`. Parts grow where their count is limited, so that an unknown length still fits. */
export const partSizeOf = (rules: PartRules, base: number, number: number): number =>
  rules.equalSize || rules.maxCount === Infinity
    ? base
    : Math.min(rules.maxSize, base * 2 ** Math.floor((number - 1) / 1000))

/** Stored bytes of so many that do not compress, with room for headers and the trailer. */
const incompressible = (size: number): number => size + Math.ceil(size / 256) + MiB

/** The size of the first part: the caller's, or one with which `known` bytes fit into the parts there may be. */
const basePartSize = (rules: PartRules, plan: SavePlan, known: number | undefined): number => {
  if (plan.partSize !== undefined) return plan.partSize
  if (known === undefined || rules.maxCount === Infinity) return rules.recommendedSize
  const least = Math.ceil(known / rules.maxCount / MiB) * MiB
  return Math.min(rules.maxSize, Math.max(rules.recommendedSize, least))
}

/** Runs one save. The reader is cancelled by the caller. */
export const runSave: (
  backend: Backend,
  pool: PartPool,
  source: ByteReader,
  plan: SavePlan,
) => Effect.Effect<ObjectInfo, StoreError> = Effect.fnUntraced(function* (
  backend: Backend,
  pool: PartPool,
  source: ByteReader,
  plan: SavePlan,
): Effect.fn.Return<ObjectInfo, StoreError> {
  const { key } = plan
  const fault: Fault = (fields) => new StoreError({ ...fields, operation: "save", key, backend: backend.name })
  const rules = backend.capabilities.parts
  const encoder = plan.encode === undefined ? undefined : new ContainerEncoder(source, plan.encode)
  /** Bytes of the source, where they are known before; the stored ones are not when it is compressed. */
  const known = plan.expectedSize ?? source.size
  const storedSize = encoder === undefined ? known : undefined
  const tooLarge = (size: string, limit: string): StoreError =>
    fault({ reason: "TooLarge", detail: `the object has ${size} bytes; the most is ${limit}` })
  if (plan.expectedSize !== undefined && source.size !== undefined && plan.expectedSize !== source.size) {
    return yield* fault({
      reason: "InvalidInput",
      detail: `expectedSize is ${plan.expectedSize}, but the source has ${source.size} bytes`,
    })
  }
  const likely = encoder === undefined || known === undefined ? known : incompressible(known)
  const base = rules === undefined ? backend.capabilities.maxPut : basePartSize(rules, plan, likely)
  if (storedSize !== undefined) {
    if (rules === undefined && storedSize > base) return yield* tooLarge(`${storedSize}`, `${base}`)
    if (rules !== undefined && rules.maxCount !== Infinity) {
      let room = 0
      for (let n = 1; n <= rules.maxCount && room < storedSize; n++) room += partSizeOf(rules, base, n)
      if (room < storedSize) {
        return yield* tooLarge(`${storedSize}`, `${room} in ${rules.maxCount} parts from ${base} bytes`)
      }
    }
  }
  const firstSize = Math.min(base, backend.capabilities.maxPut)
  const reader = new PartReader(encoder ?? source, plan.hasher)
  const consumed = (): number => encoder?.length ?? reader.total
  const pull = <A>(read: () => Promise<A>): Effect.Effect<A, StoreError> =>
    Effect.tryPromise({
      try: read,
      catch: (cause) => sourceFailure(cause, fault),
    })
  const checkTotal = (): StoreError | undefined =>
    known !== undefined && consumed() > known
      ? fault({
        reason: "InvalidInput",
        detail: `the source has more than the ${known} bytes expected`,
        hint: "nothing was saved; give the size the source has, or none",
      })
      : undefined
  const finish = (): StoreError | SavedFacts => {
    if (known !== undefined && consumed() < known) {
      return fault({
        reason: "Truncated",
        transient: false,
        detail: `the source ended after ${consumed()} of ${known} bytes`,
        hint: "nothing was saved; find out why the source ended early",
      })
    }
    const sha256 = encoder === undefined ? plan.hasher?.hex() : encoder.sha256
    if (plan.expectedSha256 !== undefined && sha256 !== plan.expectedSha256) {
      return fault({
        reason: "Corrupt",
        detail: `the source's SHA-256 is ${sha256}, expected ${plan.expectedSha256}`,
        hint: "nothing was saved; the source is not what you expected it to be",
      })
    }
    if (plan.facts !== undefined) return plan.facts
    return { sha256: plan.keepSha256 || encoder !== undefined ? sha256 : undefined, length: encoder?.length }
  }
  const settleWith = <A extends ObjectInfo>(
    effect: Effect.Effect<A, StoreError>,
    size: number,
    crc: number,
    facts: SavedFacts,
    upload: boolean,
  ): Effect.Effect<ObjectInfo, StoreError> =>
    effect.pipe(
      Effect.catch((error) =>
        settle(backend, error, { key, writeId: plan.head.writeId, size, upload, ...plan.condition })
      ),
      Effect.flatMap((info) =>
        info.size !== size || (info.crc32 !== undefined && info.crc32 !== crc)
          ? Effect.fail(fault({
            reason: "Corrupt",
            ambiguous: true,
            detail:
              `the store reports ${info.size} bytes with CRC-32 ${formatCrc32(info.crc32 ?? crc)} where ${size} ` +
              `bytes with ${formatCrc32(crc)} were sent`,
          }))
          // A service that wants all metadata before the first byte cannot keep what only the last one tells.
          : Effect.succeed({ ...info, sha256: info.sha256 ?? facts.sha256, length: facts.length ?? info.length })
      ),
    )

  const first = yield* pull(() => readFirst(reader, pool, firstSize, storedSize))
  const excess = checkTotal()
  if (excess !== undefined) return yield* excess
  if (first.ended) {
    const done = finish()
    if (done instanceof StoreError) return yield* done
    const bytes = first.buffer.subarray(0, first.filled)
    const crc = crc32(bytes)
    const put = backend.put(key, bytes, { ...plan.head, ...plan.condition, crc32: crc, ...done })
    const info = yield* settleWith(put, bytes.length, crc, done, false)
    if (first.pooled) pool.release(first.buffer)
    report(plan.onProgress, consumed(), consumed())
    return info
  }
  if (rules === undefined) return yield* tooLarge(`more than ${firstSize}`, `${firstSize}`)
  const { ifMatch, ifNoneMatch } = plan.condition
  if ((ifMatch !== undefined || ifNoneMatch !== undefined) && !backend.capabilities.conditional.complete) {
    return yield* fault({
      reason: "Unsupported",
      detail: `this store cannot check ifMatch or ifNoneMatch for an object of more than ${firstSize} bytes`,
      hint: "raise partSize above the object's size, or save without a condition",
    })
  }

  const concurrency = rules.sequential ? 1 : plan.concurrency ?? rules.concurrency

  /** Sends the parts; returns what completing the upload needs. */
  const sendParts = Effect.fnUntraced(function* (
    upload: Upload,
  ): Effect.fn.Return<
    { parts: Array<Part>; size: number; crc: number; facts: SavedFacts },
    StoreError,
    Scope.Scope
  > {
    const lanes = yield* makeLanes(concurrency)
    const parts: Array<Part> = []
    let stored = 0
    let covered = 0
    let crc = 0
    let offset = 0
    let { buffer, filled, pooled } = first
    for (let number = 1;; number++) {
      if (number > rules.maxCount) {
        return yield* fault({
          reason: "TooLarge",
          detail: `part ${number} would exceed the ${rules.maxCount} parts that an upload may have`,
          hint: `give expectedSize, or a partSize larger than ${base}`,
        })
      }
      const sent = buffer
      const bytes = buffer.subarray(0, filled)
      const part = { number, offset, crc32: crc32(bytes) }
      const reuse = pooled
      const share = consumed() - covered
      covered += share
      crc = combineCrc32(crc, part.crc32, filled)
      offset += filled
      // Wide parts take several lanes, so that bytes in flight stay within the budget.
      const fitting = Math.max(1, Math.floor(inFlightBudget / buffer.length))
      const weight = Math.min(concurrency, Math.ceil(concurrency / Math.min(concurrency, fitting)))
      yield* lanes.begin(
        Effect.map(backend.putPart(upload, part, bytes), (done) => {
          parts[number - 1] = done
          stored += share
          if (reuse) pool.release(sent)
          report(plan.onProgress, stored, known)
        }),
        weight,
      )
      if (filled < buffer.length) break
      buffer = pool.take(partSizeOf(rules, base, number + 1))
      pooled = true
      const next = buffer
      filled = yield* lanes.orFailed(pull(() => reader.fill(next)))
      const excess = checkTotal()
      if (excess !== undefined) return yield* excess
      if (filled === 0) {
        pool.release(buffer)
        break
      }
    }
    yield* lanes.join
    const done = finish()
    if (done instanceof StoreError) return yield* done
    return { parts, size: offset, crc, facts: done }
  })

  return yield* Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(restore(backend.createUpload(key, plan.head)), (upload) =>
      restore(
        Effect.flatMap(Effect.scoped(sendParts(upload)), ({ parts, size, crc, facts }) =>
          settleWith(
            backend.completeUpload(upload, parts, { ...plan.condition, size, crc32: crc, ...facts }),
            size,
            crc,
            facts,
            true,
          )),
      ).pipe(
        Effect.onExit((exit) =>
          Exit.isSuccess(exit) ? Effect.void : Effect.catch(backend.abortUpload(upload), () => Effect.void)
        ),
      ))
  )
})

/** The first part, in a buffer no larger than it needs to be: most objects are small and of unknown length. */
const readFirst = async (reader: PartReader, pool: PartPool, partSize: number, known: number | undefined) => {
  const start = known === undefined ? Math.min(firstBuffer, partSize) : Math.min(known, partSize)
  let pooled = start === partSize
  let buffer = pooled ? pool.take(partSize) : new Uint8Array(start)
  let filled = await reader.fill(buffer)
  while (filled === buffer.length && buffer.length < partSize && !(await reader.atEnd())) {
    const size = Math.min(Math.max(buffer.length, firstBuffer) * 4, partSize)
    pooled = size === partSize
    const larger = pooled ? pool.take(partSize) : new Uint8Array(size)
    larger.set(buffer)
    buffer = larger
    filled = await reader.fill(buffer, filled)
  }
  const ended = filled < buffer.length || (await reader.atEnd())
  return { buffer, filled, pooled, ended }
}

type Fault = (fields: Omit<ConstructorParameters<typeof StoreError>[0], "operation" | "key">) => StoreError

const sourceFailure = (cause: unknown, fault: Fault): StoreError => {
  if (StoreError.is(cause)) return cause
  if (cause instanceof SourceError) return fault({ reason: "InvalidInput", detail: cause.message })
  return fault({
    reason: "Aborted",
    ambiguous: false,
    detail: `the source failed: ${cause instanceof Error ? cause.message : String(cause)}`,
    hint: "nothing was saved; the cause says why the source failed",
    cause,
  })
}

/** A write whose outcome is in doubt. */
export interface Doubt extends WriteCondition {
  readonly key: string
  readonly writeId: string
  /** Bytes the object must have, where the writer knows. */
  readonly size?: number | undefined
  /** An upload's end, which can come only once. */
  readonly upload?: boolean | undefined
}

/**
 * Decides what a failed write has done. Only a failure that may have taken effect is looked into: the object
 * that is there now carries our write id, or it does not.
 */
export const settle = (backend: Backend, error: StoreError, doubt: Doubt): Effect.Effect<ObjectInfo, StoreError> => {
  if (!error.ambiguous) return Effect.fail(error)
  // The place itself failed, as when a folder cannot be flushed: the object may be in sight and yet not be safe.
  if (!error.transient && (error.reason === "Unavailable" || error.reason === "NoSpace")) return Effect.fail(error)
  const unknown = new StoreError({
    reason: "CommitUnknown",
    detail: "a reply was lost, and what is there now does not tell whether the write took effect",
    backend: backend.name,
    operation: error.operation,
    key: doubt.key,
    attempts: error.attempts,
    cause: error,
  })
  // An unconditional write may simply be made again; one with a condition, or an upload that is gone, may not.
  const again = error.transient && doubt.upload !== true && doubt.ifMatch === undefined &&
    doubt.ifNoneMatch === undefined
  const undecided = again || error.reason === "CommitUnknown" ? error : unknown
  return Effect.matchEffect(backend.stat(doubt.key), {
    onSuccess: (info) =>
      info.writeId === doubt.writeId && (doubt.size === undefined || info.size === doubt.size)
        ? Effect.succeed(info)
        : Effect.fail(undecided),
    onFailure: () => Effect.fail(undecided),
  })
}
