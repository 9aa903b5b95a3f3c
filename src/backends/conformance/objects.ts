/**
 * Cases of whole objects: what is put can be had, whole and in ranges.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import type { GetOptions } from "../../backend.ts"
import { maxMetadataBytes } from "../../key.ts"
import { crc32, formatCrc32 } from "../../streams/crc32.ts"
import type { StoreError } from "../../error.ts"
import {
  boundaryLengths,
  bytes,
  checkRanges,
  expectBytes,
  expectReason,
  expectSame,
  freshWriteId,
  listAll,
  read,
  show,
} from "./tools.ts"
import { caseList, checksum, type Definition, small, testPartSize } from "./trial.ts"

const { add, addIf, definitions } = caseList()

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

/** These cases. */
export const objectsCases: ReadonlyArray<Definition> = definitions
