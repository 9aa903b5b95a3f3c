/**
 * What every backend must do, as one list of cases that knows no test runner.
 *
 * A case is chosen by capability: one that does not apply is still in the list and says why. Each works on its
 * own backend under a random prefix, needs nothing from another case, and removes what it stored, so the list
 * may run against a bucket that others use.
 *
 * To add a case, add it to the table: it then runs for every backend at once. A case must be able to fail: it
 * compares contents byte for byte, and the reason of an error, not only that there was one.
 *
 * @example Prove a backend with the test runner of your choice
 * ```ts
 * import { conformance, register } from "@holdfast/holdfast/conformance"
 * import { make } from "@holdfast/holdfast/memory"
 *
 * const cases = await conformance("memory", make)
 * register((name: string, run: () => Promise<void>) => console.log(name, typeof run), cases)
 * console.assert(cases.length > 50)
 * ```
 *
 * @module
 */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import type {
  Backend,
  Capabilities,
  CompleteOptions,
  GetOptions,
  ListOptions,
  ObjectEntry,
  ObjectInfo,
  Part,
  PartRules,
  PutOptions,
  Upload,
  WriteCondition,
} from "../backend.ts"
import { type Reason, StoreError } from "../error.ts"
import { compareKeys, maxMetadataBytes } from "../key.ts"
import { crc32, formatCrc32 } from "../streams/crc32.ts"
import { utf8Length } from "../streams/utf8.ts"

/** One thing a backend must do. */
export interface Case {
  /** The backend's name, then the call and what is expected of it. */
  readonly name: string
  /** Why the case does not apply to this backend; absent where it does. */
  readonly skipped?: string | undefined
  /** Rejects when the backend does otherwise. Resolves at once for a case that does not apply. */
  readonly run: () => Promise<void>
}

/** How a test runner is told of a test: `test` of `bun:test`, `Deno.test`, `it` of others. */
export interface RegisterTest {
  (name: string, run: () => Promise<void>): unknown
  /** Registers a test that does not run, as `bun:test` calls it. */
  readonly skip?: ((name: string, run: () => Promise<void>) => unknown) | undefined
  /** The same, as `Deno.test` calls it. */
  readonly ignore?: ((name: string, run: () => Promise<void>) => unknown) | undefined
}

/**
 * The cases for a backend. `make` is run once here, to learn the capabilities, and once for each case; it may
 * give out a fresh, empty place each time or the same one. What it acquires is released with the case's scope.
 */
export const conformance = async (
  name: string,
  make: () => Effect.Effect<Backend, StoreError, Scope.Scope>,
): Promise<ReadonlyArray<Case>> => {
  // Only what it is and has is looked at after its scope has ended.
  const backend = await Effect.runPromise(Effect.scoped(make()))
  return definitions.map(({ title, lacks, run }) => {
    const skipped = lacks?.(backend.capabilities, backend)
    return {
      name: `${name}: ${title}`,
      skipped,
      run: () => skipped === undefined ? runCase(make, run) : Promise.resolve(),
    }
  })
}

/** Registers `cases` with a test runner; one that does not apply shows up as skipped, with the reason. */
export const register = (test: RegisterTest, cases: ReadonlyArray<Case>): void => {
  const skip = test.skip ?? test.ignore ?? test
  for (const { name, run, skipped } of cases) {
    if (skipped === undefined) test(name, run)
    else skip(`${name} (skipped: ${skipped})`, run)
  }
}

// ---------------------------------------------------------------------------------------------------------
// What cases are written with. Exported for tests of what stands on a backend.
// ---------------------------------------------------------------------------------------------------------

/** `length` bytes that look random and are the same for the same `seed` on every machine. */
export const bytes = (seed: number, length: number): Uint8Array<ArrayBuffer> => {
  const words = new Uint32Array(Math.ceil(length / 4))
  let state = Math.imul(seed + 1, 0x9e3779b1) | 1
  for (let i = 0; i < words.length; i++) {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    words[i] = state
  }
  return new Uint8Array(words.buffer, 0, length)
}

/** All that `body` delivers, as one piece. Rejects with what the body fails with. */
export const collect = async (body: ReadableStream<Uint8Array>): Promise<Uint8Array> => {
  const chunks: Array<Uint8Array> = []
  let size = 0
  const reader = body.getReader()
  for (let next = await reader.read(); !next.done; next = await reader.read()) {
    chunks.push(next.value)
    size += next.value.length
  }
  const all = new Uint8Array(size)
  let at = 0
  for (const chunk of chunks) {
    all.set(chunk, at)
    at += chunk.length
  }
  return all
}

/** Throws unless `actual` and `expected` are the same bytes; says where they first differ. */
export const expectBytes = (actual: Uint8Array, expected: Uint8Array, what: string): void => {
  const length = Math.min(actual.length, expected.length)
  for (let i = 0; i < length; i++) {
    if (actual[i] !== expected[i]) {
      throw new Error(`${what}: byte ${i} of ${expected.length} is ${actual[i]}, expected ${expected[i]}`)
    }
  }
  if (actual.length !== expected.length) {
    throw new Error(`${what}: ${actual.length} bytes, expected ${expected.length}; the first ${length} are right`)
  }
}

/** Throws unless the two are the same value, or the same data in arrays and plain objects. */
export const expectSame = (actual: unknown, expected: unknown, what: string): void => {
  const [is, wanted] = [show(actual), show(expected)]
  if (is !== wanted) throw new Error(`${what}: got ${is}, expected ${wanted}`)
}

const show = (value: unknown): string =>
  JSON.stringify(
    value,
    (_, inner) =>
      inner === undefined
        ? "(undefined)"
        : typeof inner === "object" && inner !== null && !Array.isArray(inner)
        ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
        : inner,
  ) ?? "(undefined)"

/**
 * The error with which `effect` fails. Dies unless it is a {@link StoreError} with one of `reasons`, and
 * unless its `operation` and `message` are there for a reader.
 */
export const expectReason: <A, R>(
  effect: Effect.Effect<A, StoreError, R>,
  ...reasons: ReadonlyArray<Reason>
) => Effect.Effect<StoreError, never, R> = Effect.fnUntraced(function* (effect, ...reasons) {
  const wanted = reasons.join(" or ")
  const result = yield* Effect.result(effect)
  if (Result.isSuccess(result)) throw new Error(`succeeded with ${show(result.success)}, expected ${wanted}`)
  const error: unknown = result.failure
  if (!StoreError.is(error)) throw new Error(`failed with ${error}, expected a StoreError with ${wanted}`)
  if (!reasons.includes(error.reason)) {
    throw new Error(`failed with ${error.reason} (${error.message}), expected ${wanted}`)
  }
  if (error.operation === "call") throw new Error(`the error does not say which operation failed: ${error.message}`)
  return error
})

/** A write id that no other write has. */
export const freshWriteId = (): string => crypto.randomUUID()

/** Put options that fit `data`, with a fresh write id. */
export const putOptions = (data: Uint8Array, more?: Partial<PutOptions>): PutOptions => ({
  writeId: freshWriteId(),
  crc32: crc32(data),
  ...more,
})

/** An object read back whole: its facts and its bytes. */
export const read: (
  backend: Backend,
  key: string,
  options?: GetOptions,
) => Effect.Effect<{ readonly info: ObjectInfo; readonly data: Uint8Array }, StoreError> = Effect.fnUntraced(
  function* (backend, key, options) {
    const { info, body, length } = yield* backend.get(key, options)
    const data = yield* Effect.tryPromise({
      try: () => collect(body),
      catch: (error) =>
        StoreError.is(error) ? error : new StoreError({
          reason: "Protocol",
          operation: "get",
          key,
          detail: `its body failed with something that is no StoreError: ${error}`,
          cause: error,
        }),
    })
    if (data.length !== length) throw new Error(`the body of ${key} delivered ${data.length} of ${length} bytes`)
    return { info, data }
  },
)

/** Everything a listing finds, page by page until there is no cursor. */
export const listAll: (
  backend: Backend,
  options: ListOptions,
) => Effect.Effect<{ readonly objects: Array<ObjectEntry>; readonly prefixes: Array<string> }, StoreError> = Effect
  .fnUntraced(function* (backend, options) {
    const objects: Array<ObjectEntry> = []
    const prefixes: Array<string> = []
    const cursors = new Set<string>()
    let { cursor } = options
    do {
      const page = yield* backend.list({ ...options, cursor })
      const names = [...page.objects.map(({ key }) => key), ...page.prefixes]
      if (names.length > (options.limit ?? 1000)) throw new Error(`a page of ${names.length}, limit ${options.limit}`)
      objects.push(...page.objects)
      prefixes.push(...page.prefixes)
      cursor = page.cursor
      if (cursor !== undefined && cursors.has(cursor)) {
        throw new Error(`the cursor ${cursor} came twice: an endless list`)
      }
      if (cursor !== undefined) cursors.add(cursor)
    } while (cursor !== undefined)
    return { objects, prefixes }
  })

