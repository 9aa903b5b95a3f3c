/**
 * One load, from an object to a Web stream of what was saved.
 *
 * Whether and how the stored bytes are encoded is in the object's metadata; nothing is guessed from the bytes. An
 * encoded object is decoded on its way, each frame checked before its plaintext is released. A range of it costs what
 * its frames cost: the tail says where they are (zstd); what cannot be entered in the middle is decoded from its start.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import type { Backend, GetOptions, ObjectInfo } from "./backend.ts"
import { codecOf, decodedBody, type Decoding, loadTail, type Window } from "./decode.ts"
import { withLength } from "./encoding.ts"
import { StoreError } from "./error.ts"
import { asChanged, type Opened, openRange, type RangePlan } from "./ranges.ts"
import { type Progress, report } from "./save.ts"
import type { Codec } from "./streams/codec.ts"
import { planRange } from "./streams/container.ts"
import type { Tail } from "./streams/container-tail.ts"
import { readerOf } from "./streams/reader.ts"
import type { TailCache } from "./tails.ts"

/**
 * An object on its way in. Read `body`, or one of the methods that read it for you, or `cancel` it; a body left
 * alone keeps its file or socket open. `await using` cancels it at the end of the block.
 *
 * @example Facts first, bytes then
 * ```ts
 * import { open } from "@holdfast/holdfast"
 *
 * await using store = await open("mem:")
 * await store.save("notes/1", "hello")
 * await using loaded = await store.load("notes/1")
 * console.assert(loaded.length === 5)
 * console.assert(await loaded.text() === "hello")
 * ```
 */
export class Loaded {
  /** Facts of the whole object, from the same write as the bytes. */
  readonly info: ObjectInfo
  /** First byte of `body` within what was saved. */
  readonly offset: number
  /** Bytes that `body` delivers; `undefined` when only decoding a foreign object can tell. */
  readonly length: number | undefined
  /** The bytes, pulled on demand. Errors are {@link StoreError}s. */
  readonly body: ReadableStream<Uint8Array>

  /** Made by `load`. */
  constructor(info: ObjectInfo, offset: number, length: number | undefined, body: ReadableStream<Uint8Array>) {
    this.info = info
    this.offset = offset
    this.length = length
    this.body = body
  }

  /** All bytes in one array; they must fit into memory. */
  async bytes(): Promise<Uint8Array<ArrayBuffer>> {
    let all = new Uint8Array(this.length ?? 64 * 1024)
    let filled = 0
    const reader = readerOf(this.body)
    for (let chunk = await reader.read(); chunk !== undefined; chunk = await reader.read()) {
      if (filled + chunk.length > all.length) {
        const larger = new Uint8Array(Math.max(2 * all.length, filled + chunk.length))
        larger.set(all.subarray(0, filled))
        all = larger
      }
      all.set(chunk, filled)
      filled += chunk.length
    }
    return filled === all.length ? all : all.slice(0, filled)
  }

  /** The bytes decoded as UTF-8; malformed UTF-8 is a `TypeError`. */
  async text(): Promise<string> {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(await this.bytes())
  }

  /** The bytes parsed as JSON. The type is the caller's claim: check it with a schema. */
  async json<T = unknown>(): Promise<T> {
    return JSON.parse(await this.text()) as T
  }

  /** Frees what the body holds. Harmless after the end. */
  async cancel(reason?: unknown): Promise<void> {
    if (!this.body.locked) await this.body.cancel(reason).catch(() => undefined)
  }

