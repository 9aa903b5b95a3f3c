/**
 * Calls side by side, up to so many: the first failure ends all of them, and none outlives the scope.
 *
 * @module
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import type { StoreError } from "./error.ts"

/** A number of lanes that calls go through. */
export interface Lanes {
  /** Begins a call as soon as `width` lanes are free; fails when another one has failed. */
  readonly begin: (call: Effect.Effect<void, StoreError>, width: number) => Effect.Effect<void, StoreError, Scope.Scope>
  /** Does something else meanwhile; it is interrupted when a call fails, and fails as that one did. */
  readonly orFailed: <A>(effect: Effect.Effect<A, StoreError>) => Effect.Effect<A, StoreError>
  /** Waits until all calls are done. */
  readonly join: Effect.Effect<void, StoreError>
}

/** Makes `count` lanes. */
export const makeLanes = (count: number): Effect.Effect<Lanes> =>
  Effect.sync(() => {
    const failed = Deferred.makeUnsafe<never, StoreError>()
    const slots = Semaphore.makeUnsafe(count)
    const orFailed: Lanes["orFailed"] = (effect) => Effect.raceFirst(effect, Deferred.await(failed))
    return {
      orFailed,
      begin: (call, width) =>
        Effect.andThen(
          orFailed(Semaphore.take(slots, width)),
          Effect.forkScoped(
            Effect.onExit(call, (exit) =>
              Effect.andThen(
                Exit.isSuccess(exit) ? Effect.void : Deferred.failCause(failed, exit.cause),
                Semaphore.release(slots, width),
              )),
          ),
        ),
      join: Effect.andThen(
        orFailed(Semaphore.take(slots, count)),
        Effect.suspend(() => Deferred.isDoneUnsafe(failed) ? Deferred.await(failed) : Effect.void),
      ),
    }
  })
