/**
 * What a program's own data must look like, said by a schema of any library that follows Standard Schema: Effect's,
 * Zod's, Valibot's, ArkType's.
 *
 * A schema is asked on both ways. What it refuses to save is `InvalidInput` and nothing is written; what it refuses to
 * load is `Corrupt` and names the object, since a program of another version may have written it. What it makes of a
 * value takes that value's place, so defaults are filled in. A schema that changes types must take its own output:
 * what is stored is JSON, and is shown to it again.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import type { StandardSchemaV1 } from "effect/StandardSchema"
import { StoreError } from "../error.ts"

/** A schema of any library that follows Standard Schema. */
export type PayloadSchema<A> = StandardSchemaV1<unknown, A>

/** The first thing that is wrong, with the way to it: `"steps.2.name: Expected string"`. */
const issueText = (issues: ReadonlyArray<StandardSchemaV1.Issue>): string => {
  const [first, ...others] = issues
  if (first === undefined) return "the schema refuses it"
  const path = (first.path ?? []).map((step) => String(typeof step === "object" ? step.key : step)).join(".")
  const more = others.length === 0 ? "" : ` (and ${others.length} more)`
  return `${path === "" ? "" : `${path}: `}${first.message}${more}`
}

/** The value as `schema` has it; without a schema as it is. */
export const checkPayload = <A>(
  schema: PayloadSchema<A> | undefined,
  value: unknown,
  what: string,
  operation: "save" | "load",
  key: string,
): Effect.Effect<A, StoreError> =>
  schema === undefined ? Effect.succeed(value as A) : Effect.flatMap(
    Effect.tryPromise({
      try: async () => await schema["~standard"].validate(value),
      catch: (cause) => refused(what, operation, key, (cause as Error).message, cause),
    }),
    (result) =>
      result.issues === undefined
        ? Effect.succeed(result.value)
        : Effect.fail(refused(what, operation, key, issueText(result.issues))),
  )

const refused = (what: string, operation: "save" | "load", key: string, why: string, cause?: unknown): StoreError =>
  new StoreError({
    reason: operation === "save" ? "InvalidInput" : "Corrupt",
    detail: `the ${what} does not fit its schema: ${why}`,
    hint: operation === "save"
      ? "save what the schema asks for"
      : "read it without the schema, or with the one it was saved with",
    operation,
    key,
    cause,
  })
