/**
 * Backups of checkpoints in another store: full or incremental, verified, restored to any place, and kept as long as
 * wanted. What PERSIST-005 has for files, between any two stores.
 *
 *     {prefix}manifests/{id}.json     what a backup consists of: keys, and the SHA-256 of each object
 *     {prefix}objects/{sha256}        the bytes, once each, however many backups have them
 *
 * A manifest is written last, so a backup is there whole or not at all. What a maintainer must keep: no object is
 * removed while a manifest that cannot be read might need it, nor before a backup under way has had time to name it.
 *
 * @module
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import type { ObjectEntry } from "../backend.ts"
import { StoreError } from "../error.ts"
import type { ObjectStoreService } from "../object-store.ts"
import { run } from "../run.ts"
import type { Store } from "../store.ts"
import { Ids } from "./checkpoint-id.ts"
import { checkIds, parseJson, readRecord, recordBytes, type RecordFormat, writeRecord } from "./records.ts"

/** Options of {@link makeCheckpointBackups}. */
export interface CheckpointBackupsOptions {
  /** What the keys of the checkpoints begin with. Default `"checkpoints/"`. */
  readonly source?: string | undefined
  /** Put in front of every key in the store of the backups. Default `"backups/"`. */
  readonly prefix?: string | undefined
  /** How old bytes that no backup names must be to be removed: longer than a backup takes. Default a day. */
  readonly grace?: Duration.Input | undefined
}

/** A backup. */
export interface CheckpointBackup {
  /** Its id; later ones sort after earlier ones. */
  readonly id: string
  /** When it was begun, RFC 3339. */
  readonly timestamp: string
  /** Objects in it. */
  readonly objects: number
  /** Their bytes. */
  readonly bytes: number
  /** Objects that were read for it; the others had not changed since the backup before. */
  readonly copied: number
}

/** An object of a backup that is not what was backed up. */
export interface DamagedObject {
  /** Its key among the checkpoints. */
  readonly key: string
  /** What is wrong. */
  readonly error: StoreError
}

/** The verbs. */
export interface CheckpointBackupsService {
  /** Backs up all checkpoints. What has not changed since the last backup is not read again, unless `full`. */
  readonly create: (options?: { readonly full?: boolean | undefined }) => Effect.Effect<CheckpointBackup, StoreError>
  /** The backups there are, the newest first. One that cannot be read is `Corrupt`. */
  readonly list: Effect.Effect<ReadonlyArray<CheckpointBackup>, StoreError>
  /** Reads every object of a backup and holds it against its SHA-256; those that are damaged or missing. */
  readonly verify: (id: string) => Effect.Effect<ReadonlyArray<DamagedObject>, StoreError>
  /**
   * Writes the checkpoints of a backup to a store, under their own keys; how many objects. What else is there stays. An
   * object that is damaged ends it, with what was written before left in place; verify first.
   */
  readonly restore: (id: string, to: ObjectStoreService) => Effect.Effect<number, StoreError>
  /**
   * Removes all but the newest `keep` backups, and the bytes that none of those needs; the ids removed. Not to be run
   * while a backup is being made, which may rely on the one before it.
   */
  readonly prune: (keep: number) => Effect.Effect<ReadonlyArray<string>, StoreError>
}

const StoredManifest = Schema.Struct({
  format: Schema.Literal("holdfast-checkpoint-backup-1"),
  id: Schema.NonEmptyString,
  timestamp: Schema.String,
  copied: Schema.Int,
  objects: Schema.Array(Schema.Struct({
    key: Schema.NonEmptyString,
    sha256: Schema.NonEmptyString,
    size: Schema.Int,
    contentType: Schema.optionalKey(Schema.String),
    modified: Schema.String,
    etag: Schema.optionalKey(Schema.String),
  })),
})

type Manifest = typeof StoredManifest.Type
type Item = Manifest["objects"][number]

const decodeManifest = Schema.decodeUnknownSync(StoredManifest)

const manifestFormat: RecordFormat<Manifest> = {
  what: "manifest of a backup",
  encode: (manifest) => JSON.stringify(manifest),
  decode: (bytes) => decodeManifest(parseJson(bytes)),
}

/** Objects on their way at a time. */
const concurrency = 8

const sha256Of = async (bytes: Uint8Array<ArrayBuffer>): Promise<string> =>
  Array.from(
    new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)),
    (byte) => byte.toString(16).padStart(2, "0"),
  ).join("")