  /** Same as {@link Loaded.cancel}. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.cancel()
  }
}

/** A load whose options have been checked. */
export interface LoadPlan extends RangePlan {
  readonly onProgress: ((progress: Progress) => void) | undefined
  /** What is wanted of the plaintext, and under which conditions. */
  readonly get: GetOptions
  /** How a foreign object is encoded; `"none"`: the stored bytes of any object, as they are. */
  readonly decode: Codec | "none" | undefined
  /** Most bytes that a foreign object may decode to. */
  readonly maxLength: number | undefined
  /** Tails that are known from earlier ranges. */
  readonly tails: TailCache
}

/** Begins a load. The body it returns outlives the effect. */
export const runLoad = (backend: Backend, plan: LoadPlan): Effect.Effect<Loaded, StoreError> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.gen(function* () {
      const ranged = (plan.get.offset ?? 0) > 0 || plan.get.length !== undefined
      const known = ranged ? yield* restore(knownRange(backend, plan)) : undefined
      if (known !== undefined) return known
      const begun = yield* Effect.matchEffect(restore(openRange(backend, plan, plan.get)), {
        onSuccess: (opened) => Effect.succeed({ opened, info: opened.info }),
        // The range may lie behind the stored bytes of an object and yet within what they decode to.
        onFailure: (error) =>
          error.reason === "RangeNotSatisfiable" && ranged && plan.decode !== "none"
            ? restore(backend.stat(plan.key, plan.get)).pipe(
              Effect.flatMap((info) => {
                const { ifMatch, ifNoneMatch } = plan.get
                // Another object than the conditions speak of: then the refusal stands.
                const other = (ifMatch !== undefined && ifMatch !== info.etag) || ifNoneMatch === info.etag
                return other || (info.codec === undefined && plan.decode === undefined)
                  ? Effect.fail(error)
                  : Effect.succeed({ opened: undefined, info })
              }),
            )
            : Effect.fail(error),
      })
      const { opened, info } = begun
      const discard = opened?.discard ?? Effect.void
      const codec = plan.decode === "none" ? undefined : yield* Effect.onError(
        codecOf(backend.name, info),
        () => discard,
      )
      const foreign = codec === undefined && plan.decode !== "none" ? plan.decode : undefined
      if (opened !== undefined && codec === undefined && foreign === undefined) {
        return new Loaded(
          withLength(info),
          opened.offset,
          opened.length,
          opened.body({ checkCrc: true, onProgress: plan.onProgress }),
        )
      }
      if (ranged) yield* discard
      return yield* Effect.onError(
        restore(decodedLoad(backend, plan, { info, whole: ranged ? undefined : opened, codec, foreign })),
        () => discard,
      )
    })
  )

/** A range of an object whose tail is known, in one request; `undefined` where it is not, or is another's by now. */
const knownRange = (backend: Backend, plan: LoadPlan): Effect.Effect<Loaded | undefined, StoreError> =>
  Effect.suspend(() => {
    const { key, get, versionId, customerKey, decode, tails } = plan
    const known = decode === undefined && versionId === undefined ? tails.get(key) : undefined
    if (known === undefined || get.ifNoneMatch !== undefined) return Effect.undefined
    const { etag, tail } = known
    const { offset = 0, length = tail.length } = get
    // What lies at the end or beyond is for the object itself to say.
    if (offset >= tail.length || length === 0 || (get.ifMatch !== undefined && get.ifMatch !== etag)) {
      return Effect.undefined
    }
    const range = planRange(tail, offset, length)
    const asked = { offset: range.offset, length: range.length, customerKey, ifMatch: etag }
    return Effect.matchEffect(openRange(backend, plan, asked), {
      onSuccess: (opened) => {
        const decoding: Decoding = { kind: "range", tail, plan: range }
        return Effect.succeed(decodedRange(backend, plan, opened, decoding, offset, range.plain))
      },
      onFailure: (error) => {
        if (asChanged(error).reason !== "Changed") return Effect.fail(error)
        tails.delete(key)
        return Effect.undefined
      },
    })
  })

/** The plaintext of the frames of a range. */
const decodedRange = (
  backend: Backend,
  plan: LoadPlan,
  opened: Opened,
  decoding: Decoding & { readonly kind: "range" },
  offset: number,
  length: number,
): Loaded => {
  const { tail } = decoding
  const body = decodedBody(
    backend.name,
    plan.key,
    opened.body({ checkCrc: false, onProgress: undefined }),
    decoding,
    all,
    plan.signal,
    (bytes) => report(plan.onProgress, bytes, length),
  )
  const { info } = opened
  return new Loaded({ ...info, length: tail.length, sha256: info.sha256 ?? tail.sha256 }, offset, length, body)
}

