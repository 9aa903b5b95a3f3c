/**
 * Cases of uploads.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type { Part, PutOptions, Upload } from "../../backend.ts"
import { crc32, formatCrc32 } from "../../streams/crc32.ts"
import type { StoreError } from "../../error.ts"
import {
  boundaryLengths,
  bytes,
  checkRanges,
  completeOptions,
  expectReason,
  expectSame,
  freshWriteId,
  sendParts,
} from "./tools.ts"
import {
  anyOrder,
  both,
  caseList,
  checksum,
  type Definition,
  keeps,
  lateFacts,
  manyParts,
  onlyWinner,
  refuses,
  resumable,
  rulesOf,
  type Run,
  small,
  testPartSize,
  type Trial,
  uploads,
} from "./trial.ts"

const { addIf, definitions } = caseList()

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

/** These cases. */
export const uploadsCases: ReadonlyArray<Definition> = definitions
