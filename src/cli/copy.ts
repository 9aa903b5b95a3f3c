/** `holdfast cp FROM TO` and `holdfast mv FROM TO` */
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Effect from "effect/Effect"
import { conditions, Json, openStore, type Verb } from "./flags.ts"
import { printJson } from "./output.ts"

const flags = {
  from: Argument.String("FROM").pipe(Argument.withDescription("Name of the object there is")),
  to: Argument.String("TO").pipe(Argument.withDescription("Name it gets; an object of that name is replaced")),
  ...conditions("TO"),
}

/** The verb that copies. */
export const copy: Verb<"cp"> = Command.make(
  "cp",
  flags,
  ({ from, to, ...condition }) =>
    Effect.scoped(Effect.gen(function* () {
      const store = yield* openStore
      const info = yield* store.copy(from, to, condition)
      if (yield* Json) yield* printJson(info)
    })),
).pipe(
  Command.withDescription("Copy an object with its metadata within the store."),
  Command.withShortDescription("Copy an object within the store"),
  Command.withExamples([{
    command: "echo hello | holdfast save notes/hello && holdfast cp notes/hello notes/copy",
    description: "Keep a copy of an object",
  }]),
)

/** The verb that renames. */
export const move: Verb<"mv"> = Command.make(
  "mv",
  flags,
  ({ from, to, ...condition }) =>
    Effect.scoped(Effect.gen(function* () {
      const store = yield* openStore
      const info = yield* store.move(from, to, condition)
      if (yield* Json) yield* printJson(info)
    })),
).pipe(
  Command.withDescription("Rename an object within the store, with its metadata."),
  Command.withShortDescription("Rename an object within the store"),
  Command.withExamples([{
    command: "echo hello | holdfast save notes/hello && holdfast mv notes/hello notes/old",
    description: "Give an object another name",
  }]),
)
