/**
 * A save that is written to instead of read from: pushed chunks become pulled ones, one at a time, so that a slow
 * store slows the writer and nothing is buffered in between.
 *
 * @module
 */
import type { ObjectInfo } from "./backend.ts"
import { StoreError } from "./error.ts"
import type { ByteReader } from "./streams/source.ts"

/** A save that is written to. */
export interface SaveSink {
  /** Takes the bytes. `close` resolves once the object is there; `abort` leaves what was there before. */
  readonly writable: WritableStream<Uint8Array>
  /** The saved object's facts; rejects with the {@link StoreError} that ended the save. */
  readonly info: Promise<ObjectInfo>
}

/** Turns pushed chunks into pulled ones: a write resolves when the save has taken all of it. */
export const makeSink = (save: (reader: ByteReader) => Promise<ObjectInfo>): SaveSink => {
  let chunk: Uint8Array | undefined
  let taken: PromiseWithResolvers<void> | undefined
  let wanted: PromiseWithResolvers<void> | undefined
  let ended = false
  let failure: { readonly cause: unknown } | undefined

  const wake = (): void => {
    wanted?.resolve()
    wanted = undefined
  }
  const reader: ByteReader = {
    size: undefined,
    read: async () => {
      taken?.resolve()
      taken = undefined
      while (true) {
        if (failure !== undefined) throw failure.cause
        if (chunk !== undefined) {
          const next = chunk
          chunk = undefined
          return next
        }
        if (ended) return undefined
        wanted = Promise.withResolvers<void>()
        await wanted.promise
      }
    },
    cancel: () => Promise.resolve(),
  }
  let info: Promise<ObjectInfo> | undefined
  const { promise, resolve, reject } = Promise.withResolvers<ObjectInfo>()
  // Nobody has to look at `info`; `close` reports the same failure.
  promise.catch(() => undefined)
  const begin = (): Promise<ObjectInfo> => {
    if (info === undefined) {
      info = save(reader)
      info.then(resolve, reject)
    }
    return info
  }

  const writable = new WritableStream<Uint8Array>({
    start(controller) {
      promise.catch((error) => controller.error(error))
    },
    async write(bytes) {
      const saving = begin()
      if (!(bytes instanceof Uint8Array)) {
        failure = {
          cause: new StoreError({
            reason: "InvalidInput",
            operation: "save",
            detail: `a chunk of type ${typeof bytes} was written where bytes belong`,
          }),
        }
        wake()
        await saving
        return
      }
      if (bytes.length === 0) return
      chunk = bytes
      taken = Promise.withResolvers<void>()
      const done = taken.promise
      wake()
      // The save settles early only when it fails: then so does this write.
      await Promise.race([done, saving])
    },
    async close() {
      const saving = begin()
      ended = true
      wake()
      await saving
    },
    async abort(reason) {
      failure = { cause: reason ?? new Error("the writer was aborted") }
      if (info === undefined) {
        reject(
          new StoreError({
            reason: "Aborted",
            ambiguous: false,
            operation: "save",
            detail: "the writer was aborted before the first byte",
            cause: reason,
          }),
        )
        return
      }
      wake()
      await info.catch(() => undefined)
    },
  })
  return { writable, info: promise }
}
