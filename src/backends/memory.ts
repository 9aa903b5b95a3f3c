/**
 * Objects in this process's memory: for tests, for state that may die with the process, and as the smallest
 * complete {@link Backend} to read before you write your own.
 *
 * A maintainer must keep two things. Stored bytes are never written to again, so a body, a copy and a move can
 * share them with the object and a reader keeps the version it opened. And between the check of a condition and
 * the change it guards there is no `yield*`: that is what makes a write atomic here.
 *
 * @module
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import type {
  Backend,
  Capabilities,
  ListOptions,
  ListPage,
  ObjectEntry,
  ObjectHead,
  ObjectInfo,
  Part,
  WriteCondition,
} from "../backend.ts"
import { type Reason, StoreError } from "../error.ts"
import { compareKeys } from "../key.ts"
import { ObjectStore } from "../object-store.ts"
import type { StoreOptions } from "../options.ts"
import { combineCrc32, crc32, formatCrc32 } from "../streams/crc32.ts"

const MiB = 1024 * 1024

/** Most bytes a body hands out at once: each chunk is a copy, made when it is asked for. */
const chunkSize = 256 * 1024

const capabilities: Capabilities = {
  parts: {
    minSize: 1,
    maxSize: 1024 * MiB,
    recommendedSize: MiB,
    maxCount: Infinity,
    equalSize: false,
    sequential: false,
    concurrency: 2,
  },
  maxPut: 1024 * MiB,
  conditional: { create: true, replace: true, complete: true, copy: true, remove: true },
  enforcedChecksum: true,
  copy: true,
  move: true,
  parallelRanges: false,
  nestedKeys: true,
  lateFacts: true,
}

/** An object: its facts, and its bytes in pieces that follow each other. */
interface Stored extends ObjectHead {
  readonly size: number
  readonly modified: number
  readonly crc32: number
  readonly sha256: string | undefined
  readonly length: number | undefined
  readonly pieces: ReadonlyArray<Uint8Array>
}

interface Pending {
  readonly key: string
  readonly head: ObjectHead
  readonly started: Date
  readonly parts: Map<number, Part & { readonly crc32: number; readonly bytes: Uint8Array }>
}

/** Provides an {@link ObjectStore} in memory, empty when the layer is built. */
export const layer = (options?: StoreOptions): Layer.Layer<ObjectStore, StoreError> =>
  ObjectStore.layer(make(), options)

