/**
 * What can be served, and how its verbs are run for a request: the caller's leaving interrupts them.
 *
 * @module
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import { StoreError } from "../error.ts"
import type { ObjectStoreService } from "../object-store.ts"
import type { Store } from "../store.ts"

/** A store of either face. */
export type ServedStore = Store | ObjectStoreService

/** The verbs of a store. */
export const serviceOf = (store: ServedStore): ObjectStoreService => "service" in store ? store.service : store

/** Runs a verb until `signal` is aborted. Rejects with the `StoreError` that it fails with. */
export const run = async <A>(effect: Effect.Effect<A, StoreError>, signal?: AbortSignal): Promise<A> => {
  const exit = await Effect.runPromiseExit(effect, { signal })
  if (Exit.isSuccess(exit)) return exit.value
  const error = Option.getOrUndefined(Cause.findErrorOption(exit.cause))
  if (error !== undefined) throw error
  if (!Cause.hasInterruptsOnly(exit.cause)) throw Cause.squash(exit.cause)
  // Where somebody reads this after all, it was the server that ended the request.
  throw new StoreError({ reason: "Aborted", detail: "the request was ended", operation: "serve", transient: true })
}
