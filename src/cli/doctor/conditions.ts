/**
 * Checks of conditions: whether the service holds a write to its condition, also when many ask at once. A service
 * that ignores one loses updates without a word, which is the worst that can happen to a program's state.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import type { Backend, WriteCondition } from "../../backend.ts"
import type { Reason, StoreError } from "../../error.ts"
import { type Bench, type Condition, keyOf, put } from "./bench.ts"
import type { Check } from "./check.ts"
import { type Finding, notHere, ok, wrong } from "./finding.ts"
import { uploadZeros } from "./uploads.ts"

/** Writers of a race. */
const writers = 8

/** An etag that no object has: an MD5 of nothing in particular. */
const foreignEtag = "00000000000000000000000000000000"

/** How a service says that a condition does not hold. */
const refusals: ReadonlySet<Reason> = new Set<Reason>(["AlreadyExists", "PreconditionFailed", "Conflict"])

/** How it says that it knows no such condition. */
const unknown: ReadonlySet<Reason> = new Set<Reason>(["Unsupported", "InvalidInput"])

/** What became of a write with a condition. `unknown`: the service has no such condition, and says so. */
type Outcome = "done" | "refused" | "unknown"

const outcomeOf = (write: Effect.Effect<unknown, StoreError>): Effect.Effect<Outcome, StoreError> =>
  Effect.matchEffect(write, {
    onSuccess: () => Effect.succeed("done" as const),
    onFailure: (error) =>
      refusals.has(error.reason)
        ? Effect.succeed("refused" as const)
        : unknown.has(error.reason)
        ? Effect.succeed("unknown" as const)
        : Effect.fail(error),
  })

/** How a race ended, or why there was none. */
type Race = number | "ignored" | "unknown"

/** How many of several writers at once succeed. */
const race = (
  bench: Bench,
  key: string,
  condition: WriteCondition,
  backend: Backend,
): Effect.Effect<Race, StoreError> =>
  Effect.map(
    Effect.forEach(
      Array.from({ length: writers }, (_, writer) => writer),
      (writer) => outcomeOf(put(bench, key, `writer ${writer}`, condition, backend)),
      { concurrency: writers },
    ),
    (outcomes) => outcomes.includes("unknown") ? "unknown" : outcomes.filter((one) => one === "done").length,
  )

/** What it means that a condition is sound, or not. `seen` is what was seen. */
const judge = (bench: Bench, condition: Condition, sound: boolean, seen: string): Finding => {
  bench.observed[condition] = sound
  const told = bench.told.conditional[condition]
  if (told && sound) return ok(seen)
  if (sound) return ok(`${seen}, though the store does not count on it`)
  return told
    ? wrong(
      "Conflict",
      seen,
      "programs would lose updates, or never succeed; choose a profile for the URL that does not count on it",
    )
    : notHere(`${seen}; the store refuses such a call as Unsupported`)
}

/** A condition that the store cannot even ask for. */
const unasked = ({ backend }: Bench, condition: Condition): Finding | undefined =>
  backend.capabilities.conditional[condition] ? undefined : notHere("the store refuses such a call as Unsupported")

const noSuch = "the service knows no such condition"

const inWords = (result: Race): string =>
  result === "ignored"
    ? "a stale etag is ignored"
    : result === "unknown"
    ? noSuch
    : `${result} of ${writers} writers at once won`

/** A condition that the store refuses in this bucket, since the service ignores it where versions are kept. */
const inVersions = (bench: Bench, condition: "create" | "replace"): Effect.Effect<Finding | undefined, StoreError> =>
  Effect.gen(function* () {
    if (bench.profile === undefined || bench.profile.conditional.inVersions || !bench.told.conditional[condition]) {
      return
    }
    const { versionId } = yield* put(bench, keyOf(bench, `${condition}-versions`), "is there a version?")
    return versionId === undefined || versionId === "null"
      ? undefined
      : notHere("the bucket keeps versions, where the service ignores it; the store refuses such a call as Unsupported")
  })