/** Makes an empty store in memory. What is in it lives as long as the value does. */
export const make: () => Effect.Effect<Backend> = () =>
  Effect.sync(() => {
    const objects = new Map<string, Stored>()
    const uploads = new Map<string, Pending>()
    // The names of all objects in the order of a listing, so that a page costs what it holds.
    const keys: Array<string> = []
    let uploadsBegun = 0

    const placeOf = (key: string): number => firstIndex(keys, (other) => compareKeys(other, key) >= 0)

    const store = (key: string, object: Stored): ObjectInfo => {
      if (!objects.has(key)) keys.splice(placeOf(key), 0, key)
      objects.set(key, object)
      return describe(key, object)
    }

    const drop = (key: string): void => {
      if (objects.delete(key)) keys.splice(placeOf(key), 1)
    }

    /** An id alone opens nothing: whoever may write one key must not end the uploads to another. */
    const pendingOf = (id: string, key: string): Pending | undefined => {
      const upload = uploads.get(id)
      return upload?.key === key ? upload : undefined
    }

    const fail = (reason: Reason, operation: string, key: string, detail: string): StoreError =>
      new StoreError({ reason, operation, key, detail, backend: "memory" })

    const missing = (operation: string, key: string): StoreError =>
      fail("NotFound", operation, key, "there is no such object")

    const mismatch = (operation: string, key: string, etag: string, object: Stored | undefined): StoreError => {
      const now = object === undefined ? "there is no such object" : `its etag is "${object.writeId}"`
      return fail("PreconditionFailed", operation, key, `${now}, ifMatch asks for "${etag}"`)
    }

    const refusal = (operation: string, key: string, condition: WriteCondition): StoreError | undefined => {
      const object = objects.get(key)
      if (condition.ifNoneMatch !== undefined && object !== undefined) {
        return fail("AlreadyExists", operation, key, `there is one already, its etag is "${object.writeId}"`)
      }
      const { ifMatch } = condition
      if (ifMatch !== undefined && object?.writeId !== ifMatch) return mismatch(operation, key, ifMatch, object)
    }

    const corrupt = (
      operation: string,
      key: string,
      actual: number,
      expected: number | undefined,
    ): StoreError | undefined =>
      expected === undefined || actual === expected ? undefined : fail(
        "Corrupt",
        operation,
        key,
        `the bytes have the CRC-32 ${formatCrc32(actual)}, ${formatCrc32(expected)} was announced`,
      )

    const duplicate = (verb: "copy" | "move"): NonNullable<Backend["copy"]> =>
      Effect.fnUntraced(function* (from, to, options) {
        const modified = yield* Clock.currentTimeMillis
        const source = objects.get(from)
        if (source === undefined) return yield* missing(verb, from)
        const { sourceIfMatch, writeId } = options
        if (sourceIfMatch !== undefined && source.writeId !== sourceIfMatch) {
          return yield* mismatch(verb, from, sourceIfMatch, source)
        }
        const refused = refusal(verb, to, options)
        if (refused !== undefined) return yield* refused
        if (verb === "move") drop(from)
        return store(to, { ...source, writeId, modified })
      })

    const backend: Backend = {
      name: "memory",
      capabilities,

      stat: (key) =>
        Effect.suspend(() => {
          const object = objects.get(key)
          return object === undefined ? Effect.fail(missing("stat", key)) : Effect.succeed(describe(key, object))
        }),

      get: Effect.fnUntraced(function* (key, options = {}) {
        const object = objects.get(key)
        if (object === undefined) return yield* missing("get", key)
        const { ifMatch, ifNoneMatch, offset = 0 } = options
        if (ifMatch !== undefined && ifMatch !== object.writeId) return yield* mismatch("get", key, ifMatch, object)
        if (ifNoneMatch === object.writeId) {
          return yield* fail("NotModified", "get", key, `its etag is still "${ifNoneMatch}"`)
        }
        const rest = object.size - offset
        // Nothing left to give is an answer when nothing, or everything, was asked for.
        const wanted = options.length ?? (offset === 0 ? rest : Infinity)
        if (rest < 0 || (rest === 0 && wanted > 0)) {
          const detail = `the object has ${object.size} bytes, the range starts at ${offset}`
          return yield* fail("RangeNotSatisfiable", "get", key, detail)
        }
        const length = Math.min(wanted, rest)
        return { info: describe(key, object), offset, length, body: stream(object.pieces, offset, length) }
      }),

      put: Effect.fnUntraced(function* (key, bytes, options) {
        const modified = yield* Clock.currentTimeMillis
        const refused = corrupt("put", key, crc32(bytes), options.crc32) ?? refusal("put", key, options)
        if (refused !== undefined) return yield* refused
        const { crc32: crc, sha256, length } = options
        const pieces = [new Uint8Array(bytes)]
        return store(key, { ...headOf(options), size: bytes.length, modified, crc32: crc, sha256, length, pieces })
      }),

      list: (options) => Effect.suspend(() => page(keys, objects, options)),

      remove: (key, options) =>
        Effect.suspend(() => {
          const refused = refusal("remove", key, { ifMatch: options?.ifMatch })
          if (refused !== undefined) return Effect.fail(refused)
          drop(key)
          return Effect.void
        }),

      removeMany: (doomed) =>
        Effect.sync(() =>
          doomed.map((key) => {
            drop(key)
            return { key }
          })
        ),

      createUpload: (key, head) =>
        Effect.map(Clock.currentTimeMillis, (now) => {
          const id = String(++uploadsBegun)
          uploads.set(id, { key, head: headOf(head), started: new Date(now), parts: new Map() })
          return { id, key }
        }),

      putPart: ({ id, key }, { number, offset, crc32: crc }, bytes) =>
        Effect.suspend(() => {
          const upload = pendingOf(id, key)
          if (upload === undefined) return Effect.fail(fail("NotFound", "putPart", key, `upload "${id}" is over`))
          const refused = corrupt("putPart", key, crc32(bytes), crc)
          if (refused !== undefined) return Effect.fail(refused)
          const part = { number, offset, size: bytes.length, crc32: crc }
          upload.parts.set(number, { ...part, bytes: new Uint8Array(bytes) })
          return Effect.succeed(part)
        }),

      completeUpload: Effect.fnUntraced(function* ({ id, key }, parts, options) {
        const modified = yield* Clock.currentTimeMillis
        const upload = pendingOf(id, key)
        if (upload === undefined) return yield* fail("NotFound", "completeUpload", key, `upload "${id}" is over`)
        const pieces: Array<Uint8Array> = []
        let size = 0
        let crc = 0
        for (const { number, offset, size: partSize, crc32: partCrc } of parts) {
          const part = upload.parts.get(number)
          if (part === undefined || part.size !== partSize || part.crc32 !== partCrc || offset !== size) {
            const detail = part === undefined ? "is not stored" : `does not continue at byte ${size} as it was stored`
            return yield* fail("InvalidInput", "completeUpload", key, `part ${number} ${detail}`)
          }
          pieces.push(part.bytes)
          size += part.size
          crc = combineCrc32(crc, part.crc32, part.size)
        }
        if (size !== options.size) {
          const detail = `its parts have ${size} bytes, ${options.size} were announced`
          return yield* fail("InvalidInput", "completeUpload", key, detail)
        }
        const refused = corrupt("completeUpload", key, crc, options.crc32) ?? refusal("completeUpload", key, options)
        if (refused !== undefined) return yield* refused
        uploads.delete(id)
        const { sha256, length } = options
        return store(key, { ...upload.head, size, modified, crc32: crc, sha256, length, pieces })
      }),

      abortUpload: ({ id, key }) =>
        Effect.sync(() => {
          if (pendingOf(id, key) !== undefined) uploads.delete(id)
        }),

      listUploads: ({ prefix = "" } = {}) =>
        Effect.sync(() => ({
          uploads: Array.from(uploads, ([id, { key, started }]) => ({ id, key, started: new Date(started) }))
            .filter(({ key }) => key.startsWith(prefix))
            .sort((a, b) => compareKeys(a.key, b.key) || a.started.getTime() - b.started.getTime()),
        })),

      listParts: ({ id, key }) =>
        Effect.suspend(() => {
          const upload = pendingOf(id, key)
          if (upload === undefined) return Effect.fail(fail("NotFound", "listParts", key, `upload "${id}" is over`))
          const parts = Array.from(upload.parts.values(), ({ bytes: _, ...part }): Part => part)
          return Effect.succeed(parts.sort((a, b) => a.number - b.number))
        }),

      copy: duplicate("copy"),
      move: duplicate("move"),
    }
    return backend
  })