/** Whether an object is the one that an earlier backup has. Names of latest checkpoints change in place and are small. */
const unchanged = ({ key, size, modified, etag }: ObjectEntry, before: Item | undefined): before is Item =>
  before !== undefined && key.endsWith(".json") && before.size === size && before.etag === etag &&
  before.modified === modified.toISOString()

const summary = ({ id, timestamp, copied, objects }: Manifest): CheckpointBackup => ({
  id,
  timestamp,
  copied,
  objects: objects.length,
  bytes: objects.reduce((sum, { size }) => sum + size, 0),
})

/** Makes backups of the checkpoints in `source`, kept in `target`. */
export const makeCheckpointBackups = (
  source: ObjectStoreService,
  target: ObjectStoreService,
  options: CheckpointBackupsOptions = {},
): CheckpointBackupsService => {
  const { prefix = "backups/" } = options
  const grace = Duration.toMillis(Duration.fromInputUnsafe(options.grace ?? "1 day"))
  const ids = new Ids()
  const manifestKey = (id: string): string => `${prefix}manifests/${id}.json`
  const objectKey = (sha256: string): string => `${prefix}objects/${sha256}`

  /** The ids of the backups, the newest first. */
  const known: Effect.Effect<ReadonlyArray<string>, StoreError> = Effect.map(
    Stream.runCollect(target.list({ prefix: `${prefix}manifests/` })),
    (entries) =>
      entries.map(({ key }) => key.slice(manifestKey("").length - ".json".length, -".json".length)).reverse(),
  )

  const manifest = (id: string): Effect.Effect<Manifest, StoreError> =>
    Effect.map(
      Effect.andThen(checkIds("load", { id }), readRecord(target, manifestKey(id), manifestFormat)),
      ({ value }) => value,
    )

  /** Copies an object; `undefined` if it has gone meanwhile. */
  const copy = (entry: ObjectEntry): Effect.Effect<Item | undefined, StoreError> =>
    Effect.gen(function* () {
      const { bytes, info } = yield* recordBytes(source, entry.key, "checkpoint")
      const sha256 = yield* Effect.promise(() => sha256Of(bytes))
      yield* target.save(objectKey(sha256), bytes, { compression: "none" })
      return {
        key: entry.key,
        sha256,
        size: bytes.length,
        modified: entry.modified.toISOString(),
        ...(info.contentType === undefined ? {} : { contentType: info.contentType }),
        ...(entry.etag === undefined ? {} : { etag: entry.etag }),
      }
    }).pipe(Effect.catchIf((error) => error.reason === "NotFound", () => Effect.undefined))

  /** The bytes of an item, checked. */
  const bytesOf = ({ key, sha256 }: Item): Effect.Effect<Uint8Array<ArrayBuffer>, StoreError> =>
    Effect.flatMap(
      recordBytes(target, objectKey(sha256), "object of a backup"),
      ({ bytes }) =>
        Effect.flatMap(Effect.promise(() => sha256Of(bytes)), (actual) =>
          actual === sha256 ? Effect.succeed(bytes) : Effect.fail(
            new StoreError({
              reason: "Corrupt",
              detail: `the backup of ${JSON.stringify(key)} has another SHA-256 than was backed up`,
              operation: "verify",
              key: objectKey(sha256),
            }),
          )),
    )

  return {
    create: ({ full = false } = {}) =>
      Effect.gen(function* () {
        const now = yield* Clock.currentTimeMillis
        const [last] = yield* known
        const before = last === undefined || full ? [] : (yield* manifest(last)).objects
        const byKey = new Map(before.map((item) => [item.key, item]))
        let copied = 0
        const objects = yield* source.list({ prefix: options.source ?? "checkpoints/" }).pipe(
          Stream.mapEffect((entry) => {
            const same = byKey.get(entry.key)
            if (unchanged(entry, same)) return Effect.succeed(same)
            copied++
            return copy(entry)
          }, { concurrency }),
          Stream.runCollect,
        )
        const made: Manifest = {
          format: "holdfast-checkpoint-backup-1",
          id: ids.next(now, last),
          timestamp: new Date(now).toISOString(),
          copied,
          objects: objects.filter((item) => item !== undefined),
        }
        yield* writeRecord(target, manifestKey(made.id), manifestFormat, made)
        return summary(made)
      }),
    list: Effect.flatMap(
      known,
      (all) => Effect.forEach(all, (id) => Effect.map(manifest(id), summary), { concurrency }),
    ),
    verify: (id) =>
      Effect.gen(function* () {
        const { objects } = yield* manifest(id)
        const found = yield* Effect.forEach(objects, (item) =>
          Effect.match(bytesOf(item), {
            onSuccess: () => undefined,
            onFailure: (error): DamagedObject => ({ key: item.key, error }),
          }), { concurrency })
        return found.filter((one) => one !== undefined)
      }),
    restore: (id, to) =>
      Effect.gen(function* () {
        const { objects } = yield* manifest(id)
        const write = (item: Item): Effect.Effect<unknown, StoreError> =>
          Effect.flatMap(
            bytesOf(item),
            (bytes) => to.save(item.key, bytes, { compression: "none", contentType: item.contentType }),
          )
        // What names a latest checkpoint comes after it.
        const named = objects.filter(({ key }) => !key.endsWith(".json"))
        yield* Effect.forEach(objects.filter((item) => !named.includes(item)), write, { concurrency, discard: true })
        yield* Effect.forEach(named, write, { concurrency, discard: true })
        return objects.length
      }),
    prune: (keep) =>
      Effect.gen(function* () {
        if (!Number.isInteger(keep) || keep < 1) {
          const detail = `keep must be 1 or more, it is ${keep}`
          return yield* Effect.fail(new StoreError({ reason: "InvalidInput", detail, operation: "remove" }))
        }
        const all = yield* known
        const kept = yield* Effect.forEach(all.slice(0, keep), manifest, { concurrency })
        const needed = new Set(kept.flatMap(({ objects }) => objects.map(({ sha256 }) => objectKey(sha256))))
        const old = all.slice(keep)
        const limit = (yield* Clock.currentTimeMillis) - grace
        yield* removeAll(target, old.map(manifestKey))
        const unneeded = yield* target.list({ prefix: `${prefix}objects/` }).pipe(
          Stream.filter(({ key, modified }) => !needed.has(key) && modified.getTime() <= limit),
          Stream.map(({ key }) => key),
          Stream.runCollect,
        )
        yield* removeAll(target, unneeded)
        return old
      }),
  }
}

