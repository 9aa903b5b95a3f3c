/**
 * Checks of uploads in parts: that one may, what rules their parts follow, and that they can be ended.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import type { ObjectInfo, Part, Upload, WriteCondition } from "../../backend.ts"
import type { StoreError } from "../../error.ts"
import { combineCrc32, crc32 } from "../../streams/crc32.ts"
import { type Bench, keyOf } from "./bench.ts"
import type { Check } from "./check.ts"
import { notHere, ok, wrong } from "./finding.ts"

const none = notHere("the store has no uploads")

/** Makes an object of zeros out of parts of these sizes. Nothing is left of the upload if it fails. */
export const uploadZeros = (
  { backend }: Bench,
  key: string,
  sizes: ReadonlyArray<number>,
  condition: WriteCondition = {},
): Effect.Effect<ObjectInfo, StoreError> =>
  Effect.acquireUseRelease(
    backend.createUpload(key, { writeId: crypto.randomUUID() }),
    (upload) =>
      Effect.gen(function* () {
        const parts: Array<Part> = []
        let offset = 0
        let whole = 0
        for (const [index, size] of sizes.entries()) {
          const bytes = new Uint8Array(size)
          const sum = crc32(bytes)
          parts.push(yield* backend.putPart(upload, { number: index + 1, offset, crc32: sum }, bytes))
          whole = combineCrc32(whole, sum, size)
          offset += size
        }
        return yield* backend.completeUpload(upload, parts, { ...condition, size: offset, crc32: whole })
      }),
    (upload, exit) => exit._tag === "Success" ? Effect.void : Effect.ignore(backend.abortUpload(upload)),
  )

/** Uploading. */
export const upload: Check = {
  name: "upload in parts",
  purpose: "write",
  run: (bench) =>
    bench.told.parts === undefined
      ? Effect.succeed(none)
      : Effect.as(uploadZeros(bench, keyOf(bench, "upload"), [1]), ok("works")),
}

const openUploads = ({ backend }: Bench, key: string): Effect.Effect<ReadonlyArray<Upload> | undefined, StoreError> =>
  backend.listUploads === undefined ? Effect.succeed(undefined) : Effect.catch(
    Effect.map(backend.listUploads({ prefix: key }), ({ uploads }) => uploads),
    (error) => error.reason === "Unsupported" ? Effect.succeed(undefined) : Effect.fail(error),
  )

/** Ending an upload, and seeing those that were not. */
export const abort: Check = {
  name: "abort of uploads",
  purpose: "write",
  run: (bench) =>
    Effect.gen(function* () {
      const { backend, told } = bench
      if (told.parts === undefined) return none
      const key = keyOf(bench, "aborted")
      const begun = yield* backend.createUpload(key, {
        writeId: crypto.randomUUID(),
        resumable: backend.listParts === undefined ? undefined : true,
      })
      const before = yield* Effect.onError(openUploads(bench, key), () => Effect.ignore(backend.abortUpload(begun)))
      yield* backend.abortUpload(begun)
      const after = yield* openUploads(bench, key)
      if (before === undefined || after === undefined) return ok("works; unfinished uploads cannot be listed here")
      if (after.some(({ id }) => id === begun.id)) {
        return wrong("Conflict", "an upload that was ended is still listed", "look at it with: holdfast uploads ls")
      }
      return before.some(({ id }) => id === begun.id) ? ok("works, and unfinished uploads are listed") : ok(
        "works, but unfinished uploads are not listed",
        "have a lifecycle rule of the bucket end them (AbortIncompleteMultipartUpload)",
      )
    }),
}

/** Most bytes that the check of part sizes sends. */
const affordable = 64 * 2 ** 20

/** Whether parts may have different sizes. */
export const partSizes: Check = {
  name: "parts of any size",
  purpose: "write",
  run: (bench) =>
    Effect.gen(function* () {
      const rules = bench.told.parts
      if (rules === undefined) return none
      if (rules.sequential || 2 * rules.minSize > affordable) return notHere("it would take too many bytes to try")
      const tried = yield* Effect.result(
        uploadZeros(bench, keyOf(bench, "parts"), [rules.minSize, rules.minSize + 1, 1]),
      )
      const error = tried._tag === "Failure" ? tried.failure : undefined
      // Cloudflare's local R2 forgets such an upload, and says that there is none.
      const refused = error?.reason === "InvalidInput" ||
        (error?.reason === "NotFound" && error.operation === "completeUpload")
      if (error !== undefined && !refused) return yield* Effect.fail(error)
      bench.observed.equalSize = refused
      if (refused === rules.equalSize) {
        return ok(refused ? "no: all but the last must be equal, and the store makes them so" : "yes")
      }
      return refused
        ? wrong(
          "Config",
          "parts of different sizes are refused, and the store makes such",
          "add a profile to the URL that has equal parts, such as profile=r2",
        )
        : ok("yes, though the store does not count on it")
    }),
}

/** Whether the least size of a part is what the store thinks. */
export const leastPart: Check = {
  name: "least part",
  purpose: "write",
  run: (bench) =>
    Effect.gen(function* () {
      const rules = bench.told.parts
      if (rules === undefined) return none
      if (rules.minSize === 1) return ok("1 byte")
      const tried = yield* Effect.result(uploadZeros(bench, keyOf(bench, "small"), [1, 1]))
      if (tried._tag === "Failure" && tried.failure.reason !== "InvalidInput") return yield* Effect.fail(tried.failure)
      return ok(tried._tag === "Failure" ? `${rules.minSize} bytes, or a little less` : "smaller ones are taken, too")
    }),
}
