/**
 * Reading snapshots: whole, as a stream, or only their head.
 *
 * What is given out has the hash that was saved with it, or the call fails; a stream ends well only after that has been
 * checked.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import type { ObjectInfo } from "../backend.ts"
import { formatFailure } from "../decode.ts"
import { StoreError } from "../error.ts"
import type { Loaded } from "../load.ts"
import type { ObjectStoreService } from "../object-store.ts"
import { FormatError } from "../streams/format-error.ts"
import { streamOf } from "../streams/reader.ts"
import { corruptRecord } from "./records.ts"
import { checkPayload } from "./payload.ts"
import { type ContainerPiece, containerText, readContainer } from "./snapshot-container.ts"
import type { SnapshotKey } from "./snapshot-encryption.ts"
import { type NumberForm, numberForms, SnapshotHash } from "./snapshot-hash.ts"
import { JsonFlaw } from "./snapshot-json.ts"
import { NewerVersion, readMetadata, type SnapshotMetadata } from "./snapshot-schema.ts"
import type { RestoreOptions, RestoreStateOptions, SnapshotInfo, SnapshotsService } from "./snapshot-service.ts"

/** How much of an object is read for its head: the first is enough unless the description is a long one. */
const headSizes: ReadonlyArray<number> = [16 * 1024, 512 * 1024, 4 * 2 ** 20]

/** Most bytes of a state that is restored as a value, 256 MiB. */
const maxRestoreSize = 256 * 2 ** 20

/** A hash that is not the one that the file says. */
class WrongHash extends Error {}

/** What a failure to read means. */
const readFailure = (backend: string, path: string, cause: unknown): StoreError => {
  if (StoreError.is(cause)) return cause.key === undefined ? cause.with({ key: path, backend }) : cause
  if (cause instanceof FormatError) return formatFailure(backend, path, cause)
  const made = { operation: "load", backend, key: path, cause }
  if (cause instanceof WrongHash) return new StoreError({ ...made, reason: "Corrupt", detail: cause.message })
  if (cause instanceof NewerVersion) {
    const hint = "read it with the version of the program that has written it, or a newer one"
    return new StoreError({ ...made, reason: "Unsupported", detail: cause.message, hint })
  }
  return corruptRecord(path, "snapshot", cause)
}

/** A file on its way in. */
interface Reading {
  readonly pieces: AsyncGenerator<ContainerPiece>
  readonly cancel: () => Promise<void>
}

const openReading = (loaded: Loaded, key: SnapshotKey | undefined): Reading => {
  const reader = loaded.body.getReader()
  const pull = async () => (await reader.read()).value
  return {
    pieces: readContainer(containerText(pull, key, undefined)),
    cancel: () => reader.cancel().catch(() => undefined),
  }
}

/** What is known of a snapshot that is stored. */
export const infoOf = (path: string, info: ObjectInfo, metadata: SnapshotMetadata): SnapshotInfo => ({
  path,
  metadata: { ...metadata, compressed_size: info.size },
  etag: info.etag,
  size: info.size,
})

/** The verbs that read. */
export type Readers = Pick<SnapshotsService, "restore" | "loadStream" | "getMetadata" | "verifySnapshot">

