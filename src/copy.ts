/**
 * Copies and moves: by the backend itself where it can, in pieces where an object is too large for one call, and
 * through this program where there is no other way. Stored bytes are copied as they are, never decoded.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { Backend, CopyOptions, ObjectInfo, Part, Upload } from "./backend.ts"
import { StoreError } from "./error.ts"
import { makeLanes } from "./lanes.ts"
import { settle } from "./save.ts"

/** One copy, whose options have been checked. */
export interface Copying extends CopyOptions {
  readonly backend: Backend
  readonly from: string
  readonly to: string
  /** Loads the source and saves it as the target. */
  readonly through: (
    source: {
      readonly ifMatch: string | undefined
      readonly versionId: string | undefined
      readonly customerKey: CopyOptions["sourceCustomerKey"]
    },
  ) => Effect.Effect<ObjectInfo, StoreError>
  /** Removes exactly the source that was copied. */
  readonly remove: (info: ObjectInfo) => Effect.Effect<void, StoreError>
}

const MiB = 2 ** 20

/** Bytes of one piece: a service copies it in seconds, and 10,000 of them are 5 TiB. */
const pieceSize = 512 * MiB

/** Pieces on their way at once. They travel inside the service. */
const pieceConcurrency = 8

const within = (
  copying: Copying,
  call: NonNullable<Backend["copy"]>,
): Effect.Effect<ObjectInfo, StoreError> => {
  const { backend, from, to, writeId, ifMatch, ifNoneMatch, encryption, storageClass } = copying
  const { sourceIfMatch, sourceVersionId, sourceCustomerKey } = copying
  const source = { sourceIfMatch, sourceVersionId, sourceCustomerKey }
  const options = { ifMatch, ifNoneMatch, ...source, encryption, storageClass, writeId }
  return Effect.catch(
    call(from, to, options),
    (error) => settle(backend, error, { key: to, writeId, ifMatch, ifNoneMatch }),
  )
}

/** Duplicates an object. */
export const copyObject = (copying: Copying): Effect.Effect<ObjectInfo, StoreError> => {
  const { backend, sourceIfMatch, sourceVersionId, sourceCustomerKey } = copying
  const { copy, copyPart, capabilities } = backend
  const through = copying.through({
    ifMatch: sourceIfMatch,
    versionId: sourceVersionId,
    customerKey: sourceCustomerKey,
  })
  if (copy === undefined) return through
  const { maxCopy = Infinity } = capabilities
  if (maxCopy === Infinity) return within(copying, copy)
  return Effect.flatMap(
    backend.stat(copying.from, { versionId: sourceVersionId, customerKey: sourceCustomerKey }),
    (source) => {
      if (source.size <= maxCopy) return within(copying, copy)
      return copyPart === undefined ? through : inPieces(copying, source, copyPart)
    },
  )
}

const inPieces = Effect.fnUntraced(function* (
  copying: Copying,
  source: ObjectInfo,
  copyPart: NonNullable<Backend["copyPart"]>,
): Effect.fn.Return<ObjectInfo, StoreError> {
  const { backend, from, to, writeId, ifMatch, ifNoneMatch, encryption } = copying
  if (copying.sourceIfMatch !== undefined && copying.sourceIfMatch !== source.etag) {
    return yield* Effect.fail(
      new StoreError({
        reason: "PreconditionFailed",
        detail: `its etag is "${source.etag}", sourceIfMatch asks for "${copying.sourceIfMatch}"`,
        operation: "copy",
        key: from,
        backend: backend.name,
      }),
    )
  }
  const { size, contentType, metadata, codec, crc32, sha256, length } = source
  const { storageClass = source.storageClass } = copying
  const head = { contentType, metadata, codec, storageClass, writeId, encryption }
  const step = Math.max(pieceSize, Math.ceil(size / (backend.capabilities.parts?.maxCount ?? Infinity) / MiB) * MiB)
  const copyAll = Effect.fnUntraced(function* (
    upload: Upload,
  ): Effect.fn.Return<Array<Part>, StoreError, Scope.Scope> {
    const lanes = yield* makeLanes(pieceConcurrency)
    const parts: Array<Part> = []
    for (let offset = 0, number = 1; offset < size; offset += step, number++) {
      const piece = { number, offset, size: Math.min(step, size - offset) }
      const copied = copyPart(upload, piece, {
        key: from,
        offset,
        sourceIfMatch: source.etag,
        sourceVersionId: copying.sourceVersionId,
        sourceCustomerKey: copying.sourceCustomerKey,
      })
      yield* lanes.begin(
        Effect.map(copied, (part) => {
          parts[number - 1] = part
        }),
        1,
      )
    }
    yield* lanes.join
    return parts
  })
  return yield* Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(restore(backend.createUpload(to, head)), (upload) =>
      restore(
        Effect.flatMap(
          Effect.scoped(copyAll(upload)),
          (parts) =>
            Effect.catch(
              backend.completeUpload(upload, parts, { ifMatch, ifNoneMatch, size, crc32, sha256, length }),
              (error) => settle(backend, error, { key: to, writeId, size, upload: true, ifMatch, ifNoneMatch }),
            ),
        ),
      ).pipe(
        Effect.onExit((exit) =>
          exit._tag === "Success" ? Effect.void : Effect.catch(backend.abortUpload(upload), () => Effect.void)
        ),
      ))
  )
})

/** Renames an object: atomically where the backend can, else as a copy and a removal of exactly what was copied. */
export const moveObject = (copying: Copying): Effect.Effect<ObjectInfo, StoreError> => {
  const { backend, from, sourceVersionId, sourceCustomerKey } = copying
  if (backend.move !== undefined) return within(copying, backend.move)
  return Effect.gen(function* () {
    const source = yield* backend.stat(from, { versionId: sourceVersionId, customerKey: sourceCustomerKey })
    const sourceIfMatch = copying.sourceIfMatch ?? (source.etag.startsWith("W/") ? undefined : source.etag)
    const info = yield* copyObject({ ...copying, sourceIfMatch })
    yield* copying.remove(source)
    return info
  })
}
