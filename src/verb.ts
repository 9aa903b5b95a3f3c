/**
 * What every verb of a store has in common: its checks come before anything is done, the caller's signal and retry
 * schedule hold for all of it, and one span covers it.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import { aborted } from "./body.ts"
import { StoreError } from "./error.ts"
import type { Flaw } from "./flaw.ts"
import type { CallOptions } from "./options.ts"
import { CurrentRetry, traced } from "./policy.ts"

/** Runs a verb: first `flaws`, then `work`. */
export type Verb = <A>(
  operation: string,
  key: string | undefined,
  call: CallOptions | undefined,
  flaws: () => Flaw | undefined,
  work: () => Effect.Effect<A, StoreError>,
) => Effect.Effect<A, StoreError>

/** How the store of a backend of this name runs verbs. */
export const verbOf = (backend: string): Verb => (operation, key, call, flaws, work) =>
  Effect.suspend(() => {
    const flaw = flaws()
    if (flaw !== undefined) {
      return Effect.fail(
        new StoreError({
          reason: flaw.reason,
          detail: flaw.detail,
          backend,
          operation,
          key: typeof key === "string" ? key : undefined,
        }),
      )
    }
    const retried = call?.retry === undefined ? work() : Effect.provideService(work(), CurrentRetry, call.retry)
    return withSignal(retried, operation, key, call?.signal).pipe(
      // A caller knows the verb he used, not the backend call that failed below it.
      Effect.mapError((error) => error.operation === operation ? error : error.with({ operation })),
      traced(`holdfast.${operation}Object`, key === undefined ? {} : { key }),
    )
  })

/** Fails an effect when the caller's signal is aborted; interrupts it first and waits until it has cleaned up. */
const withSignal = <A>(
  effect: Effect.Effect<A, StoreError>,
  operation: string,
  key: string | undefined,
  signal: AbortSignal | undefined,
): Effect.Effect<A, StoreError> => {
  if (signal === undefined) return effect
  const onAbort = Effect.callback<never, StoreError>((resume) => {
    const abort = (): void => resume(Effect.fail(aborted(operation, key, signal)))
    if (signal.aborted) return abort()
    signal.addEventListener("abort", abort, { once: true })
    return Effect.sync(() => signal.removeEventListener("abort", abort))
  })
  return signal.aborted ? Effect.fail(aborted(operation, key, signal)) : Effect.raceFirst(effect, onAbort)
}