const removeAll = (store: ObjectStoreService, keys: ReadonlyArray<string>): Effect.Effect<void, StoreError> =>
  Effect.flatMap(store.removeMany(keys), (results) => {
    const error = results.find((result) => result.error !== undefined)?.error
    return error === undefined ? Effect.void : Effect.fail(error)
  })

/**
 * Backups of checkpoints, with promises.
 *
 * @example From one store to another and back
 * ```ts
 * import { open } from "@holdfast/holdfast"
 * import { CheckpointBackups, CheckpointStore } from "@holdfast/holdfast/checkpoints"
 *
 * await using store = await open("mem:")
 * await using vault = await open("mem:")
 * const checkpoints = new CheckpointStore(store)
 * await checkpoints.save("thread-1", { step: 1 })
 * const backups = new CheckpointBackups(store, vault)
 * const { id } = await backups.create()
 * await checkpoints.remove("thread-1")
 * console.assert((await backups.verify(id)).length === 0)
 * await backups.restore(id, store)
 * console.assert((await checkpoints.load("thread-1")).timestamp !== undefined)
 * ```
 */
export class CheckpointBackups {
  readonly #service: CheckpointBackupsService

  /** Backups of the checkpoints in `source`, kept in `target`. The caller closes both. */
  constructor(source: Store, target: Store, options?: CheckpointBackupsOptions) {
    this.#service = makeCheckpointBackups(source.service, target.service, options)
  }

  /** The same for Effect code. */
  get service(): CheckpointBackupsService {
    return this.#service
  }

  /** Backs up all checkpoints; unless `full`, what has not changed since the last backup is not read again. */
  create(options?: { readonly full?: boolean | undefined }): Promise<CheckpointBackup> {
    return run(this.#service.create(options))
  }

  /** The backups there are, the newest first. */
  list(): Promise<ReadonlyArray<CheckpointBackup>> {
    return run(this.#service.list)
  }

  /** Reads every object of a backup; those that are damaged or missing. */
  verify(id: string): Promise<ReadonlyArray<DamagedObject>> {
    return run(this.#service.verify(id))
  }

  /** Writes the checkpoints of a backup to a store; how many objects. */
  restore(id: string, to: Store): Promise<number> {
    return run(this.#service.restore(id, to.service))
  }

  /** Removes all but the newest `keep` backups; the ids removed. Not to be run while a backup is being made. */
  prune(keep: number): Promise<ReadonlyArray<string>> {
    return run(this.#service.prune(keep))
  }
}
