/**
 * `holdfast versions [PREFIX]` and `holdfast restore KEY VERSION`
 *
 * @module
 */
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { VersionEntry } from "../backend.ts"
import { conditions, Json, openStore, type Verb } from "./flags.ts"
import { toSeconds } from "./list.ts"
import { outIsTerminal, printable, printJson, writeOut } from "./output.ts"

/** Digits of the largest size that is a whole number, as in `ls`. */
const sizeWidth = 15

const toRow = ({ key, versionId, latest, removed, size, modified }: VersionEntry): string =>
  [
    (removed ? "removed" : String(size)).padStart(sizeWidth),
    toSeconds(modified),
    versionId,
    latest ? "latest" : "-",
    key,
  ].join("\t") + "\n"

const flags = {
  prefix: Argument.String("PREFIX").pipe(
    Argument.withDescription("Only keys that start with this: a also finds ab, a/ does not"),
    Argument.withDefault(""),
  ),
}

/** The verb that lists. */
export const versions: Verb<"versions"> = Command.make(
  "versions",
  flags,
  ({ prefix }) =>
    Effect.scoped(Effect.gen(function* () {
      const json = yield* Json
      const store = yield* openStore
      yield* Stream.runForEach(store.versions({ prefix }), (entry) => {
        if (json) return printJson(entry)
        return writeOut(outIsTerminal() ? printable(toRow(entry)) : toRow(entry))
      })
    })),
).pipe(
  Command.withDescription(
    "List every version of the objects, the newest of each first: size in bytes, time, version, latest or -, key.\n" +
      '  The columns are separated by tabs. "removed" for a size marks a removal, which has no bytes.',
  ),
  Command.withShortDescription("List the versions of objects"),
  Command.withExamples([
    { command: "holdfast versions notes/ --store s3://my-bucket", description: "List the versions below notes/" },
  ]),
)

const restoreFlags = {
  key: Argument.String("KEY").pipe(Argument.withDescription("Name of the object")),
  version: Argument.String("VERSION").pipe(Argument.withDescription("The version to bring back")),
  ...conditions("the object"),
}

/** The verb that brings one back. */
export const restore: Verb<"restore"> = Command.make(
  "restore",
  restoreFlags,
  ({ key, version, ...condition }) =>
    Effect.scoped(Effect.gen(function* () {
      const store = yield* openStore
      const info = yield* store.restore(key, version, condition)
      if (yield* Json) yield* printJson(info)
    })),
).pipe(
  Command.withDescription(
    "Make an old version of an object the current one again, also after a removal. It becomes a new version;\n" +
      "  the ones in between stay.",
  ),
  Command.withShortDescription("Bring an old version of an object back"),
  Command.withExamples([{
    command: "export HOLDFAST_STORE=s3://my-bucket; " +
      'holdfast restore notes/a "$(holdfast versions notes/a | tail -n 1 | cut -f3)"',
    description: "Bring the oldest version back",
  }]),
)