/** Sends `data` as parts of `partSize`; `order` gives the indices of the parts in the order they are sent. */
const sendParts = (
  backend: Backend,
  upload: Upload,
  data: Uint8Array,
  partSize: number,
  order: "ascending" | "descending" | "concurrent" = "ascending",
): Effect.Effect<Array<Part>, StoreError> => {
  const send = (index: number) => {
    const piece = data.subarray(index * partSize, (index + 1) * partSize)
    return backend.putPart(upload, { number: index + 1, offset: index * partSize, crc32: crc32(piece) }, piece)
  }
  const indices = Array.from({ length: Math.max(1, Math.ceil(data.length / partSize)) }, (_, index) => index)
  return Effect.map(
    Effect.forEach(order === "descending" ? indices.reverse() : indices, send, {
      concurrency: order === "concurrent" ? "unbounded" : 1,
    }),
    (parts) => parts.sort((a, b) => a.number - b.number),
  )
}

const completeOptions = (data: Uint8Array, more?: Partial<CompleteOptions>): CompleteOptions => ({
  size: data.length,
  crc32: crc32(data),
  ...more,
})

// ---------------------------------------------------------------------------------------------------------
// How a case runs.
// ---------------------------------------------------------------------------------------------------------

interface Trial {
  readonly backend: Backend
  readonly capabilities: Capabilities
  /** Under which the case keeps its keys; ends in "/". */
  readonly prefix: string
  /** Puts `data`, by default a few bytes. */
  readonly put: (key: string, data?: Uint8Array, more?: Partial<PutOptions>) => Effect.Effect<ObjectInfo, StoreError>
  /** Dies unless the object is there with these bytes. */
  readonly holds: (key: string, data: Uint8Array) => Effect.Effect<ObjectInfo, StoreError>
  /** Dies unless neither `stat`, `get` nor `list` finds anything under `key`. */
  readonly absent: (key: string) => Effect.Effect<void, StoreError>
}

/** A case is the body of an `Effect.gen`; it shows a fault by throwing. */
type Run = (trial: Trial) => Generator<Effect.Effect<unknown, StoreError, Scope.Scope>, void, never>

interface Definition {
  readonly title: string
  /** Why the case does not apply. */
  readonly lacks?: ((capabilities: Capabilities, backend: Backend) => string | undefined) | undefined
  readonly run: Run
}

const small = bytes(1, 100)

const runCase = (
  make: () => Effect.Effect<Backend, StoreError, Scope.Scope>,
  run: Run,
): Promise<void> => {
  const prefix = `conformance-${crypto.randomUUID()}/`
  const program = Effect.gen(function* () {
    const backend = yield* make()
    const clear = Effect.gen(function* () {
      for (const place of [prefix, `/${prefix}`, `.holdfast/${prefix}`, `tmp/${prefix}`]) {
        const { objects } = yield* listAll(backend, { prefix: place })
        if (objects.length > 0) yield* backend.removeMany(objects.map(({ key }) => key))
      }
    })
    // A case that failed has said so; that its cleaning up failed too is no news.
    yield* Effect.addFinalizer(() => Effect.ignore(clear))
    const trial: Trial = {
      backend,
      capabilities: backend.capabilities,
      prefix,
      put: (key, data = small, more) => backend.put(key, data, putOptions(data, more)),
      holds: (key, data) =>
        Effect.map(read(backend, key), (found) => {
          expectBytes(found.data, data, `the bytes of ${key}`)
          expectSame(found.info.size, data.length, `the size of ${key}`)
          return found.info
        }),
      absent: Effect.fnUntraced(function* (key) {
        yield* expectReason(backend.stat(key), "NotFound")
        yield* expectReason(backend.get(key), "NotFound")
        const { objects } = yield* listAll(backend, { prefix: key })
        expectSame(objects.filter((object) => object.key === key), [], `the list of ${key}`)
      }),
    }
    yield* Effect.gen(() => run(trial))
  })
  return Effect.runPromise(Effect.scoped(program))
}

const definitions: Array<Definition> = []

const add = (title: string, run: Run): void => void definitions.push({ title, run })

const addIf = (title: string, lacks: Definition["lacks"], run: Run): void =>
  void definitions.push({ title, lacks, run })

const both =
  (...lacks: ReadonlyArray<NonNullable<Definition["lacks"]>>): Definition["lacks"] => (capabilities, backend) =>
    lacks.map((lack) => lack(capabilities, backend)).find((why) => why !== undefined)

const uploads = (c: Capabilities) => c.parts === undefined ? "the backend has no uploads" : undefined
const lateFacts = (c: Capabilities) => c.lateFacts ? undefined : "lateFacts is not true"
const resumable = (_: Capabilities, { listParts, listUploads }: Backend) =>
  listParts === undefined || listUploads === undefined ? "the backend has no listParts and listUploads" : undefined
const anyOrder = (c: Capabilities) => c.parts?.sequential ? "parts must arrive one after the other" : undefined
const manyParts = (c: Capabilities) => (c.parts?.maxCount ?? 0) < 3 ? "the backend takes fewer than 3 parts" : undefined
const checksum = (c: Capabilities) => c.enforcedChecksum ? undefined : "the backend does not check CRC-32 itself"
const copies = (c: Capabilities) => c.copy ? undefined : "the backend has no copy"
const moves = (c: Capabilities) => c.move ? undefined : "the backend has no move"
const keeps = (name: keyof Capabilities["conditional"]) => (c: Capabilities) =>
  c.conditional[name] ? undefined : `conditional.${name} is false`
const refuses = (name: keyof Capabilities["conditional"]) => (c: Capabilities) =>
  c.conditional[name] ? `conditional.${name} is true` : undefined

const rulesOf = ({ parts }: Capabilities): PartRules => parts!

/** The smallest part size that is still worth a test: parts below `minSize` are not allowed. */
const testPartSize = (capabilities: Capabilities): number => Math.max(capabilities.parts?.minSize ?? 1, 1000)

/** A writer that lost a race: refused at once, or told to come again and refused then. */
const lost = (error: StoreError, reason: Reason): boolean =>
  error.reason === reason || (error.reason === "Conflict" && error.transient)

/** The index of the writer that won; throws unless there is exactly one and the others were refused for `reason`. */
const onlyWinner = (results: ReadonlyArray<Result.Result<unknown, StoreError>>, reason: Reason): number => {
  for (const result of results) {
    if (Result.isFailure(result) && !lost(result.failure, reason)) throw result.failure
  }
  expectSame(results.filter(Result.isSuccess).length, 1, "the number of writers that won")
  return results.findIndex(Result.isSuccess)
}

// ---------------------------------------------------------------------------------------------------------
// The cases: whole objects
// ---------------------------------------------------------------------------------------------------------

add(
  "capabilities agree with the methods there are",
  function* ({ backend, capabilities: { copy, move, parts, maxPut } }) {
    expectSame(backend.copy !== undefined, copy, "whether there is a copy")
    expectSame(backend.move !== undefined, move, "whether there is a move")
    if (!(maxPut > 0)) throw new Error(`maxPut is ${maxPut}`)
    if (parts === undefined) return
    if (!(parts.minSize <= parts.recommendedSize && parts.recommendedSize <= parts.maxSize)) {
      throw new Error(`parts of ${parts.minSize} to ${parts.maxSize} bytes, but ${parts.recommendedSize} recommended`)
    }
    if (!(parts.maxCount >= 1 && parts.concurrency >= 1)) throw new Error(`parts make no sense: ${show(parts)}`)
    if (parts.sequential && parts.concurrency !== 1) {
      throw new Error("parts are sequential, and concurrent by default")
    }
  },
)

add(
  "put() stores an object that stat, get and list agree on",
  function* ({ backend, prefix, put, holds }) {
    const key = `${prefix}agent/run.json`
    const before = Date.now()
    const made = yield* put(key, small, { contentType: "application/json", metadata: { run: "42" } })
    expectSame(made.key, key, "the key")
    expectSame(made.size, small.length, "the size")
    const found = yield* backend.stat(key)
    expectSame(found, { ...made, modified: found.modified }, "what stat says against what put said")
    const body = yield* holds(key, small)
    expectSame(body, found, "what get says against what stat said")
    const { objects } = yield* listAll(backend, { prefix: key })
    expectSame(objects.length, 1, "the objects listed")
    expectSame(objects[0]!.key, key, "the key listed")
    expectSame(objects[0]!.size, small.length, "the size listed")
    expectSame(objects[0]!.etag ?? found.etag, found.etag, "the etag listed")
    // An hour for two clocks that disagree, not more: a time in seconds or of 1970 is a bug.
    for (const { modified } of [made, found, objects[0]!]) {
      if (!(Math.abs(modified.getTime() - before) < 3_600_000)) throw new Error(`modified is ${modified}`)
    }
  },
)

