/**
 * Checks of what keeps bytes safe: checksums that the service enforces, encryption that it confirms, versions.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import type { Reason } from "../../error.ts"
import { CurrentRetry } from "../../policy.ts"
import { type Bench, keyOf, put } from "./bench.ts"
import type { Check } from "./check.ts"
import { failed, notHere, ok, wrong } from "./finding.ts"

/** How a service says that bytes are not what was signed or summed. */
const refusals: ReadonlySet<Reason> = new Set<Reason>(["Corrupt", "InvalidInput", "Unauthorized"])

/** Whether bytes that change on the way are refused. */
export const checksum: Check = {
  name: "checksum",
  purpose: "write",
  run: (bench) => {
    const { wire, told } = bench
    if (wire === undefined && !told.enforcedChecksum) {
      return Effect.succeed(notHere("the bytes do not leave this process"))
    }
    const key = keyOf(bench, "damaged")
    const saving = wire === undefined ? put(bench, key, "a probe", { crc32: 0 }) : Effect.suspend(() => {
      wire.damaging = true
      return Effect.ensuring(put(bench, key, "a probe"), Effect.sync(() => wire.damaging = false))
    })
    return Effect.map(Effect.result(Effect.provideService(saving, CurrentRetry, "none")), (tried) => {
      if (tried._tag === "Failure" && !refusals.has(tried.failure.reason)) return failed(tried.failure)
      return tried._tag === "Failure" ? ok("a byte that changes on the way is refused") : wrong(
        "Corrupt",
        "the service stores bytes that changed on the way",
        "use https, and a profile for the URL whose checksum the service enforces",
      )
    })
  },
}

/** Whether encryption that is asked for takes place. */
export const encryption: Check = {
  name: "encryption",
  purpose: "write",
  run: ({ location, sample, backend }) =>
    Effect.gen(function* () {
      const asked = location.kind === "s3" ? location.encryption : undefined
      if (sample?.info === undefined) return notHere("there is no object to try it on")
      const { encryption: found } = yield* backend.stat(sample.key)
      const said = [found?.type, found?.keyId].filter((word) => word !== undefined).join(" ")
      if (asked === undefined) return notHere(found === undefined ? "not asked for" : `not asked for; there is ${said}`)
      return found?.type === asked.type ? ok(`confirmed: ${said}`) : wrong(
        "Unsupported",
        `${asked.type} was asked for and is not confirmed`,
        "see the bucket's default encryption and the key's policy",
      )
    }),
}

/** Whether the bucket keeps what is replaced. */
export const versions: Check = {
  name: "versions",
  purpose: "all",
  run: (bench: Bench) =>
    Effect.gen(function* () {
      const { listVersions } = bench.backend
      if (listVersions === undefined) return notHere("the store keeps none")
      const key = keyOf(bench, "versions")
      yield* put(bench, key, "first")
      yield* put(bench, key, "second")
      const found = yield* Effect.result(listVersions({ prefix: key }))
      if (found._tag === "Failure") {
        return found.failure.reason === "Unsupported" ? notHere("the service keeps none") : failed(found.failure)
      }
      return found.success.versions.length > 1
        ? ok("kept")
        : ok("not kept: a save or a removal is final", "enable versioning on the bucket if that should be undone")
    }),
}
