/**
 * Everything from one store to another, as often as it takes.
 *
 * Objects are compared before they are copied: one that is there already with the same bytes is left alone, so a
 * migration that was killed goes on where it stopped when it is run again, and a second run over a whole copy proves it.
 * One that is there with other bytes is somebody's: it is reported, and replaced only when asked. The source is never
 * changed. A failure of one object does not keep the others from being copied; it is in the report.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Semaphore from "effect/Semaphore"
import * as Stream from "effect/Stream"
import type { ObjectInfo } from "./backend.ts"
import { type Reason, StoreError } from "./error.ts"
import type { Loaded } from "./load.ts"
import type { ObjectStoreService } from "./object-store.ts"
import type { CallOptions } from "./options.ts"
import { readerOf, sameBytes } from "./streams/reader.ts"
import { transfer } from "./transfer.ts"

/** Options of {@link migrate}. */
export interface MigrateOptions extends CallOptions {
  /** Only keys that start with this. Default: all. */
  readonly prefix?: string | undefined
  /** Replace objects of the target that have other bytes. Default `false`: they are reported as `different`. */
  readonly replace?: boolean | undefined
  /** Compare and report, and copy nothing. Default `false`. */
  readonly dryRun?: boolean | undefined
  /**
   * Read every copy back and check it against its own checksums. Default `false`: what a store takes is checked on its
   * way there already.
   */
  readonly verify?: boolean | undefined
}

/** What became of one object. */
export interface Migrated {
  /** Its key, the same in both stores. */
  readonly key: string
  /**
   * `copied`; `present`: it was there with the same bytes; `different`: it was there with others and stays; `missing`:
   * it is not there (`dryRun` only); `failed`: see `error`.
   */
  readonly outcome: "copied" | "present" | "different" | "missing" | "failed"
  /** Stored bytes of the source. */
  readonly size: number
  /** Why it failed. */
  readonly error?: StoreError | undefined
}

/** How many objects, and their stored bytes. */
export interface MigrateCount {
  /** How many. */
  readonly objects: number
  /** Their stored bytes. */
  readonly bytes: number
}

/** What became of all objects. */
export type MigrateReport = Readonly<Record<Migrated["outcome"], MigrateCount>>

const outcomes = ["copied", "present", "different", "missing", "failed"] as const

/** Adds up what became of objects; `complete` says whether the target now has all of the source. */
export class MigrateTally {
  readonly #counts = new Map<Migrated["outcome"], { objects: number; bytes: number }>()

  /** Counts one more object. */
  add({ outcome, size }: Migrated): void {
    const count = this.#counts.get(outcome) ?? { objects: 0, bytes: 0 }
    this.#counts.set(outcome, { objects: count.objects + 1, bytes: count.bytes + size })
  }

