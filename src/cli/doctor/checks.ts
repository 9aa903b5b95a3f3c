/**
 * All checks of `doctor` in their order, and how they are run and cleaned up after.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { StoreError } from "../../error.ts"
import type { Bench } from "./bench.ts"
import { type Check, type Purpose, purposes } from "./check.ts"
import * as conditions from "./conditions.ts"
import * as connection from "./connection.ts"
import * as disk from "./disk.ts"
import { failed, type Finding, notHere, ok } from "./finding.ts"
import * as objects from "./objects.ts"
import { profile } from "./profile.ts"
import * as protection from "./protection.ts"
import * as uploads from "./uploads.ts"

/** Every check. Later ones use what earlier ones have found out. */
export const checks: ReadonlyArray<Check> = [
  connection.service,
  connection.credentials,
  connection.clock,
  disk.fileSystem,
  disk.freeSpace,
  disk.modes,
  objects.list,
  objects.save,
  objects.stat,
  objects.load,
  objects.freshList,
  objects.remove,
  objects.presign,
  uploads.upload,
  uploads.abort,
  uploads.leastPart,
  uploads.partSizes,
  conditions.create,
  conditions.replace,
  conditions.complete,
  conditions.copy,
  conditions.remove,
  protection.checksum,
  protection.encryption,
  protection.versions,
  profile,
]

/** What a check has found. */
export interface Report {
  /** The check's name. */
  readonly name: string
  /** How it ended. */
  readonly finding: Finding
}

/** Runs the checks that a purpose needs, one after the other, and removes what they made. */
export const examine = (bench: Bench, purpose: Purpose): Stream.Stream<Report> => {
  const here = bench.wire !== undefined ? "service" : bench.location.kind === "disk" ? "disk" : "memory"
  const wanted = checks.filter((check) =>
    purposes.indexOf(check.purpose) <= purposes.indexOf(purpose) && (check.where ?? here) === here
  )
  let closed: string | undefined
  const run = ({ name, gate, run }: Check): Effect.Effect<Report> =>
    Effect.suspend(() => {
      if (closed !== undefined) return Effect.succeed(notHere(`not tried, since ${JSON.stringify(closed)} failed`))
      return Effect.catch(run(bench), (error) => Effect.succeed(failed(error)))
    }).pipe(Effect.map((finding) => {
      if (gate === true && finding.status === "FAIL") closed = name
      return { name, finding }
    }))
  const cleanup = Effect.map(
    Effect.suspend(() => bench.made.size === 0 ? Effect.succeed(ok("nothing was made")) : cleanUp(bench)),
    (finding) => ({ name: "clean up", finding }),
  )
  let clean = false
  return Stream.fromIterable(wanted).pipe(
    Stream.mapEffect(run),
    Stream.concat(Stream.fromEffect(Effect.tap(cleanup, () => Effect.sync(() => clean = true)))),
    // When it is stopped half way, too.
    Stream.ensuring(Effect.suspend(() => clean ? Effect.void : Effect.asVoid(cleanup))),
  )
}

/** Removes every object, version and upload of the test. */
const cleanUp = (bench: Bench): Effect.Effect<Finding> =>
  Effect.gen(function* () {
    const { backend, prefix, made } = bench
    const results = yield* backend.removeMany([...made])
    const kept = results.find(({ error }) => error !== undefined)?.error
    if (kept !== undefined) return yield* Effect.fail(kept)
    const { uploads } = (yield* orNothing(backend.listUploads?.({ prefix }))) ?? { uploads: [] }
    yield* Effect.forEach(uploads, (upload) => backend.abortUpload(upload), { discard: true })
    // A page holds more than a test makes.
    const old = yield* orNothing(backend.listVersions?.({ prefix }))
    yield* Effect.forEach(old?.versions ?? [], ({ key, versionId }) => backend.remove(key, { versionId }), {
      discard: true,
      concurrency: 4,
    })
    return old === undefined && bench.sample?.info?.versionId !== undefined
      ? ok(
        `old versions of the test's objects are left below ${prefix}, since they cannot be listed`,
        "have a lifecycle rule of the bucket end old versions",
      )
      : ok("nothing is left of the test")
  }).pipe(
    Effect.catch((error) =>
      Effect.succeed(failed(
        new StoreError({
          reason: error.reason,
          detail: `objects or versions of the test are left below ${bench.prefix}: ${error.detail}`,
          hint: `remove them with: holdfast rm --recursive ${bench.prefix}`,
          operation: "doctor",
          cause: error,
        }),
      ))
    ),
  )

/** What a call that the service may lack, or not allow, gives. */
const orNothing = <A>(call: Effect.Effect<A, StoreError> | undefined): Effect.Effect<A | undefined, StoreError> =>
  call === undefined ? Effect.succeed(undefined) : Effect.catch(
    call,
    (error) =>
      error.reason === "Unsupported" || error.reason === "Forbidden" || error.reason === "InvalidInput"
        ? Effect.succeed(undefined)
        : Effect.fail(error),
  )
