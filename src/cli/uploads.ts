/**
 * `holdfast uploads ls [PREFIX]` and `holdfast uploads abort KEY ID | --all --older-than TIME [PREFIX]`
 *
 * @module
 */
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import type { Upload, UploadEntry } from "../backend.ts"
import type { StoreError } from "../error.ts"
import type { ObjectStoreService } from "../object-store.ts"
import { type CommandError, usageError } from "./exit.ts"
import { Json, openStore, seconds, type Verb } from "./flags.ts"
import { toSeconds } from "./list.ts"
import { outIsTerminal, printable, printError, printJson, writeOut } from "./output.ts"

const optional = (name: string, description: string): Argument.Argument<string | undefined> =>
  Argument.String(name).pipe(
    Argument.withDescription(description),
    Argument.optional,
    Argument.map(Option.getOrUndefined),
  )

const toRow = ({ key, id, started }: UploadEntry): string => `${toSeconds(started)}\t${id}\t${key}\n`

const list: Verb<"ls"> = Command.make(
  "ls",
  { prefix: optional("PREFIX", "Only keys that start with this") },
  ({ prefix }) =>
    Effect.scoped(Effect.gen(function* () {
      const json = yield* Json
      const store = yield* openStore
      yield* Stream.runForEach(store.uploads({ prefix }), (upload) => {
        if (json) return printJson({ key: upload.key, id: upload.id, started: upload.started })
        return writeOut(outIsTerminal() ? printable(toRow(upload)) : toRow(upload))
      })
    })),
).pipe(
  Command.withDescription("List unfinished uploads: time of their start, id, key, separated by tabs."),
  Command.withShortDescription("List unfinished uploads"),
  Command.withExamples([{ command: "holdfast uploads ls", description: "See what unfinished uploads there are" }]),
)

const abortFlags = {
  first: optional("KEY", "Name of the object that the upload would make; with --all a prefix"),
  id: optional("ID", "Which of its uploads"),
  all: Flag.Boolean("all").pipe(
    Flag.withDescription("Every upload below the prefix that is older than --older-than"),
    Flag.withDefault(false),
  ),
  olderThan: seconds("older-than", "With --all: leave those alone that were begun since, such as 1d"),
}

interface Input {
  readonly first: string | undefined
  readonly id: string | undefined
  readonly all: boolean
  readonly olderThan: number | undefined
}

const flaw = ({ first, id, all, olderThan }: Input): CommandError | undefined => {
  if (all) {
    if (id !== undefined) return usageError("--all takes a prefix and no ID", "give KEY and ID, or --all")
    // An upload that has just begun is most likely another program's save.
    return olderThan === undefined
      ? usageError("--all needs --older-than", "write --older-than 1d, so that saves under way are left alone")
      : undefined
  }
  if (olderThan !== undefined) return usageError("--older-than is for --all", "give both, or KEY and ID")
  return first === undefined || id === undefined
    ? usageError("No upload is named", "give the KEY and the ID that holdfast uploads ls prints, or --all")
    : undefined
}

const chosen = (store: ObjectStoreService, { first, id, olderThan }: Input): Stream.Stream<Upload, StoreError> => {
  if (id !== undefined) return Stream.succeed({ key: first!, id })
  const limit = Date.now() - (olderThan ?? 0) * 1000
  return Stream.filter(store.uploads({ prefix: first }), ({ started }) => started.getTime() <= limit)
}

const abort: Verb<"abort"> = Command.make("abort", abortFlags, (input) =>
  Effect.scoped(Effect.gen(function* () {
    const wrong = flaw(input)
    if (wrong !== undefined) return yield* Effect.fail(wrong)
    const json = yield* Json
    const store = yield* openStore
    // One that cannot be ended does not keep the others; the last of the errors is the command's own.
    let failed: StoreError | undefined
    yield* Stream.runForEach(chosen(store, input), (upload) =>
      Effect.matchEffect(store.abortUpload(upload), {
        onSuccess: () => json ? printJson({ key: upload.key, id: upload.id, aborted: true }) : Effect.void,
        onFailure: (error) => {
          const previous = failed
          failed = error
          return previous === undefined ? Effect.void : printError(previous, json)
        },
      }))
    if (failed !== undefined) return yield* Effect.fail(failed)
  }))).pipe(
    Command.withDescription(
      "End unfinished uploads and free what they hold. One that is over already counts as ended. Nothing is asked.",
    ),
    Command.withShortDescription("End unfinished uploads"),
    Command.withExamples([
      { command: "holdfast uploads abort --all --older-than 1d", description: "End those of more than a day ago" },
      { command: "holdfast uploads abort --all --older-than 7d runs/", description: "Only below runs/" },
    ]),
  )

/** The verb, with its two subcommands. */
export const uploads: Verb<"uploads"> = Command.make("uploads").pipe(
  Command.withDescription(
    "Look after uploads that were begun and never finished. They are no objects, and take room until they are ended.",
  ),
  Command.withShortDescription("List and end unfinished uploads"),
  Command.withExamples([
    { command: "holdfast uploads ls", description: "See what unfinished uploads there are" },
    { command: "holdfast uploads abort --all --older-than 1d", description: "End those of more than a day ago" },
  ]),
  Command.withSubcommands([list, abort]),
)
