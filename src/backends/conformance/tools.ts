/**
 * What cases are written with, and tests of what stands on a backend.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type {
  Backend,
  CompleteOptions,
  GetOptions,
  ListOptions,
  ObjectEntry,
  ObjectInfo,
  Part,
  PutOptions,
  Upload,
} from "../../backend.ts"
import { crc32 } from "../../streams/crc32.ts"
import { type Reason, StoreError } from "../../error.ts"

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

/** A value as it is shown in messages. */
export const show = (value: unknown): string =>
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
export const sendParts = (
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

export const completeOptions = (data: Uint8Array, more?: Partial<CompleteOptions>): CompleteOptions => ({
  size: data.length,
  crc32: crc32(data),
  ...more,
})

/** The keys of a list, without the prefix of the case. */
export const keysOf = (objects: ReadonlyArray<ObjectEntry>, prefix: string): ReadonlyArray<string> =>
  objects.map(({ key }) => key.slice(prefix.length))

/** Lengths at which parts of `p` bytes begin and end. */
export const boundaryLengths = (p: number): ReadonlyArray<number> => [0, 1, p - 1, p, p + 1, 2 * p, 2 * p + 500]

/**
 * Reads ranges at every border of `data` and of parts of `p` bytes, and compares them byte for byte; where
 * parts are large, only those that cross a border of parts, so that a remote store can be tried in minutes.
 */
export const checkRanges: (
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
