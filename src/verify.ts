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
import type { Tail } from "./streams/container-tail.ts"
import { sha256 } from "./streams/digest.ts"

/** What a check needs of a store; `damaged`: also what the store itself refuses to hand out. */
export interface Verifying {
  readonly deep: boolean
  readonly stat: (damaged: boolean) => Effect.Effect<ObjectInfo, StoreError>
  readonly tail: (info: ObjectInfo) => Effect.Effect<Tail | undefined, StoreError>
  readonly load: (info: ObjectInfo, damaged: boolean) => Effect.Effect<Loaded, StoreError>
}

/** Runs one check. What a load would refuse fails here as it would there, with the place where it differs. */
export const runVerify = (verifying: Verifying): Effect.Effect<Verified, StoreError> =>
  Effect.catch(
    check(verifying),
    (error) => error.reason === "Corrupt" && verifying.deep ? locate(verifying, error) : Effect.fail(error),
  )

const check = ({ deep, stat, tail, load }: Verifying): Effect.Effect<Verified, StoreError> =>
  Effect.gen(function* () {
    const info = yield* stat(false)
    const end = info.codec === undefined ? undefined : yield* tail(info)
    const facts = { ...info, length: info.length ?? end?.length ?? info.size, sha256: info.sha256 ?? end?.sha256 }
    if (
      end !== undefined && (facts.length !== end.length || (facts.sha256 !== end.sha256 && end.sha256 !== undefined))
    ) {
      return yield* Effect.fail(corrupt(info.key, "its metadata and its trailer speak of different bytes"))
    }
    if (!deep) return { info: facts, checks: end === undefined ? [] : ["trailer"] }
    // An encoded object's decoder holds the digest against what it decodes.
    const hasher = end === undefined && facts.sha256 !== undefined ? sha256() : undefined
    yield* drain(yield* load(info, false), (chunk) => hasher?.update(chunk))
    const digest = hasher?.hex()
    if (digest !== undefined && digest !== facts.sha256) {
      return yield* Effect.fail(corrupt(info.key, `its SHA-256 is ${digest}, saved was ${facts.sha256}`))
    }
    const checks: Array<Verified["checks"][number]> = []
    if (end !== undefined) checks.push("trailer", "frames")
    else if (info.crc32 !== undefined) checks.push("crc32")
    if (digest !== undefined || end?.sha256 !== undefined) checks.push("sha256")
    return { info: facts, checks }
  })

/** Reads on where the store has refused to, to say which frame it is. */
const locate = ({ stat, load }: Verifying, found: StoreError): Effect.Effect<never, StoreError> =>
  Effect.gen(function* () {
    const info = yield* stat(true)
    if (info.codec !== undefined) yield* drain(yield* load(info, true), () => {})
    return yield* Effect.fail(found)
  }).pipe(
    Effect.mapError((error) =>
      error === found || error.detail === found.detail || (error.reason !== "Corrupt" && error.reason !== "Truncated")
        ? found
        : found.with({ detail: `${found.detail}: ${error.detail}`, cause: error })
    ),
  )

const drain = (loaded: Loaded, use: (chunk: Uint8Array) => void): Effect.Effect<void, StoreError> =>
  Effect.tryPromise({
    try: async () => {
      for await (const chunk of loaded.body) use(chunk)
    },
    catch: (cause) => StoreError.is(cause) ? cause : corrupt(loaded.info.key, "its bytes could not be read", cause),
  }).pipe(Effect.onExit((exit) => exit._tag === "Success" ? Effect.void : Effect.promise(() => loaded.cancel())))

const corrupt = (key: string, detail: string, cause?: unknown): StoreError =>
  new StoreError({ reason: "Corrupt", operation: "verify", key, detail, cause })