/** `ifNoneMatch` of a save. */
export const create: Check = {
  name: "save if none",
  purpose: "write",
  run: (bench) =>
    Effect.gen(function* () {
      const impossible = unasked(bench, "create") ?? (yield* inVersions(bench, "create"))
      if (impossible !== undefined) return impossible
      const result = yield* race(bench, keyOf(bench, "create"), { ifNoneMatch: "*" }, bench.backend)
      return judge(bench, "create", result === 1, inWords(result))
    }),
}

/** A race of `ifMatch`, in the form of etags that `backend` uses, once a stale one has been refused. */
const replaceRace = (bench: Bench, name: string, backend: Backend): Effect.Effect<Race, StoreError> =>
  Effect.gen(function* () {
    const key = keyOf(bench, name)
    const { etag } = yield* put(bench, key, "before")
    const stale = yield* outcomeOf(put(bench, key, "stale", { ifMatch: foreignEtag }, backend))
    if (stale !== "refused") return stale === "done" ? "ignored" : "unknown"
    return yield* race(bench, key, { ifMatch: etag }, backend)
  })

/** `ifMatch` of a save. */
export const replace: Check = {
  name: "save if match",
  purpose: "write",
  run: (bench) =>
    Effect.gen(function* () {
      const impossible = unasked(bench, "replace") ?? (yield* inVersions(bench, "replace"))
      if (impossible !== undefined) return impossible
      const result = yield* replaceRace(bench, "replace", bench.backend)
      const { otherForm, profile } = bench
      if (profile !== undefined) bench.observed.quotedIfMatch = profile.quotedIfMatch
      if ((result === 0 || result === "unknown") && otherForm !== undefined && profile !== undefined) {
        // Some services compare an etag together with its quotes, and some without.
        if ((yield* replaceRace(bench, "replace-other", otherForm)) === 1) {
          bench.observed.quotedIfMatch = !profile.quotedIfMatch
          bench.observed.replace = true
          const form = profile.quotedIfMatch ? "without" : "with"
          const detail = `the service compares etags ${form} quotes, and the store sends the other form`
          return bench.told.conditional.replace
            ? wrong("Config", detail, "choose the profile of this service, such as profile=ceph")
            : ok(detail)
        }
      }
      return judge(bench, "replace", result === 1, inWords(result))
    }),
}

/** Tries one write that has to be refused. */
const stale = (
  name: string,
  condition: Condition,
  write: (bench: Bench, key: string) => Effect.Effect<unknown, StoreError>,
): Check => ({
  name,
  purpose: "write",
  run: (bench) =>
    Effect.gen(function* () {
      const impossible = unasked(bench, condition)
      if (impossible !== undefined) return impossible
      const key = keyOf(bench, condition)
      yield* put(bench, key, "there already")
      const outcome = yield* outcomeOf(write(bench, key))
      const seen = { refused: "is refused when it should be", done: "the condition is ignored", unknown: noSuch }
      return judge(bench, condition, outcome === "refused", seen[outcome])
    }),
})

/** `ifNoneMatch` of an upload. */
export const complete: Check = stale(
  "upload if none",
  "complete",
  (bench, key) => uploadZeros(bench, key, [1], { ifNoneMatch: "*" }),
)

/** `ifNoneMatch` of a copy. */
export const copy: Check = stale("copy if none", "copy", (bench, key) => {
  const source = keyOf(bench, "copy-source")
  const options = { writeId: crypto.randomUUID(), ifNoneMatch: "*" } as const
  // A union of two effects would be inferred differently from run to run: it hangs on the order in which files are read.
  return Effect.andThen(
    put(bench, source, "a source"),
    (): Effect.Effect<unknown, StoreError> => bench.backend.copy?.(source, key, options) ?? Effect.void,
  )
})

/** `ifMatch` of a removal. */
export const remove: Check = stale(
  "remove if match",
  "remove",
  (bench, key) => bench.backend.remove(key, { ifMatch: foreignEtag }),
)
