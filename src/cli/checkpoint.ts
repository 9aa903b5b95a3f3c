/**
 * `holdfast checkpoint ls [THREAD]|show THREAD [ID]|versions THREAD ID|url THREAD ID|rm THREAD [ID]`
 *
 * @module
 */
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { StoreError } from "../error.ts"
import {
  type CheckpointEntry,
  type CheckpointsService,
  type CheckpointVersion,
  makeCheckpoints,
} from "../stores/checkpoints.ts"
import { type CommandError, usageError } from "./exit.ts"
import { type Globals, Json, openStore, seconds, text, type Verb, versionId } from "./flags.ts"
import { toSeconds } from "./list.ts"
import { outIsTerminal, printable, printJson, writeOut } from "./output.ts"

const thread = Argument.String("THREAD").pipe(Argument.withDescription("Name of the thread"))
const id = Argument.String("ID").pipe(Argument.withDescription("Id of the checkpoint"))
const optional = (argument: Argument.Argument<string>): Argument.Argument<string | undefined> =>
  argument.pipe(Argument.optional, Argument.map(Option.getOrUndefined))

const prefix = text("prefix", "PREFIX", "What the keys of all threads begin with. Default: checkpoints/")

const print = (line: string): Effect.Effect<void, CommandError> => writeOut(outIsTerminal() ? printable(line) : line)

const row = (...columns: ReadonlyArray<string | number>): string => `${columns.join("\t")}\n`

/** The checkpoints of this run's store. */
const openCheckpoints = (
  prefix: string | undefined,
): Effect.Effect<CheckpointsService, StoreError, Globals | Scope.Scope> =>
  Effect.map(openStore, (store) => makeCheckpoints(store, { prefix }))

const toRow = ({ thread, id, size, modified }: CheckpointEntry): string => row(toSeconds(modified), size, thread, id)

const list: Verb<"ls"> = Command.make(
  "ls",
  { thread: optional(thread), prefix },
  ({ thread, prefix }) =>
    Effect.scoped(Effect.gen(function* () {
      const json = yield* Json
      const checkpoints = yield* openCheckpoints(prefix)
      yield* Stream.runForEach(
        checkpoints.list(thread),
        (entry) => json ? printJson(entry) : print(toRow(entry)),
      )
    })),
).pipe(
  Command.withDescription(
    "List checkpoints, the newest of each thread first: time of the save, stored bytes, thread, id, separated by tabs.",
  ),
  Command.withShortDescription("List checkpoints"),
  Command.withExamples([
    { command: "holdfast checkpoint ls", description: "See what checkpoints there are" },
    { command: "holdfast checkpoint ls thread-1 | head -n 1", description: "The newest of a thread" },
  ]),
)

const show: Verb<"show"> = Command.make(
  "show",
  { thread, id: optional(id), versionId, prefix },
  ({ thread, id, versionId, prefix }) =>
    Effect.scoped(Effect.gen(function* () {
      const json = yield* Json
      const checkpoints = yield* openCheckpoints(prefix)
      const found = yield* checkpoints.load(thread, id, { versionId })
      const { info: _, ...checkpoint } = found
      yield* json ? printJson(checkpoint) : print(`${JSON.stringify(checkpoint, undefined, 2)}\n`)
    })),
).pipe(
  Command.withDescription(
    "Print a checkpoint as JSON: thread, id, state, metadata, parent, time. Without an ID the thread's latest.\n" +
      "  Exit code 1 says that there is none.",
  ),
  Command.withShortDescription("Print a checkpoint"),
  Command.withExamples([{
    command: "holdfast checkpoint show thread-1 >/dev/null 2>&1 || echo missing",
    description: "Ask in a script whether a thread has begun",
  }]),
)

const versionRow = ({ versionId, latest, removed, size, modified }: CheckpointVersion): string =>
  row(toSeconds(modified), removed ? "removed" : size, latest ? "latest" : "-", versionId)