/** What a decoded load starts from. */
interface Begun {
  readonly info: ObjectInfo
  /** The whole stored object, where it is all wanted. */
  readonly whole: Opened | undefined
  /** How Holdfast has encoded it. */
  readonly codec: Codec | undefined
  /** How the caller says that something else has. */
  readonly foreign: Codec | undefined
}

const decodedLoad = Effect.fnUntraced(function* (
  backend: Backend,
  plan: LoadPlan,
  { info, whole, codec, foreign }: Begun,
): Effect.fn.Return<Loaded, StoreError> {
  const { key, versionId, customerKey } = plan
  const pin = info.etag.startsWith("W/") ? undefined : info.etag
  const stored = (range: GetOptions): Effect.Effect<Opened, StoreError> =>
    Effect.mapError(
      openRange(backend, plan, { ...range, versionId, customerKey, ifMatch: pin }),
      asChanged,
    )
  const finish = (
    opened: Opened,
    decoding: Decoding,
    window: Window,
    facts: { readonly length: number | undefined; readonly sha256: string | undefined },
  ): Loaded => {
    const rest = facts.length === undefined ? undefined : facts.length - window.offset
    const length = rest === undefined ? undefined : Math.min(rest, window.length ?? rest)
    const body = decodedBody(
      backend.name,
      key,
      opened.body({ checkCrc: decoding.kind === "foreign", onProgress: undefined }),
      decoding,
      window,
      plan.signal,
      (bytes) => report(plan.onProgress, bytes, length),
    )
    const described = { ...info, length: facts.length, sha256: info.sha256 ?? facts.sha256 }
    return new Loaded(described, window.offset, length, body)
  }

  if (whole !== undefined && foreign !== undefined) {
    const decoding: Decoding = { kind: "foreign", codec: foreign, maxLength: plan.maxLength }
    return finish(whole, decoding, all, { length: undefined, sha256: undefined })
  }
  if (whole !== undefined && codec !== undefined && info.length !== undefined) {
    const decoding: Decoding = { kind: "container", codec, length: info.length, tail: undefined }
    return finish(whole, decoding, all, { length: info.length, sha256: undefined })
  }
  const tail: Tail | undefined = yield* loadTail(backend, info, { versionId, customerKey })
  const window = yield* windowOf(backend.name, key, tail?.length, plan.get)
  if (tail === undefined) {
    const decoding: Decoding = { kind: "foreign", codec: foreign!, maxLength: plan.maxLength }
    return finish(yield* stored({}), decoding, window, { length: undefined, sha256: undefined })
  }
  const entire = window.offset === 0 && window.length === tail.length
  if (tail.table === undefined || entire) {
    const decoding: Decoding = { kind: "container", codec: tail.codec, length: tail.length, tail }
    return finish(whole ?? (yield* stored({})), decoding, entire ? all : window, tail)
  }
  plan.tails.set(key, info.etag, tail)
  const range = planRange(tail, window.offset, window.length ?? tail.length)
  const frames = yield* stored({ offset: range.offset, length: range.length })
  return decodedRange(backend, plan, frames, { kind: "range", tail, plan: range }, window.offset, range.plain)
})

/** Nothing is left out. */
const all: Window = { offset: 0, length: undefined }

/** The window that the options ask for, within `length` bytes where that is known. */
const windowOf = (
  backend: string,
  key: string,
  length: number | undefined,
  { offset = 0, length: wanted }: GetOptions,
): Effect.Effect<Window, StoreError> => {
  if (length === undefined) return Effect.succeed({ offset, length: wanted })
  const rest = length - offset
  if (rest < 0 || (rest === 0 && (wanted ?? (offset === 0 ? 0 : 1)) > 0)) {
    return Effect.fail(
      new StoreError({
        reason: "RangeNotSatisfiable",
        detail: `the object has ${length} bytes, the range starts at ${offset}`,
        operation: "load",
        backend,
        key,
      }),
    )
  }
  return Effect.succeed({ offset, length: Math.min(rest, wanted ?? rest) })
}
