/**
 * Into the archive and out of it: a removed version keeps its bytes, under another key.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { StoreError } from "../error.ts"
import type { ObjectStoreService } from "../object-store.ts"
import { lostRace, readRecord, type RecordFormat, writeRecord } from "./records.ts"

/** Bytes as they are: a damaged document can be removed like any other. */
const format: RecordFormat<Uint8Array> = { what: "document", encode: (bytes) => bytes, decode: (bytes) => bytes }

/**
 * Moves an object to a key where it may lie already, if an earlier move was interrupted between its two writes; `false`
 * where there is none to move. Another object there is `Conflict`, and nothing is lost.
 */
export const moveObject = (
  store: ObjectStoreService,
  operation: string,
  from: string,
  to: string,
): Effect.Effect<boolean, StoreError> =>
  Effect.gen(function* () {
    const found = yield* Effect.result(readRecord(store, from, format))
    if (Result.isFailure(found)) {
      return found.failure.reason === "NotFound" ? false : yield* Effect.fail(found.failure)
    }
    const { value, etag } = found.success
    const written = yield* Effect.result(writeRecord(store, to, format, value, { ifNoneMatch: "*" }))
    if (Result.isFailure(written)) {
      if (!lostRace(written.failure)) return yield* Effect.fail(written.failure)
      const there = yield* readRecord(store, to, format)
      if (there.value.length !== value.length || there.value.some((byte, i) => byte !== value[i])) {
        const detail = "another document of this id and version is where it was to be moved"
        const error = new StoreError({ reason: "Conflict", detail, operation, key: to, backend: store.backend })
        return yield* Effect.fail(error)
      }
    }
    const ifMatch = store.capabilities.conditional.remove && !etag.startsWith("W/") ? etag : undefined
    yield* Effect.catchIf(
      store.remove(from, { ifMatch }),
      (error) => error.reason === "PreconditionFailed",
      // Another program that moves it has been faster, unless something else is there by now.
      (error) =>
        Effect.flatMap(
          store.exists(from),
          (there) => there ? Effect.fail(error.with({ reason: "Conflict", hint: undefined })) : Effect.void,
        ),
    )
    return true
  })