  /** The counts so far. */
  get report(): MigrateReport {
    const entries = outcomes.map((name) => [name, this.#counts.get(name) ?? { objects: 0, bytes: 0 }] as const)
    return Object.fromEntries(entries) as MigrateReport
  }

  /** Whether every object is there with the same bytes. */
  get complete(): boolean {
    return (["different", "missing", "failed"] as const).every((name) => !this.#counts.has(name))
  }
}

/** Failures that concern one object; any other ends the migration, since it would meet all of them. */
const single: ReadonlySet<Reason> = new Set<Reason>([
  "NotFound",
  "AlreadyExists",
  "PreconditionFailed",
  "Conflict",
  "Changed",
  "CommitUnknown",
  "InvalidKey",
  "InvalidInput",
  "TooLarge",
  "Truncated",
  "Corrupt",
  "Unsupported",
])

const MiB = 2 ** 20

/** Shares of the work in flight: 32 small objects or four large ones, whose parts take memory. */
const shares = 32
const shareOf = (size: number): number => Math.min(8, Math.max(1, Math.ceil(size / MiB)))

/**
 * Copies every object of `source` to `target` under the same key, with its metadata, and tells what became of each, in
 * no particular order. Stored bytes go as they are and are checked on the way.
 *
 * @example Move to another store, and see that all is there
 * ```ts
 * import { open } from "@holdfast/holdfast"
 * import { migrate, MigrateTally } from "@holdfast/holdfast/migrate"
 * import * as Effect from "effect/Effect"
 * import * as Stream from "effect/Stream"
 *
 * await using from = await open("mem:")
 * await using to = await open("mem:")
 * await from.save("agents/1", "state")
 * const tally = new MigrateTally()
 * const moved = migrate(from.service, to.service)
 * await Effect.runPromise(Stream.runForEach(moved, (one) => Effect.sync(() => tally.add(one))))
 * console.assert(tally.complete && tally.report.copied.objects === 1)
 * ```
 */
export const migrate = (
  source: ObjectStoreService,
  target: ObjectStoreService,
  { prefix, replace = false, dryRun = false, verify = false, ...call }: MigrateOptions = {},
): Stream.Stream<Migrated, StoreError> =>
  Stream.unwrap(Effect.sync(() => {
    const budget = Semaphore.makeUnsafe(shares)

    const one = (key: string): Effect.Effect<Migrated["outcome"], StoreError> =>
      Effect.gen(function* () {
        const there = yield* find(target, key, call)
        if (there !== undefined) {
          const here = yield* source.stat(key, call)
          if (yield* sameObjects(source, here, target, there, call)) return "present"
          if (!replace) return "different"
        }
        if (dryRun) return there === undefined ? "missing" : "different"
        const { create, replace: replaces } = target.capabilities.conditional
        const condition = there === undefined
          ? create ? { ifNoneMatch: "*" as const } : {}
          : replaces && !there.etag.startsWith("W/")
          ? { ifMatch: there.etag }
          : {}
        yield* withoutCondition(
          condition,
          (used) => transfer({ store: source, key }, { store: target, key }, { condition: used }),
        )
        if (verify) yield* target.verify(key, call)
        return "copied"
      })

    return Stream.mapEffect(
      source.list({ prefix, ...call }),
      ({ key, size }) =>
        one(key).pipe(
          budget.withPermits(shareOf(size)),
          Effect.result,
          Effect.flatMap((result): Effect.Effect<Migrated, StoreError> => {
            if (Result.isSuccess(result)) return Effect.succeed({ key, size, outcome: result.success })
            const error = result.failure
            return single.has(error.reason)
              ? Effect.succeed({ key, size, outcome: "failed", error })
              : Effect.fail(error)
          }),
        ),
      { concurrency: shares, unordered: true },
    )
  }))

/**
 * A condition that a store checks for small objects and not for large ones (Ceph) is left out for those: then somebody
 * who writes the object in the very moment loses to the copy.
 */
const withoutCondition = <A, C extends object>(
  condition: C,
  write: (condition: C | Record<never, never>) => Effect.Effect<A, StoreError>,
): Effect.Effect<A, StoreError> =>
  Effect.catchIf(
    write(condition),
    (error) => error.reason === "Unsupported" && Object.keys(condition).length > 0,
    () => write({}),
  )

const find = (
  store: ObjectStoreService,
  key: string,
  call: CallOptions,
): Effect.Effect<ObjectInfo | undefined, StoreError> =>
  Effect.catchIf(store.stat(key, call), (error) => error.reason === "NotFound", () => Effect.undefined)

/** Whether two objects have the same stored bytes, by what is known of them, else by reading both. */
const sameObjects = (
  source: ObjectStoreService,
  here: ObjectInfo,
  target: ObjectStoreService,
  there: ObjectInfo,
  call: CallOptions,
): Effect.Effect<boolean, StoreError> => {
  if (here.size !== there.size || here.codec !== there.codec) return Effect.succeed(false)
  if (here.sha256 !== undefined && there.sha256 !== undefined && here.codec === undefined) {
    return Effect.succeed(here.sha256 === there.sha256)
  }
  if (here.crc32 !== undefined && there.crc32 !== undefined && here.crc32 !== there.crc32) return Effect.succeed(false)
  // A CRC-32 can tell that bytes differ, and by itself never that they are the same.
  if (
    here.sha256 !== undefined && here.sha256 === there.sha256 && here.crc32 !== undefined && there.crc32 !== undefined
  ) {
    return Effect.succeed(true)
  }
  return Effect.acquireUseRelease(
    storedBytes(source, here, call),
    (one) =>
      Effect.acquireUseRelease(
        storedBytes(target, there, call),
        (other) =>
          Effect.tryPromise({
            try: () => sameBytes(readerOf(one.body), readerOf(other.body)),
            catch: (cause) =>
              StoreError.is(cause) ? cause : new StoreError({
                reason: "Protocol",
                detail: "the bytes could not be compared",
                operation: "load",
                key: here.key,
                cause,
              }),
          }),
        (other) => Effect.promise(() => other.cancel()),
      ),
    (one) => Effect.promise(() => one.cancel()),
  )
}

const storedBytes = (
  store: ObjectStoreService,
  { key, etag }: ObjectInfo,
  call: CallOptions,
): Effect.Effect<Loaded, StoreError> =>
  store.load(key, { ...call, decode: "none", ifMatch: etag.startsWith("W/") ? undefined : etag })
