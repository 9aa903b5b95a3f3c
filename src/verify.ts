/**
 * Holding what is stored against what is known of it, without handing it to anybody.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import type { ObjectInfo } from "./backend.ts"
import { StoreError } from "./error.ts"
import type { Loaded } from "./load.ts"
import type { Verified } from "./options.ts"
import type { Tail } from "./streams/container.ts"
import { sha256 } from "./streams/digest.ts"

/** What a check needs of a store. */
export interface Verifying {
  readonly deep: boolean
  readonly stat: Effect.Effect<ObjectInfo, StoreError>
  readonly tail: (info: ObjectInfo) => Effect.Effect<Tail | undefined, StoreError>
  readonly load: (info: ObjectInfo) => Effect.Effect<Loaded, StoreError>
}

/** Runs one check. What a load would refuse fails here as it would there. */
export const runVerify = ({ deep, stat, tail, load }: Verifying): Effect.Effect<Verified, StoreError> =>
  Effect.gen(function* () {
    const info = yield* stat
    const end = info.codec === undefined ? undefined : yield* tail(info)
    const facts = { ...info, length: info.length ?? end?.length ?? info.size, sha256: info.sha256 ?? end?.sha256 }
    if (info.length !== undefined && end !== undefined && info.length !== end.length) {
      const detail = `its metadata says that it has ${info.length} bytes, its trailer ${end.length}`
      return yield* Effect.fail(corrupt(info.key, detail))
    }
    if (!deep) return { info: facts, checks: end === undefined ? [] : ["trailer"] }
    const loaded = yield* load(info)
    const hasher = facts.sha256 === undefined ? undefined : sha256()
    yield* Effect.tryPromise({
      try: async () => {
        for await (const chunk of loaded.body) hasher?.update(chunk)
      },
      catch: (cause) => StoreError.is(cause) ? cause : corrupt(info.key, "its bytes could not be read", cause),
    }).pipe(Effect.onInterrupt(() => Effect.promise(() => loaded.cancel())))
    const digest = hasher?.hex()
    if (digest !== undefined && digest !== facts.sha256) {
      return yield* Effect.fail(corrupt(info.key, `its SHA-256 is ${digest}, saved was ${facts.sha256}`))
    }
    const checks: Array<Verified["checks"][number]> = []
    if (end !== undefined) checks.push("trailer", "frames")
    if (info.crc32 !== undefined) checks.push("crc32")
    if (digest !== undefined) checks.push("sha256")
    return { info: facts, checks }
  })

const corrupt = (key: string, detail: string, cause?: unknown): StoreError =>
  new StoreError({ reason: "Corrupt", operation: "verify", key, detail, cause })
