/**
 * One object from one store to another: its stored bytes as they are, with all that belongs to them.
 *
 * Nothing is decoded on the way, so a copy costs no more than its bytes, and both objects have the same CRC-32.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import type { ObjectInfo, WriteCondition } from "./backend.ts"
import { StoreError } from "./error.ts"
import type { Loaded } from "./load.ts"
import type { ObjectStoreService } from "./object-store.ts"
import type { EncryptionInput, SaveOptions } from "./options.ts"
import type { Progress } from "./save.ts"

/** An object in a store. */
export interface Place {
  /** The store. */
  readonly store: ObjectStoreService
  /** The object's name there. */
  readonly key: string
}

/** How a transfer goes. */
export interface TransferOptions {
  /** On the target. */
  readonly condition: WriteCondition
  /** How the target is to be encrypted. Default: as its store says. */
  readonly encryption?: EncryptionInput | undefined
  /** The target's storage class. Default: what its store uses by itself. */
  readonly storageClass?: string | undefined
  /** Called as bytes are stored. */
  readonly onProgress?: ((progress: Progress) => void) | undefined
}

/** Copies an object. The answer has the facts of both. */
export const transfer = (
  from: Place,
  to: Place,
  { condition, onProgress, ...placement }: TransferOptions,
): Effect.Effect<{ readonly source: ObjectInfo; readonly target: ObjectInfo }, StoreError> =>
  Effect.acquireUseRelease(
    from.store.load(from.key, { decode: "none" }),
    (loaded) =>
      Effect.flatMap(
        to.store.save(to.key, loaded.body, { ...asStored(loaded), ...condition, ...placement, onProgress }),
        (target) => {
          const source = loaded.info
          const same = source.size === target.size &&
            (source.crc32 === undefined || target.crc32 === undefined || source.crc32 === target.crc32)
          return same ? Effect.succeed({ source, target }) : Effect.fail(
            new StoreError({
              reason: "Corrupt",
              detail: "the copy has another size or CRC-32 than its source",
              hint: "remove the copy and try again",
              operation: "copy",
              key: to.key,
              backend: to.store.backend,
            }),
          )
        },
      ),
    (loaded) => Effect.promise(() => loaded.cancel()),
  )

/** How a save repeats a stored object whose stored bytes are its source. */
export const asStored = ({ info, length }: Loaded): SaveOptions => {
  const { codec, sha256, metadata, contentType } = info
  const encoded = codec === "zstd" || codec === "gzip"
  return {
    metadata,
    contentType,
    compression: "none",
    stored: encoded ? { codec, sha256, length: info.length } : undefined,
    expectedSize: length,
    expectedSha256: encoded ? undefined : sha256,
    digest: encoded || sha256 === undefined ? undefined : "sha256",
  }
}

/** Copies an object and removes the original, unless that has been replaced meanwhile or is the copy itself. */
export const transferAway = (
  from: Place,
  to: Place,
  options: TransferOptions,
): Effect.Effect<ObjectInfo, StoreError> =>
  Effect.gen(function* () {
    const { source, target } = yield* transfer(from, to, options)
    // Two URLs may mean one store. Then what is there now is the copy, and must stay.
    const now = yield* from.store.stat(from.key)
    if (now.etag !== source.etag || now.writeId !== source.writeId) {
      return yield* new StoreError({
        reason: "Conflict",
        detail: "the object was replaced while it was copied; both are kept",
        hint: "look at both objects, and remove the one that is not wanted",
        operation: "move",
        key: from.key,
        backend: from.store.backend,
      })
    }
    const pinned = from.store.capabilities.conditional.remove && !source.etag.startsWith("W/")
    yield* from.store.remove(from.key, { ifMatch: pinned ? source.etag : undefined })
    return target
  })
