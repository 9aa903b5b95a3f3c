/**
 * What every backend must do, as one list of cases that knows no test runner.
 *
 * A case is chosen by capability: one that does not apply is still in the list and says why. Each works on its
 * own backend under a random prefix, needs nothing from another case, and removes what it stored, so the list
 * may run against a bucket that others use.
 *
 * To add a case, add it to its file in `conformance/`: it then runs for every backend at once. A case must be able to fail: it
 * compares contents byte for byte, and the reason of an error, not only that there was one.
 *
 * @example Prove a backend with the test runner of your choice
 * ```ts
 * import { conformance, register } from "@holdfast/holdfast/conformance"
 * import { make } from "@holdfast/holdfast/memory"
 *
 * const cases = await conformance("memory", make)
 * register((name: string, run: () => Promise<void>) => console.log(name, typeof run), cases)
 * console.assert(cases.length > 50)
 * ```
 *
 * @module
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { Backend } from "../backend.ts"
import type { StoreError } from "../error.ts"
import { bodiesCases } from "./conformance/bodies.ts"
import { conditionsCases } from "./conformance/conditions.ts"
import { copiesCases } from "./conformance/copies.ts"
import { keysCases } from "./conformance/keys.ts"
import { listingCases } from "./conformance/listing.ts"
import { objectsCases } from "./conformance/objects.ts"
import { removingCases } from "./conformance/removing.ts"
import { uploadsCases } from "./conformance/uploads.ts"
import { runCase } from "./conformance/trial.ts"

export {
  bytes,
  collect,
  expectBytes,
  expectReason,
  expectSame,
  freshWriteId,
  listAll,
  putOptions,
  read,
} from "./conformance/tools.ts"

/** One thing a backend must do. */
export interface Case {
  /** The backend's name, then the call and what is expected of it. */
  readonly name: string
  /** Why the case does not apply to this backend; absent where it does. */
  readonly skipped?: string | undefined
  /** Rejects when the backend does otherwise. Resolves at once for a case that does not apply. */
  readonly run: () => Promise<void>
}

/** How a test runner is told of a test: `test` of `bun:test`, `Deno.test`, `it` of others. */
export interface RegisterTest {
  (name: string, run: () => Promise<void>): unknown
  /** Registers a test that does not run, as `bun:test` calls it. */
  readonly skip?: ((name: string, run: () => Promise<void>) => unknown) | undefined
  /** The same, as `Deno.test` calls it. */
  readonly ignore?: ((name: string, run: () => Promise<void>) => unknown) | undefined
}

/** All cases, file by file. */
const groups = [
  objectsCases,
  bodiesCases,
  conditionsCases,
  removingCases,
  listingCases,
  keysCases,
  uploadsCases,
  copiesCases,
]

/**
 * The cases for a backend. `make` is run once here, to learn the capabilities, and once for each case; it may
 * give out a fresh, empty place each time or the same one. What it acquires is released with the case's scope.
 */
export const conformance = async (
  name: string,
  make: () => Effect.Effect<Backend, StoreError, Scope.Scope>,
): Promise<ReadonlyArray<Case>> => {
  // Only what it is and has is looked at after its scope has ended.
  const backend = await Effect.runPromise(Effect.scoped(make()))
  return groups.flat().map(({ title, lacks, run }) => {
    const skipped = lacks?.(backend.capabilities, backend)
    return {
      name: `${name}: ${title}`,
      skipped,
      run: () => skipped === undefined ? runCase(make, run) : Promise.resolve(),
    }
  })
}

/** Registers `cases` with a test runner; one that does not apply shows up as skipped, with the reason. */
export const register = (test: RegisterTest, cases: ReadonlyArray<Case>): void => {
  const skip = test.skip ?? test.ignore ?? test
  for (const { name, run, skipped } of cases) {
    if (skipped === undefined) test(name, run)
    else skip(`${name} (skipped: ${skipped})`, run)
  }
}
