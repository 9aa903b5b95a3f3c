/**
 * From Effect to promises: what every Promise face is built with.
 *
 * @module
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"

/** Runs an effect; its failure comes out as the error it is, not wrapped. */
export const run = async <A, E>(effect: Effect.Effect<A, E>): Promise<A> => {
  const exit = await Effect.runPromiseExit(effect)
  if (Exit.isSuccess(exit)) return exit.value
  throw Option.getOrElse(Cause.findErrorOption(exit.cause), () => Cause.squash(exit.cause))
}

/** A stream as an async iterator; leaving the loop early ends the stream. */
export async function* iterate<A, E>(stream: Stream.Stream<A, E>): AsyncGenerator<A> {
  const scope = Scope.makeUnsafe()
  try {
    const pull = await run(Scope.provide(Stream.toPull(stream), scope))
    const next = Effect.catch(pull, (end) => Cause.isDone(end) ? Effect.undefined : Effect.fail(end))
    for (let chunk = await run(next); chunk !== undefined; chunk = await run(next)) yield* chunk
  } finally {
    await run(Scope.close(scope, Exit.void))
  }
}