const versions: Verb<"versions"> = Command.make(
  "versions",
  { thread, id, prefix },
  ({ thread, id, prefix }) =>
    Effect.scoped(Effect.gen(function* () {
      const json = yield* Json
      const checkpoints = yield* openCheckpoints(prefix)
      yield* Stream.runForEach(
        checkpoints.versions(thread, id),
        (version) => json ? printJson(version) : print(versionRow(version)),
      )
    })),
).pipe(
  Command.withDescription(
    "List the versions of a checkpoint, the newest first: time, stored bytes, latest or -, version, separated by tabs.\n" +
      "  Needs a store that keeps versions.",
  ),
  Command.withShortDescription("List the versions of a checkpoint"),
  Command.withExamples([{
    command: "holdfast checkpoint versions thread-1 step-1 --store s3://my-bucket",
    description: "See what a checkpoint was before it was replaced",
  }]),
)

const url: Verb<"url"> = Command.make(
  "url",
  { thread, id, expires: seconds("expires", "For how long it works, up to 7d. Default: 15m"), versionId, prefix },
  ({ thread, id, expires, versionId, prefix }) =>
    Effect.scoped(Effect.gen(function* () {
      const json = yield* Json
      const checkpoints = yield* openCheckpoints(prefix)
      const request = yield* checkpoints.presign(thread, id, {
        expires: expires === undefined ? undefined : expires * 1000,
        versionId,
      })
      yield* json ? printJson(request) : print(`${request.url}\n`)
    })),
).pipe(
  Command.withDescription(
    "Print a URL with which others can load a checkpoint without credentials until it expires. Treat it like a password.\n" +
      "  It gives the stored object, which is gzip unless it was saved without: curl -s URL | gunzip.",
  ),
  Command.withShortDescription("Print a URL of a checkpoint"),
  Command.withExamples([{
    command: "holdfast checkpoint url thread-1 step-1 --expires 1h --store s3://my-bucket",
    description: "Let somebody load a checkpoint for an hour",
  }]),
)

const remove: Verb<"rm"> = Command.make(
  "rm",
  {
    thread,
    id: optional(id),
    all: Flag.Boolean("all").pipe(
      Flag.withDescription("Every checkpoint of the thread"),
      Flag.withDefault(false),
    ),
    prefix,
  },
  ({ thread, id, all, prefix }) =>
    Effect.scoped(Effect.gen(function* () {
      // An empty variable in `rm THREAD $ID` must not cost a whole thread.
      if (all === (id !== undefined)) {
        return yield* Effect.fail(
          all
            ? usageError("--all takes no ID", "name a checkpoint, or give --all")
            : usageError("No checkpoint is named", "give its ID, or --all for the whole thread"),
        )
      }
      const checkpoints = yield* openCheckpoints(prefix)
      yield* checkpoints.remove(thread, id)
      if (yield* Json) yield* printJson({ thread, ...(id === undefined ? {} : { id }), removed: true })
    })),
).pipe(
  Command.withDescription("Remove a checkpoint, or with --all a thread. What is missing counts as removed."),
  Command.withShortDescription("Remove checkpoints"),
  Command.withExamples([
    { command: "holdfast checkpoint rm thread-1 step-1", description: "Remove one checkpoint" },
    { command: "holdfast checkpoint rm thread-1 --all", description: "Remove a whole thread" },
  ]),
)

/** The verb, with its subcommands. */
export const checkpoint: Verb<"checkpoint"> = Command.make("checkpoint").pipe(
  Command.withDescription(
    "Look after checkpoints: the states of threads, as CheckpointStore and S3Checkpointer keep them.",
  ),
  Command.withShortDescription("List, show and remove checkpoints"),
  Command.withExamples([{ command: "holdfast checkpoint ls", description: "See what checkpoints there are" }]),
  Command.withSubcommands([list, show, versions, url, remove]),
)