/** The head alone, in a copy that its giver cannot change any more. */
const headOf = ({ contentType, metadata, writeId, codec }: ObjectHead): ObjectHead => ({
  contentType,
  metadata: { ...metadata },
  writeId,
  codec,
})

/** What callers get to know: fresh on each call, so that nothing they do to it reaches the store. */
const describe = (key: string, object: Stored): ObjectInfo => ({
  key,
  size: object.size,
  etag: object.writeId,
  modified: new Date(object.modified),
  contentType: object.contentType,
  metadata: { ...object.metadata },
  crc32: object.crc32,
  sha256: object.sha256,
  codec: object.codec,
  length: object.length,
  writeId: object.writeId,
})

/** The `length` bytes from `offset` on, copied a chunk at a time as they are asked for. */
const stream = (pieces: ReadonlyArray<Uint8Array>, offset: number, length: number): ReadableStream<Uint8Array> => {
  let index = 0
  let at = offset
  let left = length
  return new ReadableStream<Uint8Array>({
    pull: (controller) => {
      for (; left > 0; index++) {
        const piece = pieces[index]!
        if (at >= piece.length) {
          at -= piece.length
          continue
        }
        const chunk = piece.slice(at, at + Math.min(left, chunkSize))
        at += chunk.length
        left -= chunk.length
        return controller.enqueue(chunk)
      }
      pieces = []
      controller.close()
    },
    cancel: () => {
      pieces = []
    },
  }, { highWaterMark: 0 })
}

/** The first index of an ordered list from which on `reached` holds. */
const firstIndex = (keys: ReadonlyArray<string>, reached: (key: string) => boolean): number => {
  let low = 0
  for (let high = keys.length; low < high;) {
    const middle = (low + high) >>> 1
    if (reached(keys[middle]!)) high = middle
    else low = middle + 1
  }
  return low
}

/**
 * A cursor is the last name handed out after `o` (an object) or `p` (a prefix, which covers all keys under it).
 * It holds all that the next page needs, so it stays good while keys come and go.
 */
const page = (
  keys: ReadonlyArray<string>,
  objects: ReadonlyMap<string, Stored>,
  { prefix = "", delimiter, cursor, limit = 1000 }: ListOptions = {},
): Effect.Effect<ListPage, StoreError> => {
  const last = cursor?.slice(1) ?? ""
  const after = (covers: boolean, name: string): number =>
    firstIndex(keys, (key) => compareKeys(key, name) > 0 && !(covers && key.startsWith(name)))
  let index = firstIndex(keys, (key) => compareKeys(key, prefix) >= 0)
  if (cursor !== undefined) {
    if (!/^[op]/.test(cursor) || !last.startsWith(prefix)) {
      const detail = "the cursor does not come from an earlier page of this list"
      return Effect.fail(new StoreError({ reason: "InvalidInput", operation: "list", detail, backend: "memory" }))
    }
    index = after(cursor.startsWith("p"), last)
  }
  const found: Array<ObjectEntry> = []
  const prefixes: Array<string> = []
  let next: string | undefined
  for (let key = keys[index]; key?.startsWith(prefix); key = keys[index]) {
    if (found.length + prefixes.length >= limit) return Effect.succeed({ objects: found, prefixes, cursor: next })
    const fold = delimiter === undefined ? -1 : key.indexOf(delimiter, prefix.length)
    if (fold < 0) {
      const { size, modified, writeId } = objects.get(key)!
      found.push({ key, size, modified: new Date(modified), etag: writeId })
      next = `o${key}`
      index++
    } else {
      const folded = key.slice(0, fold + 1)
      prefixes.push(folded)
      next = `p${folded}`
      index = after(true, folded)
    }
  }
  return Effect.succeed({ objects: found, prefixes })
}