add(
  "put() replaces an object, its metadata and its checksums as a whole",
  function* ({ backend, prefix, put, holds }) {
    const key = `${prefix}a`
    yield* put(key, bytes(2, 500), { contentType: "text/plain", metadata: { old: "1" }, sha256: "00".repeat(32) })
    yield* put(key, bytes(3, 20), { metadata: { new: "1" } })
    const info = yield* holds(key, bytes(3, 20))
    expectSame(info.metadata, { new: "1" }, "the metadata")
    expectSame(info.sha256, undefined, "the SHA-256")
    if (info.contentType === "text/plain") throw new Error("the content type is that of the object before")
    expectSame((yield* backend.stat(key)).metadata, { new: "1" }, "the metadata by stat")
  },
)

add(
  "put() keeps the write id and gives every write its own etag",
  function* ({ backend, prefix, put }) {
    const key = `${prefix}a`
    const etags = new Set<string>()
    for (let round = 0; round < 3; round++) {
      const writeId = freshWriteId()
      const made = yield* put(key, small, { writeId })
      const found = yield* backend.stat(key)
      expectSame([made.writeId, found.writeId], [writeId, writeId], "the write id by put and by stat")
      expectSame(found.etag, made.etag, "the etag by stat")
      etags.add(made.etag)
    }
    expectSame(etags.size, 3, "the number of different etags after 3 writes of the same bytes")
    for (const etag of etags) {
      if (/^$|^"|^W\//.test(etag)) throw new Error(`the etag ${etag} is empty, quoted or weak`)
    }
  },
)

add("put() keeps the codec, the length before it, and the SHA-256", function* ({ backend, prefix, put }) {
  const facts = { codec: "zstd", length: 2 ** 40 + 1, sha256: "0123456789abcdef".repeat(4) }
  yield* put(`${prefix}a`, small, facts)
  yield* put(`${prefix}b`, small)
  const { codec, length, sha256 } = yield* backend.stat(`${prefix}a`)
  expectSame({ codec, length, sha256 }, facts, "the facts")
  expectSame((yield* read(backend, `${prefix}a`)).info.codec, "zstd", "the codec")
  expectSame((yield* backend.stat(`${prefix}b`)).codec, undefined, "the codec of what has none")
})

add("put() keeps metadata and content type exactly", function* ({ backend, prefix, put }) {
  const long = { long: "x".repeat(maxMetadataBytes - "long".length) }
  const wide = { wide: "é".repeat(664) }
  const cases: ReadonlyArray<Record<string, string>> = [
    {},
    { empty: "" },
    { plain: "value", "with-dash": "1", "with_underscore": "2", "with.dot": "3", "0digit": "4" },
    { unicode: "Grüße, 世界 👋🏽", combining: "e\u0301", composed: "\u00e9" },
    { spaces: "  outer  and  double  ", tab: "\ta\t", space: " " },
    { percent: "%41%zz", quotes: `"'\``, base64: "=?UTF-8?B?w6k=?=", plus: "a+b", comma: "a, b;c=d", colon: ":" },
    { constructor: "1", tostring: "2", etag: "3", size: "4", "content-type": "5", "content-length": "6" },
    long,
    wide,
  ]
  for (const [index, metadata] of cases.entries()) {
    const key = `${prefix}${index}`
    const contentType = index % 2 === 0 ? "text/plain; charset=utf-8" : "application/vnd.holdfast+json"
    yield* put(key, small, { metadata, contentType })
    const stat = yield* backend.stat(key)
    const { info } = yield* read(backend, key)
    for (const found of [stat, info]) {
      expectSame(found.metadata, metadata, "the metadata")
      expectSame(found.contentType, contentType, "the content type")
    }
  }
})

add(
  "put() keeps the SHA-256 it is given, and a CRC-32 that is known is right",
  function* ({ backend, prefix, put }) {
    const sha256 = "0123456789abcdef".repeat(4)
    yield* put(`${prefix}a`, small, { sha256 })
    const info = yield* backend.stat(`${prefix}a`)
    expectSame(info.sha256, sha256, "the SHA-256")
    if (info.crc32 !== undefined) expectSame(formatCrc32(info.crc32), formatCrc32(crc32(small)), "the CRC-32")
    yield* put(`${prefix}b`)
    expectSame((yield* backend.stat(`${prefix}b`)).sha256, undefined, "the SHA-256 of an object saved without")
  },
)

addIf(
  "put() refuses bytes that do not match their CRC-32, and changes nothing",
  checksum,
  function* (t) {
    const wrong = (crc32(small) ^ 1) >>> 0
    yield* expectReason(t.put(`${t.prefix}new`, small, { crc32: wrong }), "Corrupt")
    yield* t.absent(`${t.prefix}new`)
    const before = yield* t.put(`${t.prefix}old`, bytes(4, 50))
    yield* expectReason(t.put(`${t.prefix}old`, small, { crc32: wrong }), "Corrupt")
    expectSame((yield* t.holds(`${t.prefix}old`, bytes(4, 50))).etag, before.etag, "the etag")
  },
)

add(
  "put() copies: the caller may overwrite its buffer when it returns",
  function* ({ prefix, put, holds }) {
    const buffer = bytes(5, 70_000)
    yield* put(`${prefix}a`, buffer)
    buffer.fill(0)
    yield* holds(`${prefix}a`, bytes(5, 70_000))
  },
)

add("put() stores a window into a larger buffer", function* ({ prefix, put, holds }) {
  const buffer = bytes(6, 3000)
  yield* put(`${prefix}a`, buffer.subarray(1001, 2003))
  yield* holds(`${prefix}a`, buffer.slice(1001, 2003))
})

add(
  "get() hands out bytes and facts that cannot change what is stored",
  function* ({ backend, prefix, put, holds }) {
    yield* put(`${prefix}a`, small, { metadata: { kept: "1" } })
    const { info, body } = yield* backend.get(`${prefix}a`)
    const reader = body.getReader()
    yield* Effect.promise(async () => {
      for (let next = await reader.read(); !next.done; next = await reader.read()) next.value.fill(0)
    })
    info.modified.setTime(0)
    Reflect.set(info.metadata, "kept", "2")
    const now = yield* holds(`${prefix}a`, small)
    expectSame(now.metadata, { kept: "1" }, "the metadata")
    if (now.modified.getTime() === 0) throw new Error("the time of the object has been changed by a reader")
  },
)

add(
  "put(), stat() and get() hold at every boundary length and range",
  function* ({ backend, capabilities, prefix, put, holds }) {
    for (const p of new Set([1000, 65_536, Math.min(testPartSize(capabilities), capabilities.maxPut)])) {
      for (const length of boundaryLengths(p).filter((length) => length <= capabilities.maxPut)) {
        const key = `${prefix}${p}-${length}`
        yield* put(key, bytes(length, length))
        yield* holds(key, bytes(length, length))
        yield* checkRanges(backend, key, bytes(length, length), p)
      }
    }
  },
)

add("get() refuses a range that starts beyond the end", function* ({ backend, prefix, put }) {
  yield* put(`${prefix}a`)
  yield* put(`${prefix}empty`, new Uint8Array(0))
  const beyond: ReadonlyArray<[key: string, range: GetOptions]> = [
    ["a", { offset: 100 }],
    ["a", { offset: 100, length: 1 }],
    ["a", { offset: 101, length: 0 }],
    ["a", { offset: 2 ** 40, length: 10 }],
    ["empty", { offset: 1 }],
    ["empty", { offset: 0, length: 1 }],
  ]
  for (const [key, range] of beyond) yield* expectReason(backend.get(`${prefix}${key}`, range), "RangeNotSatisfiable")
  for (const key of ["a", "empty"]) {
    const size = key === "a" ? 100 : 0
    const { data } = yield* read(backend, `${prefix}${key}`, { offset: size, length: 0 })
    expectSame(data.length, 0, "the length of an empty range at the end")
  }
  expectSame((yield* read(backend, `${prefix}empty`)).data.length, 0, "the length of an empty object")
})

add("get() with ifMatch delivers that version only", function* ({ backend, prefix, put }) {
  const key = `${prefix}a`
  const first = yield* put(key)
  expectBytes((yield* read(backend, key, { ifMatch: first.etag })).data, small, "the bytes")
  const second = yield* put(key, bytes(7, 10))
  yield* expectReason(backend.get(key, { ifMatch: first.etag }), "PreconditionFailed")
  yield* expectReason(backend.get(key, { ifMatch: first.etag, offset: 1, length: 2 }), "PreconditionFailed")
  const { data } = yield* read(backend, key, { ifMatch: second.etag, offset: 1, length: 2 })
  expectBytes(data, bytes(7, 10).slice(1, 3), "the range")
  yield* expectReason(backend.get(`${prefix}missing`, { ifMatch: first.etag }), "NotFound", "PreconditionFailed")
})

add("get() with ifNoneMatch delivers a changed version only", function* ({ backend, prefix, put }) {
  const key = `${prefix}a`
  const first = yield* put(key)
  yield* expectReason(backend.get(key, { ifNoneMatch: first.etag }), "NotModified")
  yield* put(key, bytes(7, 10))
  expectBytes((yield* read(backend, key, { ifNoneMatch: first.etag })).data, bytes(7, 10), "the bytes")
})

add(
  "stat() and get() of a missing object are NotFound, with its key",
  function* ({ backend, prefix }) {
    const key = `${prefix}missing`
    const calls: ReadonlyArray<Effect.Effect<unknown, StoreError>> = [backend.stat(key), backend.get(key)]
    for (const call of calls) {
      const error = yield* expectReason(call, "NotFound")
      expectSame([error.key, error.transient], [key, false], "key and transient of the error")
    }
  },
)

// ---------------------------------------------------------------------------------------------------------
// Bodies
// ---------------------------------------------------------------------------------------------------------

add("get() serves two readers of one object at once", function* ({ backend, prefix, put }) {
  const data = bytes(8, 700_001)
  yield* put(`${prefix}a`, data)
  const results = yield* Effect.all([read(backend, `${prefix}a`), read(backend, `${prefix}a`, { offset: 17 })], {
    concurrency: "unbounded",
  })
  expectBytes(results[0].data, data, "the first reader")
  expectBytes(results[1].data, data.slice(17), "the second reader")
})

add(
  "get() lets its body be cancelled before, within and after its bytes",
  function* ({ backend, prefix, put, holds }) {
    const data = bytes(9, 600_000)
    yield* put(`${prefix}a`, data)
    for (const after of [0, 1, 300_000, 600_000]) {
      const { body } = yield* backend.get(`${prefix}a`)
      const reader = body.getReader()
      yield* Effect.promise(async () => {
        for (let seen = 0; seen < after;) {
          const { done, value } = await reader.read()
          if (done) throw new Error(`the body ended after ${seen} of ${data.length} bytes`)
          expectBytes(value, data.subarray(seen, seen + value.length), `the chunk at ${seen}`)
          seen += value.length
        }
        await reader.cancel(new Error("enough"))
      })
    }
    yield* holds(`${prefix}a`, data)
  },
)

add(
  "get() with an open body keeps no writer waiting, and its bytes stay those of one version",
  function* (t) {
    const key = `${t.prefix}a`
    const data = bytes(10, 900_000)
    yield* t.put(key, data)
    const { body } = yield* t.backend.get(key)
    const reader = body.getReader()
    const first = yield* Effect.promise(() => reader.read())
    yield* t.put(key, bytes(11, 900_000))
    yield* t.backend.remove(key)
    yield* t.put(key, bytes(12, 5))
    reader.releaseLock()
    // A remote body may break here, but it may not go on with other bytes.
    const rest = yield* Effect.result(Effect.tryPromise({ try: () => collect(body), catch: (error) => error }))
    if (Result.isSuccess(rest)) {
      const all = new Uint8Array(first.value!.length + rest.success.length)
      all.set(first.value!)
      all.set(rest.success, first.value!.length)
      expectBytes(all, data, "the version that was opened")
    } else if (!StoreError.is(rest.failure)) throw new Error(`the body failed with ${rest.failure}, no StoreError`)
    yield* t.holds(key, bytes(12, 5))
  },
)

add(
  "get() sees the old or the new object, never a mix, while it is overwritten",
  function* ({ backend, prefix, put }) {
    const key = `${prefix}a`
    const rounds = 20
    const content = (version: number) => bytes(version, 50_000 + version * 1000)
    const write = (version: number) => put(key, content(version), { metadata: { version: String(version) } })
    yield* write(0)
    const writer = yield* Effect.forkChild(Effect.gen(function* () {
      for (let version = 1; version <= rounds; version++) {
        yield* write(version)
        yield* Effect.yieldNow
      }
    }))
    const reader = Effect.gen(function* () {
      for (let seen = 0; seen < rounds;) {
        const { info, data } = yield* read(backend, key)
        const version = Number(info.metadata["version"])
        if (version < seen) throw new Error(`version ${version} was read after version ${seen}`)
        expectBytes(data, content(version), `the bytes beside the metadata of version ${version}`)
        seen = version
        yield* Effect.yieldNow
      }
    })
    yield* Effect.all([reader, reader, Fiber.join(writer)], { concurrency: "unbounded" })
  },
)

add("put() that is interrupted leaves the whole object or none", function* ({ backend, prefix, put }) {
  for (let turns = 0; turns < 8; turns++) {
    const key = `${prefix}${turns}`
    const data = bytes(turns, 300_000)
    const fiber = yield* Effect.forkChild(put(key, data))
    for (let turn = 0; turn < turns; turn++) yield* Effect.yieldNow
    yield* Fiber.interrupt(fiber)
    const found = yield* Effect.result(read(backend, key))
    if (Result.isSuccess(found)) expectBytes(found.success.data, data, "the bytes of an interrupted put")
    else expectSame(found.failure.reason, "NotFound", "the reason after an interrupted put")
  }
})

// ---------------------------------------------------------------------------------------------------------
// Conditions
// ---------------------------------------------------------------------------------------------------------

addIf("put() with ifNoneMatch creates, and refuses to replace", keeps("create"), function* (t) {
  const key = `${t.prefix}a`
  const made = yield* t.put(key, small, { ifNoneMatch: "*" })
  yield* expectReason(t.put(key, bytes(2, 9), { ifNoneMatch: "*" }), "AlreadyExists")
  expectSame((yield* t.holds(key, small)).etag, made.etag, "the etag")
  yield* t.backend.remove(key)
  yield* t.put(key, bytes(2, 9), { ifNoneMatch: "*" })
  yield* t.holds(key, bytes(2, 9))
})

addIf(
  "put() with ifNoneMatch lets exactly one of 16 writers win",
  keeps("create"),
  function* ({ backend, prefix, put }) {
    const key = `${prefix}a`
    const content = (writer: number) => bytes(writer, 10_000 + writer)
    const writers = Array.from({ length: 16 }, (_, writer) => writer)
    const results = yield* Effect.forEach(
      writers,
      (writer) => Effect.result(put(key, content(writer), { ifNoneMatch: "*" })),
      { concurrency: "unbounded" },
    )
    const winner = onlyWinner(results, "AlreadyExists")
    expectBytes((yield* read(backend, key)).data, content(winner), "the winner's bytes")
  },
)

addIf("put() with ifMatch replaces that version only", keeps("replace"), function* (t) {
  const key = `${t.prefix}a`
  const first = yield* t.put(key)
  const second = yield* t.put(key, bytes(2, 9), { ifMatch: first.etag })
  yield* expectReason(t.put(key, bytes(3, 9), { ifMatch: first.etag }), "PreconditionFailed")
  expectSame((yield* t.holds(key, bytes(2, 9))).etag, second.etag, "the etag")
  yield* t.backend.remove(key)
  yield* expectReason(t.put(key, bytes(3, 9), { ifMatch: second.etag }), "PreconditionFailed")
  yield* t.absent(key)
  // The same bytes again are another version: content alone must not decide.
  const third = yield* t.put(key)
  expectSame(third.etag === first.etag, false, "whether a new write of old bytes has the old etag")
  yield* expectReason(t.put(key, small, { ifMatch: first.etag }), "PreconditionFailed")
})

addIf(
  "put() with ifMatch loses no update of 4 writers",
  keeps("replace"),
  function* ({ backend, prefix, put }) {
    const key = `${prefix}counter`
    const encode = (count: number) => new TextEncoder().encode(String(count))
    yield* put(key, encode(0))
    const increment = Effect.gen(function* () {
      for (;;) {
        const { info, data } = yield* read(backend, key)
        const next = Number(new TextDecoder().decode(data)) + 1
        const result = yield* Effect.result(put(key, encode(next), { ifMatch: info.etag }))
        if (Result.isSuccess(result)) return
        if (!lost(result.failure, "PreconditionFailed")) throw result.failure
        yield* Effect.yieldNow
      }
    })
    yield* Effect.forEach([1, 2, 3, 4], () => Effect.forEach([1, 2, 3, 4, 5], () => increment), {
      concurrency: "unbounded",
    })
    expectBytes((yield* read(backend, key)).data, encode(20), "the counter after 4 × 5 increments")
  },
)

for (
  const [capability, condition] of [
    ["create", { ifNoneMatch: "*" }],
    ["replace", { ifMatch: "any" }],
  ] as ReadonlyArray<["create" | "replace", WriteCondition]>
) {
  addIf(
    `put() refuses ${Object.keys(condition)}, which it cannot keep`,
    refuses(capability),
    function* (t) {
      yield* expectReason(t.put(`${t.prefix}a`, small, condition), "Unsupported")
      yield* t.absent(`${t.prefix}a`)
    },
  )
}

// ---------------------------------------------------------------------------------------------------------
// Removing
// ---------------------------------------------------------------------------------------------------------

add(
  "remove() removes, and counts a missing object as removed",
  function* ({ backend, prefix, put, absent, holds }) {
    yield* put(`${prefix}a`)
    yield* put(`${prefix}ab`)
    yield* backend.remove(`${prefix}a`)
    yield* absent(`${prefix}a`)
    yield* backend.remove(`${prefix}a`)
    yield* backend.remove(`${prefix}never/was`)
    yield* holds(`${prefix}ab`, small)
  },
)

addIf(
  "remove() with ifMatch removes that version only",
  keeps("remove"),
  function* ({ backend, prefix, put, absent, holds }) {
    const key = `${prefix}a`
    const first = yield* put(key)
    const second = yield* put(key, bytes(2, 9))
    yield* expectReason(backend.remove(key, { ifMatch: first.etag }), "PreconditionFailed")
    yield* holds(key, bytes(2, 9))
    yield* backend.remove(key, { ifMatch: second.etag })
    yield* absent(key)
    yield* expectReason(backend.remove(key, { ifMatch: second.etag }), "PreconditionFailed")
  },
)

addIf(
  "remove() refuses ifMatch, which it cannot keep",
  refuses("remove"),
  function* ({ backend, prefix, put, holds }) {
    const { etag } = yield* put(`${prefix}a`)
    yield* expectReason(backend.remove(`${prefix}a`, { ifMatch: etag }), "Unsupported")
    yield* holds(`${prefix}a`, small)
  },
)

add(
  "removeMany() answers for each key, missing ones included",
  function* ({ backend, prefix, put, absent, holds }) {
    const keys = ["a", "b c", "d/e", "&<x>", "missing"].map((name) => `${prefix}${name}`)
    for (const key of [...keys.slice(0, 4), `${prefix}kept`]) yield* put(key)
    const results = yield* backend.removeMany(keys)
    expectSame(results.map(({ key }) => key).sort(compareKeys), [...keys].sort(compareKeys), "the keys answered for")
    expectSame(results.filter(({ error }) => error !== undefined), [], "the keys that could not be removed")
    for (const key of keys) yield* absent(key)
    yield* holds(`${prefix}kept`, small)
    expectSame(yield* backend.removeMany([]), [], "the answer for no keys")
  },
)

// ---------------------------------------------------------------------------------------------------------
// Listing
// ---------------------------------------------------------------------------------------------------------

/** In the order of UTF-8, where JavaScript's own order would put U+1F600 before U+FF5E. */
const ordered = [
  "A",
  "a.b",
  "a/b",
  "a/b.c",
  "a/bc",
  "ab",
  "b",
  "e\u0301",
  "z",
  "\u00e9",
  "\u4e16",
  "\uff5e",
  "\u{1f600}",
]

const keysOf = (objects: ReadonlyArray<ObjectEntry>, prefix: string): ReadonlyArray<string> =>
  objects.map(({ key }) => key.slice(prefix.length))

add("list() orders keys by their UTF-8 bytes", function* ({ backend, prefix, put }) {
  for (const name of [...ordered].reverse()) yield* put(`${prefix}${name}`)
  const { objects, prefixes } = yield* listAll(backend, { prefix })
  expectSame(keysOf(objects, prefix), ordered, "the keys")
  expectSame(prefixes, [], "the prefixes without a delimiter")
})

add("list() takes a prefix as text, not as a folder", function* ({ backend, prefix, put }) {
  for (const name of ordered) yield* put(`${prefix}${name}`)
  const expected: ReadonlyArray<[string, ReadonlyArray<string>]> = [
    ["a", ["a.b", "a/b", "a/b.c", "a/bc", "ab"]],
    ["a/", ["a/b", "a/b.c", "a/bc"]],
    ["a/b", ["a/b", "a/b.c", "a/bc"]],
    ["a/bc", ["a/bc"]],
    ["a/b/", []],
    ["\u{1f600}", ["\u{1f600}"]],
    ["nothing/here", []],
  ]
  for (const [name, keys] of expected) {
    const { objects } = yield* listAll(backend, { prefix: `${prefix}${name}` })
    expectSame(keysOf(objects, prefix), keys, `the keys that start with ${name}`)
  }
  const nothing = yield* backend.list({ prefix: `${prefix}nothing/here` })
  expectSame(nothing.objects.length, 0, "the objects under a prefix that nothing has")
})

add(
  "list() with a delimiter folds what lies deeper, each prefix once",
  function* ({ backend, prefix, put }) {
    for (const name of ["a", "b/1", "b/2/x", "b/2/y", "b.c", "c//d", "c/e"]) yield* put(`${prefix}${name}`)
    const expected: ReadonlyArray<[string, ReadonlyArray<string>, ReadonlyArray<string>]> = [
      ["", ["a", "b.c"], ["b/", "c/"]],
      ["b", ["b.c"], ["b/"]],
      ["b/", ["b/1"], ["b/2/"]],
      ["b/2", [], ["b/2/"]],
      ["c/", ["c/e"], ["c//"]],
      ["d", [], []],
    ]
    for (const limit of [1, 2, 3, undefined]) {
      for (const [name, keys, folded] of expected) {
        const found = yield* listAll(backend, { prefix: `${prefix}${name}`, delimiter: "/", limit })
        const what = `under "${name}", ${limit ?? 1000} a page`
        expectSame(keysOf(found.objects, prefix), keys, `the keys ${what}`)
        expectSame(found.prefixes.map((each) => each.slice(prefix.length)), folded, `the prefixes ${what}`)
      }
    }
  },
)

add(
  "list() shows a folder no more once its last object is removed",
  function* ({ backend, prefix, put }) {
    yield* put(`${prefix}a/b/c`)
    yield* backend.remove(`${prefix}a/b/c`)
    const { objects, prefixes } = yield* backend.list({ prefix, delimiter: "/" })
    expectSame([objects, prefixes], [[], []], "what is left")
  },
)

add("list() in pages of 1, 2 and 3 loses and repeats nothing", function* ({ backend, prefix, put }) {
  for (const name of ordered) yield* put(`${prefix}${name}`)
  for (const limit of [1, 2, 3]) {
    const { objects } = yield* listAll(backend, { prefix, limit })
    expectSame(keysOf(objects, prefix), ordered, `the keys in pages of ${limit}`)
  }
})

add("list() goes on after its cursor while keys come and go", function* ({ backend, prefix, put }) {
  for (const name of ["b", "d", "f", "h"]) yield* put(`${prefix}${name}`)
  const first = yield* backend.list({ prefix, limit: 2 })
  expectSame(keysOf(first.objects, prefix), ["b", "d"], "the first page")
  yield* backend.remove(`${prefix}d`)
  yield* backend.remove(`${prefix}f`)
  yield* put(`${prefix}a`)
  yield* put(`${prefix}g`)
  const { objects } = yield* listAll(backend, { prefix, limit: 2, cursor: first.cursor })
  expectSame(keysOf(objects, prefix), ["g", "h"], "what follows the cursor")
})

// ---------------------------------------------------------------------------------------------------------
// Keys
// ---------------------------------------------------------------------------------------------------------

/** Keys that some store or file system mangles, each stored in a place of its own. */
const oddKeys: ReadonlyArray<string> = [
  " ",
  " leading and trailing ",
  "a+b%?#&=;:@,$!'()*",
  "~",
  "~tilde",
  "%25",
  "a%2fb",
  "a%2Fb",
  "%",
  "%~",
  "a%~b",
  "%00",
  "emoji-👩🏽‍🚀",
  "\uff5e\u{10ffff}",
  "a//b",
  "//",
  "a/",
  "a//",
  "trailing.",
  "trailing./x",
  "...",
  ".hidden",
  ".holdfast",
  ".holdfast/tmp/x",
  "tmp",
  "tmp/x",
  "CON",
  "nul.txt",
  "aux/x",
  "a:b",
  'a|b<c>d"e*f',
  "[x]{y}^`",
  "index.html",
  "__proto__",
  "constructor/prototype",
  "<Key>&amp;</Key>",
  "-rf",
  "\u00a0\u2028\ufeff",
  "\ufffd",
  "x".repeat(255),
  "x".repeat(300),
  `${"x".repeat(300)}/${"y".repeat(256)}/z`,
  "é".repeat(128),
  "%".repeat(200),
]

add(
  "a key comes back as it was given, however odd",
  function* ({ backend, prefix, put, holds, absent }) {
    const keys = oddKeys.map((name, index) => `${prefix}${index}/${name}`)
    for (const [index, key] of keys.entries()) {
      const info = yield* put(key, bytes(index, 30))
      expectSame(info.key, key, "the key by put")
    }
    for (const [index, key] of keys.entries()) {
      yield* holds(key, bytes(index, 30))
      expectSame((yield* backend.stat(key)).key, key, "the key by stat")
      const { objects } = yield* listAll(backend, { prefix: key })
      expectSame(objects.map((object) => object.key), [key], "the key by list")
    }
    const sorted = [...keys].sort(compareKeys)
    expectSame((yield* listAll(backend, { prefix })).objects.map(({ key }) => key), sorted, "all keys")
    expectSame((yield* listAll(backend, { prefix, limit: 7 })).objects.map(({ key }) => key), sorted, "all, in pages")
    for (const key of keys) {
      yield* backend.remove(key)
      yield* absent(key)
    }
  },
)

add(
  "a key of 1,024 bytes is stored, in one segment and in many",
  function* ({ backend, prefix, put, holds }) {
    const room = 1024 - utf8Length(prefix)
    const keys = [
      prefix + "x".repeat(room),
      prefix + "é".repeat(room / 2 | 0),
      prefix + "y/".repeat(room / 2 | 0).slice(0, -1),
    ]
    for (const key of keys) {
      yield* put(key)
      yield* holds(key, small)
    }
    const { objects } = yield* listAll(backend, { prefix })
    expectSame(objects.map(({ key }) => key), keys.sort(compareKeys), "the keys")
  },
)

add("keys that look alike are different objects", function* ({ backend, prefix, put, holds }) {
  const alike = ["\u00e9", "e\u0301", "A", "a", "a ", "a.", "%61", "\u0430", "\uff41", "a%20", "A%", "a+"]
  for (const [index, name] of alike.entries()) yield* put(`${prefix}${name}`, bytes(index, 20))
  for (const [index, name] of alike.entries()) yield* holds(`${prefix}${name}`, bytes(index, 20))
  expectSame((yield* listAll(backend, { prefix })).objects.length, alike.length, "the number of objects")
})

add("no top-level name is taken: .holdfast, tmp and a leading slash hold objects", function* (t) {
  const keys = [`/${t.prefix}a`, `.holdfast/${t.prefix}a`, `tmp/${t.prefix}a`]
  for (const key of keys) {
    yield* t.put(key)
    yield* t.holds(key, small)
    expectSame((yield* listAll(t.backend, { prefix: key })).objects.map((object) => object.key), [key], "the list")
    yield* t.backend.remove(key)
    yield* t.absent(key)
  }
})

addIf(
  "a and a/b can both be objects",
  (c) => c.nestedKeys ? undefined : "nestedKeys is false",
  function* ({ backend, prefix, put, holds, absent }) {
    yield* put(`${prefix}a`, bytes(1, 10))
    yield* put(`${prefix}a/b`, bytes(2, 10))
    yield* put(`${prefix}a/`, bytes(3, 10))
    yield* holds(`${prefix}a`, bytes(1, 10))
    yield* holds(`${prefix}a/b`, bytes(2, 10))
    yield* holds(`${prefix}a/`, bytes(3, 10))
    const { objects, prefixes } = yield* backend.list({ prefix, delimiter: "/" })
    expectSame([keysOf(objects, prefix), prefixes], [["a"], [`${prefix}a/`]], "the keys and prefixes")
    yield* backend.remove(`${prefix}a`)
    yield* absent(`${prefix}a`)
    yield* holds(`${prefix}a/b`, bytes(2, 10))
  },
)

addIf(
  "a and a/b in each other's way are a Conflict, until the first is removed",
  (c) => c.nestedKeys ? "nestedKeys is true" : undefined,
  function* ({ backend, prefix, put, holds, absent }) {
    yield* put(`${prefix}a`)
    yield* expectReason(put(`${prefix}a/b`), "Conflict")
    yield* absent(`${prefix}a/b`)
    yield* holds(`${prefix}a`, small)
    yield* backend.remove(`${prefix}a/b`)
    yield* put(`${prefix}c/d/e`)
    yield* expectReason(put(`${prefix}c`), "Conflict")
    yield* expectReason(put(`${prefix}c/d`), "Conflict")
    yield* absent(`${prefix}c`)
    yield* holds(`${prefix}c/d/e`, small)
    yield* backend.remove(`${prefix}c`)
    yield* backend.remove(`${prefix}a`)
    yield* put(`${prefix}a/b`)
    yield* backend.remove(`${prefix}c/d/e`)
    yield* put(`${prefix}c`)
    yield* holds(`${prefix}a/b`, small)
    yield* holds(`${prefix}c`, small)
  },
)

// ---------------------------------------------------------------------------------------------------------
// Uploads
// ---------------------------------------------------------------------------------------------------------

const boundaryLengths = (p: number): ReadonlyArray<number> => [0, 1, p - 1, p, p + 1, 2 * p, 2 * p + 500]

/**
 * Reads ranges at every border of `data` and of parts of `p` bytes, and compares them byte for byte; where
 * parts are large, only those that cross a border of parts, so that a remote store can be tried in minutes.
 */
const checkRanges: (
  backend: Backend,
  key: string,
  data: Uint8Array,
  p: number,
) => Effect.Effect<void, StoreError> = Effect.fnUntraced(function* (backend, key, data, p) {
  const size = data.length
  const large = p > 65_536
  const offsets = large ? [p - 1, size - 1] : [0, 1, p - 1, p, size >> 1, size - 1]
  const lengths = large ? [undefined, 2] : [undefined, 0, 1, 2, p, size, size + 1000]
  for (const offset of new Set(offsets.filter((at) => at >= 0 && at < size))) {
    for (const length of lengths) {
      const what = `${key} from ${offset}, length ${length}`
      const result = yield* backend.get(key, { offset, length })
      const expected = data.slice(offset, length === undefined ? undefined : offset + length)
      expectSame([result.offset, result.length], [offset, expected.length], `offset and length promised of ${what}`)
      expectSame(result.info.size, size, `the size of the whole object of ${what}`)
      expectBytes(yield* Effect.promise(() => collect(result.body)), expected, what)
    }
  }
})

const uploadGrid = (order: "ascending" | "descending" | "concurrent"): Run =>
  function* ({ backend, capabilities, prefix, holds }) {
    const rules = rulesOf(capabilities)
    const p = testPartSize(capabilities)
    // Many parts only where they are small: at 5 MiB a part the grid is large enough as it is.
    const sizes = p <= 65_536 ? [p, p + 1, 7 * p] : [p]
    for (const partSize of sizes.filter((size) => size <= rules.maxSize)) {
      const lengths = p <= 65_536 ? [...boundaryLengths(partSize), 9 * partSize + 1] : boundaryLengths(partSize)
      for (const length of lengths.filter((length) => Math.ceil(length / partSize) <= rules.maxCount)) {
        const key = `${prefix}${partSize}/${length}`
        const data = bytes(length, length)
        const upload = yield* backend.createUpload(key, { writeId: freshWriteId() })
        expectSame(upload.key, key, "the key of the upload")
        const parts = yield* sendParts(backend, upload, data, partSize, order)
        const info = yield* backend.completeUpload(upload, parts, completeOptions(data))
        expectSame([info.key, info.size], [key, length], "key and size of the object made")
        yield* holds(key, data)
        yield* checkRanges(backend, key, data, partSize)
      }
    }
  }

addIf("an upload makes the object its parts say, at every boundary length", uploads, uploadGrid("ascending"))
addIf("an upload takes its parts in reverse order", both(uploads, anyOrder), uploadGrid("descending"))
addIf("an upload takes its parts all at once", both(uploads, anyOrder), uploadGrid("concurrent"))

/** An upload of three parts that is begun and has its parts. */
const begun: (
  trial: Trial,
  key: string,
  seed?: number,
  head?: Partial<PutOptions>,
) => Effect.Effect<{ readonly upload: Upload; readonly parts: Array<Part>; readonly data: Uint8Array }, StoreError> =
  Effect.fnUntraced(function* ({ backend, capabilities }, key, seed = 20, head) {
    const partSize = testPartSize(capabilities)
    const data = bytes(seed, Math.min(rulesOf(capabilities).maxCount, 3) * partSize - 1)
    const upload = yield* backend.createUpload(key, { writeId: freshWriteId(), ...head })
    return { upload, parts: yield* sendParts(backend, upload, data, partSize), data }
  })

addIf(
  "createUpload() is refused where there are no uploads",
  (c) => c.parts && "the backend has uploads",
  function* (t) {
    yield* expectReason(t.backend.createUpload(`${t.prefix}a`, { writeId: freshWriteId() }), "Unsupported")
  },
)

addIf("an upload keeps metadata, content type, write id and codec", uploads, function* (t) {
  const head = { writeId: freshWriteId(), contentType: "text/plain", metadata: { run: "Grüße 👋🏽" }, codec: "gzip" }
  const { upload, parts, data } = yield* begun(t, `${t.prefix}a`, 20, head)
  const made = yield* t.backend.completeUpload(upload, parts, completeOptions(data))
  for (const info of [made, yield* t.backend.stat(`${t.prefix}a`)]) {
    const { writeId, contentType, metadata, codec } = info
    expectSame({ writeId, contentType, metadata, codec }, head, "the head")
    expectSame(info.etag, made.etag, "the etag")
    if (info.crc32 !== undefined) expectSame(formatCrc32(info.crc32), formatCrc32(crc32(data)), "the CRC-32")
  }
})

addIf("an upload keeps the SHA-256 and the length that only its end knows", both(uploads, lateFacts), function* (t) {
  const { upload, parts, data } = yield* begun(t, `${t.prefix}a`)
  const facts = { sha256: "fedcba9876543210".repeat(4), length: 2 ** 40 }
  const made = yield* t.backend.completeUpload(upload, parts, completeOptions(data, facts))
  for (const { sha256, length } of [made, yield* t.backend.stat(`${t.prefix}a`)]) {
    expectSame({ sha256, length }, facts, "the facts")
  }
})

addIf("a resumable upload is listed with its parts, and goes on by its id", both(uploads, resumable), function* (t) {
  const { backend, prefix } = t
  const key = `${prefix}dir/a`
  const mine = Effect.map(
    backend.listUploads!({ prefix }),
    ({ uploads }) => uploads.map(({ id, key }) => ({ id, key })),
  )
  expectSame(yield* mine, [], "the uploads before")
  const partSize = testPartSize(t.capabilities)
  const data = bytes(20, Math.min(rulesOf(t.capabilities).maxCount, 3) * partSize - 1)
  const upload = yield* backend.createUpload(key, { writeId: freshWriteId(), resumable: true })
  expectSame(yield* backend.listParts!(upload), [], "the parts before the first")
  expectSame(yield* mine, [{ id: upload.id, key }], "the uploads")
  const sent = yield* sendParts(backend, upload, data, partSize)
  const again = { id: upload.id, key }
  const listed = yield* backend.listParts!(again)
  const facts = (parts: ReadonlyArray<Part>) => parts.map(({ number, offset, size }) => ({ number, offset, size }))
  expectSame(facts(listed), facts(sent), "the parts")
  yield* backend.completeUpload(again, listed, completeOptions(data))
  yield* t.holds(key, data)
  expectSame(yield* mine, [], "the uploads after one has completed")
  const other = yield* backend.createUpload(key, { writeId: freshWriteId(), resumable: true })
  yield* backend.abortUpload(other)
  expectSame(yield* mine, [], "the uploads after one was aborted")
  yield* expectReason(backend.listParts!(other), "NotFound")
  yield* t.holds(key, data)
})

addIf("an upload's id goes with its key only", uploads, function* (t) {
  const { upload, parts, data } = yield* begun(t, `${t.prefix}a`)
  const other = { ...upload, key: `${t.prefix}b` }
  const part = { number: 1, offset: 0, crc32: crc32(small) }
  yield* expectReason(t.backend.putPart(other, part, small), "NotFound")
  // Services have their own words for this; what counts is that nothing comes of it.
  const stolen = yield* Effect.exit(t.backend.completeUpload(other, parts, completeOptions(data)))
  expectSame(stolen._tag, "Failure", "the completion under another key")
  yield* Effect.ignore(t.backend.abortUpload(other))
  yield* t.backend.completeUpload(upload, parts, completeOptions(data))
  yield* t.holds(`${t.prefix}a`, data)
  yield* t.absent(`${t.prefix}b`)
})

addIf(
  "an upload cannot be seen before it completes, and not at all once aborted",
  uploads,
  function* (t) {
    const key = `${t.prefix}a`
    const { upload, parts, data } = yield* begun(t, key)
    yield* t.absent(key)
    const { objects, prefixes } = yield* t.backend.list({ prefix: t.prefix, delimiter: "/" })
    expectSame([objects, prefixes], [[], []], "what a list shows of an upload")
    yield* t.backend.abortUpload(upload)
    yield* t.absent(key)
    yield* t.backend.abortUpload(upload)
    yield* expectReason(t.backend.completeUpload(upload, parts, completeOptions(data)), "NotFound")
    yield* t.absent(key)
    const again = { number: 1, offset: 0, crc32: crc32(small) }
    yield* expectReason(t.backend.putPart(upload, again, small), "NotFound")
    yield* t.absent(key)
  },
)

addIf("an upload leaves the object before it alone until it completes", uploads, function* (t) {
  const key = `${t.prefix}a`
  yield* t.put(key)
  const { upload, parts, data } = yield* begun(t, key)
  yield* t.holds(key, small)
  yield* t.backend.completeUpload(upload, parts, completeOptions(data))
  yield* t.holds(key, data)
})

addIf("abortUpload() of a completed upload leaves the object", uploads, function* (t) {
  const { upload, parts, data } = yield* begun(t, `${t.prefix}a`)
  yield* t.backend.completeUpload(upload, parts, completeOptions(data))
  yield* t.backend.abortUpload(upload)
  yield* t.holds(`${t.prefix}a`, data)
})

addIf("two uploads to one key do not mix, and the last to complete wins", uploads, function* (t) {
  const key = `${t.prefix}a`
  const one = yield* begun(t, key, 30)
  const two = yield* begun(t, key, 31)
  expectSame(one.upload.id === two.upload.id, false, "whether two uploads have one id")
  yield* t.backend.completeUpload(two.upload, two.parts, completeOptions(two.data))
  yield* t.holds(key, two.data)
  yield* t.backend.completeUpload(one.upload, one.parts, completeOptions(one.data))
  yield* t.holds(key, one.data)
})

addIf(
  "putPart() of a number again replaces that part",
  both(uploads, anyOrder, manyParts),
  function* (t) {
    const key = `${t.prefix}a`
    const partSize = testPartSize(t.capabilities)
    const { upload, parts, data } = yield* begun(t, key, 40)
    const other = bytes(41, partSize)
    const part = { number: 2, offset: partSize, crc32: crc32(other) }
    const replaced = [parts[0]!, yield* t.backend.putPart(upload, part, other), parts[2]!]
    const expected = data.slice()
    expected.set(other, partSize)
    yield* t.backend.completeUpload(upload, replaced, completeOptions(expected))
    yield* t.holds(key, expected)
  },
)

addIf("putPart() copies: the caller may overwrite its buffer when it returns", uploads, function* (t) {
  const buffer = bytes(50, testPartSize(t.capabilities))
  const upload = yield* t.backend.createUpload(`${t.prefix}a`, { writeId: freshWriteId() })
  const parts = yield* sendParts(t.backend, upload, buffer, buffer.length)
  buffer.fill(0)
  const data = bytes(50, buffer.length)
  yield* t.backend.completeUpload(upload, parts, completeOptions(data))
  yield* t.holds(`${t.prefix}a`, data)
})

addIf(
  "putPart() refuses bytes that do not match their CRC-32, and keeps the part before",
  both(uploads, checksum),
  function* (t) {
    const { upload, parts, data } = yield* begun(t, `${t.prefix}a`)
    const { number, offset } = parts[0]!
    const wrong = { number, offset, crc32: 1 }
    yield* expectReason(t.backend.putPart(upload, wrong, data.subarray(0, parts[0]!.size)), "Corrupt")
    yield* t.backend.completeUpload(upload, parts, completeOptions(data))
    yield* t.holds(`${t.prefix}a`, data)
  },
)

addIf(
  "completeUpload() fails when a part is missing, and makes nothing visible",
  both(uploads, manyParts),
  function* (t) {
    const key = `${t.prefix}a`
    const partSize = testPartSize(t.capabilities)
    const data = bytes(60, 3 * partSize)
    const upload = yield* t.backend.createUpload(key, { writeId: freshWriteId() })
    const parts = yield* sendParts(t.backend, upload, data.subarray(0, 2 * partSize), partSize)
    const third = { number: 3, offset: 2 * partSize, size: partSize, crc32: crc32(data.subarray(2 * partSize)) }
    const attempts: ReadonlyArray<[what: string, parts: ReadonlyArray<Part>]> = [
      ["a part that was never sent", [...parts, { ...third, etag: parts[0]!.etag }]],
      ["fewer parts than bytes announced", parts],
      ["a gap in the middle", [parts[0]!, { ...third, etag: parts[1]!.etag }]],
    ]
    for (const [what, given] of attempts) {
      const result = yield* Effect.result(t.backend.completeUpload(upload, given, completeOptions(data)))
      if (Result.isSuccess(result)) throw new Error(`completeUpload with ${what} succeeded`)
      if (result.failure.transient) throw new Error(`completeUpload with ${what} says that trying again may help`)
      yield* t.absent(key)
    }
    yield* t.backend.abortUpload(upload)
    yield* t.absent(key)
  },
)

addIf(
  "completeUpload() refuses a CRC-32 that is not that of the object",
  both(uploads, checksum),
  function* (t) {
    const { upload, parts, data } = yield* begun(t, `${t.prefix}a`)
    const wrong = completeOptions(data, { crc32: (crc32(data) ^ 1) >>> 0 })
    yield* expectReason(t.backend.completeUpload(upload, parts, wrong), "Corrupt")
    yield* t.absent(`${t.prefix}a`)
    yield* t.backend.abortUpload(upload)
  },
)

addIf(
  "completeUpload() with ifNoneMatch creates, and refuses to replace",
  both(uploads, keeps("complete")),
  function* (t) {
    const key = `${t.prefix}a`
    const one = yield* begun(t, key, 30)
    const two = yield* begun(t, key, 31)
    yield* t.backend.completeUpload(one.upload, one.parts, completeOptions(one.data, { ifNoneMatch: "*" }))
    const late = t.backend.completeUpload(two.upload, two.parts, completeOptions(two.data, { ifNoneMatch: "*" }))
    yield* expectReason(late, "AlreadyExists")
    yield* t.holds(key, one.data)
    yield* t.backend.abortUpload(two.upload)
    yield* t.holds(key, one.data)
  },
)

addIf("completeUpload() with ifNoneMatch lets exactly one of 4 win", both(uploads, keeps("complete")), function* (t) {
  const key = `${t.prefix}a`
  const all = yield* Effect.forEach([50, 51, 52, 53], (seed) => begun(t, key, seed))
  const complete = ({ upload, parts, data }: (typeof all)[number]) =>
    Effect.result(t.backend.completeUpload(upload, parts, completeOptions(data, { ifNoneMatch: "*" })))
  const results = yield* Effect.forEach(all, complete, { concurrency: "unbounded" })
  yield* t.holds(key, all[onlyWinner(results, "AlreadyExists")]!.data)
  for (const { upload } of all) yield* t.backend.abortUpload(upload)
  yield* t.holds(key, all[onlyWinner(results, "AlreadyExists")]!.data)
})

addIf(
  "completeUpload() with ifMatch replaces that version only",
  both(uploads, keeps("complete")),
  function* (t) {
    const key = `${t.prefix}a`
    const { etag } = yield* t.put(key)
    const one = yield* begun(t, key, 30)
    const two = yield* begun(t, key, 31)
    yield* t.backend.completeUpload(one.upload, one.parts, completeOptions(one.data, { ifMatch: etag }))
    const late = t.backend.completeUpload(two.upload, two.parts, completeOptions(two.data, { ifMatch: etag }))
    yield* expectReason(late, "PreconditionFailed")
    yield* t.holds(key, one.data)
    yield* t.backend.abortUpload(two.upload)
  },
)

addIf(
  "completeUpload() refuses conditions, which it cannot keep",
  both(uploads, refuses("complete")),
  function* (t) {
    const { upload, parts, data } = yield* begun(t, `${t.prefix}a`)
    for (const condition of [{ ifNoneMatch: "*" }, { ifMatch: "any" }] as const) {
      yield* expectReason(t.backend.completeUpload(upload, parts, completeOptions(data, condition)), "Unsupported")
      yield* t.absent(`${t.prefix}a`)
    }
    yield* t.backend.completeUpload(upload, parts, completeOptions(data))
    yield* t.holds(`${t.prefix}a`, data)
  },
)

// ---------------------------------------------------------------------------------------------------------
// Copy and move
// ---------------------------------------------------------------------------------------------------------

for (const verb of ["copy", "move"] as const) {
  const lacks = verb === "copy" ? copies : moves
  const call = ({ backend }: Trial, from: string, to: string, more?: WriteCondition & { sourceIfMatch?: string }) =>
    backend[verb]!(from, to, { writeId: freshWriteId(), ...more })

  addIf(`${verb}() keeps bytes and metadata, under a new write id and etag`, lacks, function* (t) {
    const [from, to] = [`${t.prefix}from`, `${t.prefix}deep/to`]
    const sha256 = "0123456789abcdef".repeat(4)
    const source = yield* t.put(from, small, { contentType: "text/plain", metadata: { run: "世界" }, sha256 })
    const writeId = freshWriteId()
    const made = yield* t.backend[verb]!(from, to, { writeId })
    const found = yield* t.holds(to, small)
    for (const info of [made, found]) {
      expectSame(
        [info.key, info.writeId, info.contentType, info.metadata, info.sha256],
        [to, writeId, "text/plain", { run: "世界" }, sha256],
        "the target's facts",
      )
    }
    expectSame(found.etag, made.etag, "the target's etag by get")
    expectSame(made.etag === source.etag, false, "whether source and target share an etag")
    if (found.crc32 !== undefined) expectSame(found.crc32, crc32(small), "the CRC-32")
    if (verb === "move") yield* t.absent(from)
    else expectSame((yield* t.holds(from, small)).etag, source.etag, "the source's etag")
  })

  addIf(
    `${verb}() replaces the target, which is independent of the source from then on`,
    lacks,
    function* (t) {
      const [from, to] = [`${t.prefix}from`, `${t.prefix}to`]
      yield* t.put(from, bytes(1, 5000))
      yield* t.put(to, bytes(2, 9), { metadata: { old: "1" } })
      yield* call(t, from, to)
      yield* t.put(from, bytes(3, 5000))
      expectSame((yield* t.holds(to, bytes(1, 5000))).metadata, {}, "the target's metadata")
      yield* t.backend.remove(from)
      yield* t.holds(to, bytes(1, 5000))
    },
  )

  addIf(`${verb}() onto itself keeps the object, as a new write`, lacks, function* (t) {
    const key = `${t.prefix}a`
    const { etag } = yield* t.put(key, small, { metadata: { run: "1" } })
    const made = yield* call(t, key, key)
    const found = yield* t.holds(key, small)
    expectSame([found.etag, found.metadata], [made.etag, { run: "1" }], "etag and metadata")
    expectSame(found.etag === etag, false, "whether the etag stayed")
  })

  addIf(`${verb}() of a missing object is NotFound and leaves the target`, lacks, function* (t) {
    yield* t.put(`${t.prefix}to`)
    const error = yield* expectReason(call(t, `${t.prefix}from`, `${t.prefix}to`), "NotFound")
    expectSame(error.key, `${t.prefix}from`, "the key of the error")
    yield* t.holds(`${t.prefix}to`, small)
  })

  addIf(`${verb}() with sourceIfMatch takes that version only`, lacks, function* (t) {
    const [from, to] = [`${t.prefix}from`, `${t.prefix}to`]
    const first = yield* t.put(from)
    const second = yield* t.put(from, bytes(2, 9))
    yield* expectReason(call(t, from, to, { sourceIfMatch: first.etag }), "PreconditionFailed")
    yield* t.absent(to)
    yield* t.holds(from, bytes(2, 9))
    yield* call(t, from, to, { sourceIfMatch: second.etag })
    yield* t.holds(to, bytes(2, 9))
  })

  addIf(
    `${verb}() with a condition on the target keeps it`,
    both(lacks, keeps("copy")),
    function* (t) {
      const [from, to] = [`${t.prefix}from`, `${t.prefix}to`]
      yield* t.put(from)
      const first = yield* t.put(to, bytes(2, 9))
      yield* expectReason(call(t, from, to, { ifNoneMatch: "*" }), "AlreadyExists")
      const second = yield* t.put(to, bytes(3, 9))
      yield* expectReason(call(t, from, to, { ifMatch: first.etag }), "PreconditionFailed")
      yield* expectReason(call(t, from, `${t.prefix}new`, { ifMatch: second.etag }), "PreconditionFailed")
      yield* t.absent(`${t.prefix}new`)
      yield* t.holds(from, small)
      yield* t.holds(to, bytes(3, 9))
      yield* call(t, from, to, { ifMatch: second.etag })
      yield* t.holds(to, small)
      yield* t.put(from, bytes(4, 9))
      yield* call(t, from, `${t.prefix}new`, { ifNoneMatch: "*" })
      yield* t.holds(`${t.prefix}new`, bytes(4, 9))
    },
  )

  addIf(
    `${verb}() refuses conditions on the target, which it cannot keep`,
    both(lacks, refuses("copy")),
    function* (t) {
      yield* t.put(`${t.prefix}from`)
      for (const condition of [{ ifNoneMatch: "*" }, { ifMatch: "any" }] as const) {
        yield* expectReason(call(t, `${t.prefix}from`, `${t.prefix}to`, condition), "Unsupported")
        yield* t.absent(`${t.prefix}to`)
      }
      yield* t.holds(`${t.prefix}from`, small)
    },
  )
}

addIf(
  "copy() made by one of 8 writers with ifNoneMatch",
  both(copies, keeps("copy")),
  function* ({ backend, prefix, put, holds }) {
    yield* put(`${prefix}from`)
    const copy = () => backend.copy!(`${prefix}from`, `${prefix}to`, { writeId: freshWriteId(), ifNoneMatch: "*" })
    const results = yield* Effect.all(Array.from({ length: 8 }, () => Effect.result(copy())), {
      concurrency: "unbounded",
    })
    onlyWinner(results, "AlreadyExists")
    yield* holds(`${prefix}to`, small)
  },
)

addIf(
  "move() is atomic: at no time are both keys missing",
  moves,
  function* ({ backend, prefix, put, holds }) {
    const exists = (key: string) =>
      Effect.map(Effect.result(backend.stat(key)), (result) => {
        if (Result.isFailure(result) && result.failure.reason !== "NotFound") throw result.failure
        return Result.isSuccess(result)
      })
    for (let round = 0; round < 10; round++) {
      const [from, to] = [`${prefix}${round}/from`, `${prefix}${round}/to`]
      yield* put(from)
      // Once the source is gone it stays gone, so the target must be there from then on.
      const watch = Effect.gen(function* () {
        while (yield* exists(from)) yield* Effect.yieldNow
        if (!(yield* exists(to))) throw new Error(`round ${round}: the source is gone and the target is not there`)
      })
      const move = Effect.andThen(Effect.yieldNow, backend.move!(from, to, { writeId: freshWriteId() }))
      yield* Effect.all([watch, watch, move], { concurrency: "unbounded" })
      yield* holds(to, small)
    }
  },
)
