/**
 * A check of `doctor`, as data.
 *
 * @module
 */
import type * as Effect from "effect/Effect"
import type { StoreError } from "../../error.ts"
import type { Bench } from "./bench.ts"
import type { Finding } from "./finding.ts"

/** What the store is to be used for; each includes the ones before. */
export const purposes = ["read", "write", "all"] as const

/** One of {@link purposes}. */
export type Purpose = typeof purposes[number]

/** Something to find out. */
export interface Check {
  /** Two or three words for the line. */
  readonly name: string
  /** The least purpose that needs it. What `read` needs writes nothing. */
  readonly purpose: Purpose
  /** Where there is something to find out. Default: everywhere. */
  readonly where?: "service" | "disk"
  /** Without it the others make no sense. */
  readonly gate?: boolean
  /** Looks. A failure of this effect is a finding, too. */
  readonly run: (bench: Bench) => Effect.Effect<Finding, StoreError>
}