/** Makes the verbs that read, with the key for calls that give none. */
export const makeReaders = (store: ObjectStoreService, preset: SnapshotKey | undefined): Readers => {
  const fail = (path: string) => (cause: unknown): StoreError => readFailure(store.backend, path, cause)

  const load = (path: string, o: RestoreOptions, ifMatch?: string): Effect.Effect<Loaded, StoreError> =>
    store.load(path, { signal: o.signal, retry: o.retry, versionId: o.versionId, ifMatch })

  const keyOf = (o: RestoreOptions): SnapshotKey | undefined => o.encryptionKey ?? preset

  /** Reads a file to its end; nothing is left open, whatever happens. */
  const readAll = (
    path: string,
    loaded: Loaded,
    o: RestoreOptions,
    hashes: ReadonlyArray<SnapshotHash>,
    onState: (bytes: Uint8Array<ArrayBuffer>, length: number) => void = () => {},
  ): Effect.Effect<SnapshotMetadata, StoreError> =>
    Effect.suspend(() => {
      const reading = openReading(loaded, keyOf(o))
      let length = 0
      const read = async (): Promise<SnapshotMetadata> => {
        let metadata: SnapshotMetadata | undefined
        for await (const piece of reading.pieces) {
          if (piece.kind === "metadata") metadata = readMetadata(piece.json)
          else {
            for (const hash of hashes) hash.update(piece.bytes)
            length += piece.bytes.length
            onState(piece.bytes, length)
          }
        }
        // The reader refuses a file without.
        return metadata!
      }
      return Effect.ensuring(
        Effect.tryPromise({ try: read, catch: fail(path) }),
        Effect.promise(reading.cancel),
      )
    })

  /** Holds a hash against the file's. Persist's of another build may have hashed numbers in another form. */
  const checkHash = (
    path: string,
    o: RestoreOptions,
    etag: string,
    metadata: SnapshotMetadata,
    actual: string,
  ): Effect.Effect<void, StoreError> =>
    Effect.gen(function* () {
      const expected = metadata.content_hash
      if (actual === expected.toLowerCase()) return
      const others: ReadonlyArray<NumberForm> = numberForms.slice(1)
      const hashes = others.map((form) => new SnapshotHash(form))
      const loaded = yield* load(path, o, etag.startsWith("W/") ? undefined : etag)
      yield* readAll(path, loaded, o, hashes)
      const hex = yield* Effect.promise(() => Promise.all(hashes.map((hash) => hash.hex())))
      if (hex.includes(expected.toLowerCase())) return
      const detail = `Integrity check failed: expected hash ${expected}, got ${actual}`
      return yield* Effect.fail(fail(path)(new WrongHash(detail)))
    })

  const verified = (
    path: string,
    o: RestoreOptions,
    onState?: (bytes: Uint8Array<ArrayBuffer>, length: number) => void,
  ): Effect.Effect<SnapshotInfo, StoreError> =>
    Effect.gen(function* () {
      const loaded = yield* load(path, o)
      const hash = new SnapshotHash()
      const metadata = yield* readAll(path, loaded, o, [hash], onState)
      yield* checkHash(path, o, loaded.info.etag, metadata, yield* Effect.promise(() => hash.hex()))
      return infoOf(path, loaded.info, metadata)
    })

  const restore: SnapshotsService["restore"] = <A>(path: string, o: RestoreStateOptions<A> = {}) =>
    Effect.suspend(() => {
      const pieces: Array<Uint8Array<ArrayBuffer>> = []
      const keep = (bytes: Uint8Array<ArrayBuffer>, length: number): void => {
        if (length > maxRestoreSize) {
          throw new StoreError({
            reason: "TooLarge",
            detail: `the state has more than ${maxRestoreSize} bytes`,
            hint: "read it with loadStream",
            operation: "load",
            key: path,
            backend: store.backend,
          })
        }
        pieces.push(bytes)
      }
      return Effect.flatMap(verified(path, o, keep), (info) =>
        Effect.tryPromise({
          try: async () => JSON.parse(await new Blob(pieces).text()) as unknown,
          catch: fail(path),
        }).pipe(
          Effect.flatMap((state) => checkPayload(o.schema, state, "state", "load", path)),
          Effect.map((state) => ({ ...info, state })),
        ))
    })

  const loadStream: SnapshotsService["loadStream"] = (path, o = {}) =>
    Effect.gen(function* () {
      const context = yield* Effect.context<never>()
      const loaded = yield* load(path, o)
      const reading = openReading(loaded, keyOf(o))
      const metadata = yield* Effect.onExit(
        Effect.tryPromise({
          try: async () => {
            const { done, value } = await reading.pieces.next()
            if (!done && value.kind === "metadata") return readMetadata(value.json)
            throw new StoreError({
              reason: "Unsupported",
              detail: "the metadata stand behind the state, which is then not streamed",
              hint: "restore the snapshot instead, and save it again",
              operation: "load",
              key: path,
            })
          },
          catch: fail(path),
        }),
        (exit) => exit._tag === "Success" ? Effect.void : Effect.promise(reading.cancel),
      )
      const hash = new SnapshotHash()
      const check = async (): Promise<undefined> => {
        const actual = await hash.hex()
        await Effect.runPromiseWith(context)(checkHash(path, o, loaded.info.etag, metadata, actual))
      }
      const body = streamOf({
        read: async () => {
          try {
            const { done, value } = await reading.pieces.next()
            if (done || value.kind !== "state") return await check()
            hash.update(value.bytes)
            return value.bytes
          } catch (cause) {
            await reading.cancel()
            throw fail(path)(cause)
          }
        },
        cancel: async () => {
          await reading.cancel()
          await reading.pieces.return(undefined).catch(() => undefined)
        },
      })
      return { ...infoOf(path, loaded.info, metadata), body }
    })

  /** The metadata at the start of a file; `more`: they are longer; `behind`: they stand behind the state. */
  const readHead = async (
    bytes: Uint8Array,
    whole: boolean,
    key: SnapshotKey | undefined,
  ): Promise<SnapshotMetadata | "more" | "behind"> => {
    let given = false
    let short = false
    const pull = (): Promise<Uint8Array | undefined> => {
      short = given && !whole
      if (short) return Promise.reject(new FormatError("truncated", "only the head was read", { offset: bytes.length }))
      const first = given ? undefined : bytes
      given = true
      return Promise.resolve(first)
    }
    const pieces = readContainer(containerText(pull, key, 0))
    try {
      const { done, value } = await pieces.next()
      return done || value.kind !== "metadata" ? "behind" : readMetadata(value.json)
    } catch (cause) {
      if (short) return "more"
      throw cause
    } finally {
      await pieces.return(undefined).catch(() => undefined)
    }
  }

  const getMetadata: SnapshotsService["getMetadata"] = (path, o = {}) =>
    Effect.gen(function* () {
      for (const length of headSizes) {
        const options = { signal: o.signal, retry: o.retry, versionId: o.versionId, offset: 0, length }
        const loaded = yield* Effect.mapError(store.load(path, options), (error) =>
          error.reason === "RangeNotSatisfiable" ? fail(path)(new JsonFlaw("it is empty")) : error)
        const head = yield* Effect.tryPromise({
          try: async () => {
            const bytes = await loaded.bytes()
            return await readHead(bytes, bytes.length < length, keyOf(o))
          },
          catch: fail(path),
        }).pipe(Effect.onInterrupt(() =>
          Effect.promise(() => loaded.cancel())
        ))
        if (head === "behind") break
        if (head !== "more") return infoOf(path, loaded.info, head)
      }
      const loaded = yield* load(path, o)
      return infoOf(path, loaded.info, yield* readAll(path, loaded, o, []))
    })

  return { restore, loadStream, getMetadata, verifySnapshot: (path, o = {}) => verified(path, o) }
}
