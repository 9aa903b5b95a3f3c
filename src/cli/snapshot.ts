/**
 * `holdfast snapshot ls|show|verify|save|restore|rm|health`
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
import { createReadStream } from "node:fs"
import process from "node:process"
import type { StoreError } from "../error.ts"
import {
  type ListedSnapshot,
  makeSnapshots,
  type SnapshotInfo,
  type SnapshotsService,
  type StateSource,
} from "../stores/snapshots.ts"
import { readCustomerKey } from "./encryption.ts"
import { type CommandError, exitCodes, usageError } from "./exit.ts"
import { openInput, openOutput, openStdin, type Output } from "./files.ts"
import { conditions, type Globals, Json, openStore, text, type Verb } from "./flags.ts"
import { toSeconds } from "./list.ts"
import { outIsTerminal, printable, printError, printJson, writeOut } from "./output.ts"

const path = Argument.String("PATH").pipe(
  Argument.withDescription("Name of the snapshot, such as agents/bot/1.json.gz"),
)

const paths = Argument.String("PATH").pipe(
  Argument.withDescription("Names of snapshots"),
  Argument.variadic({ min: 1 }),
)

const keyFile = text(
  "key-file",
  "FILE",
  "File with the key that snapshots are encrypted with: 32 bytes, or their base64",
)

/** The snapshots of this run's store. */
const openSnapshots = (
  file: string | undefined,
): Effect.Effect<SnapshotsService, StoreError | CommandError, Globals | Scope.Scope> =>
  Effect.gen(function* () {
    const encryptionKey = yield* readCustomerKey(file)
    return makeSnapshots(yield* openStore, { encryptionKey })
  })

const print = (line: string): Effect.Effect<void, CommandError> => writeOut(outIsTerminal() ? printable(line) : line)

/** A snapshot, one fact a line. */
const describe = ({ path, metadata, etag }: SnapshotInfo): string => {
  const facts: ReadonlyArray<readonly [name: string, value: unknown]> = [
    ["path", path],
    ["agent", metadata.agent_id],
    ["session", metadata.session_id],
    ["index", metadata.snapshot_index],
    ["time", metadata.timestamp],
    ["description", metadata.description],
    ["state", `${metadata.uncompressed_size} bytes`],
    ["stored", `${metadata.compressed_size} bytes, ${metadata.compression_algorithm}`],
    ["sha256", metadata.content_hash],
    ["id", metadata.snapshot_id],
    ["etag", etag],
  ]
  return facts.flatMap(([name, value]) =>
    value === undefined || value === null ? [] : [`${name.padEnd(13)}${String(value)}\n`]
  ).join("")
}

const toRow = ({ path, size, modified, metadata, error }: ListedSnapshot): string => {
  const says = metadata === undefined
    ? `-\t-\t-`
    : `${metadata.agent_id}\t${metadata.session_id}\t${metadata.snapshot_index}`
  return `${String(size).padStart(15)}\t${toSeconds(modified)}\t${says}\t${path}${
    error === undefined ? "" : `\t(${error.detail})`
  }\n`
}

const list: Verb<"ls"> = Command.make(
  "ls",
  {
    prefix: Argument.String("PREFIX").pipe(
      Argument.withDescription("Only names that start with this"),
      Argument.optional,
      Argument.map(Option.getOrUndefined),
    ),
    keyFile,
  },
  ({ prefix, keyFile }) =>
    Effect.scoped(Effect.gen(function* () {
      const json = yield* Json
      const snapshots = yield* openSnapshots(keyFile)
      yield* Stream.runForEach(snapshots.listSnapshots({ prefix }), (listed) => {
        if (!json) return print(toRow(listed))
        return printJson({ ...listed, error: listed.error?.toJSON() })
      })
    })),
).pipe(
  Command.withDescription(
    "List snapshots: size, time, agent, session, index and name, separated by tabs.\n" +
      "  An object that is no snapshot is listed with dashes, and why.",
  ),
  Command.withShortDescription("List snapshots"),
  Command.withExamples([{ command: "holdfast snapshot ls bot/", description: "See what snapshots there are" }]),
)

const saveOne = "echo '{\"step\":1}' | holdfast snapshot save bot/1"

const show: Verb<"show"> = Command.make(
  "show",
  { path, keyFile },
  ({ path, keyFile }) =>
    Effect.scoped(Effect.gen(function* () {
      const snapshots = yield* openSnapshots(keyFile)
      const info = yield* snapshots.getMetadata(path)
      yield* (yield* Json) ? printJson(info) : print(describe(info))
    })),
).pipe(
  Command.withDescription("Show what a snapshot says about itself. Only its head is read; nothing is checked."),
  Command.withShortDescription("Show what a snapshot says about itself"),
  Command.withExamples([
    { command: `${saveOne} && holdfast snapshot show bot/1`, description: "Show one" },
  ]),
)

/** Does the same to each; one that fails does not keep the others, and the last failure is the command's own. */
const eachOf = (
  paths: ReadonlyArray<string>,
  json: boolean,
  act: (path: string) => Effect.Effect<void, StoreError | CommandError>,
  isFinding: (error: StoreError) => boolean,
): Effect.Effect<void, StoreError | CommandError> =>
  Effect.gen(function* () {
    let failed: StoreError | undefined
    for (const path of paths) {
      yield* Effect.catch(act(path), (error) => {
        if (error._tag !== "StoreError" || !isFinding(error)) return Effect.fail(error)
        const previous = failed
        failed = error
        return previous === undefined ? Effect.void : printError(previous, json)
      })
    }
    if (failed !== undefined) return yield* Effect.fail(failed)
  })

const verify: Verb<"verify"> = Command.make(
  "verify",
  { paths, keyFile },
  ({ paths, keyFile }) =>
    Effect.scoped(Effect.gen(function* () {
      const json = yield* Json
      const snapshots = yield* openSnapshots(keyFile)
      const check = (path: string) =>
        Effect.flatMap(snapshots.verifySnapshot(path), ({ metadata }) =>
          json
            ? printJson({ path, ok: true, content_hash: metadata.content_hash })
            : print(`ok  ${path}  ${metadata.content_hash}\n`))
      const isFinding = ({ reason }: StoreError) =>
        exitCodes[reason] === 6 || reason === "NotFound"
      yield* eachOf(paths, json, check, isFinding)
    })),
).pipe(
  Command.withDescription(
    "Read snapshots and hold their states against their hashes. Prints a line for each that is right.\n" +
      "  Exit code 6 says that one is damaged. Nothing is changed.",
  ),
  Command.withShortDescription("Check snapshots against their hashes"),
  Command.withExamples([
    { command: `${saveOne} && holdfast snapshot verify bot/1`, description: "Check one" },
  ]),
)

/** Where a state's JSON comes from. A file is read twice, which saves a temporary object in the store. */
const openState = (file: string | undefined): Effect.Effect<StateSource, CommandError, Scope.Scope> =>
  Effect.gen(function* () {
    if (file === undefined && process.stdin.isTTY) {
      return yield* Effect.fail(usageError(
        "Nothing to save: no FILE is given and the standard input is a terminal",
        "name a FILE, or pipe the JSON in; to type it, give - as the FILE",
      ))
    }
    if (file === undefined || file === "-") return (yield* openStdin).source
    const { source, size } = yield* openInput(file)
    return size === undefined ? source : () => createReadStream(file, { highWaterMark: 256 * 1024 })
  })

const save: Verb<"save"> = Command.make(
  "save",
  {
    path,
    file: Argument.String("FILE").pipe(
      Argument.withDescription("Where the state's JSON comes from; - or none: the standard input"),
      Argument.optional,
      Argument.map(Option.getOrUndefined),
    ),
    agentId: text("agent-id", "ID", "Whose state it is. Default: default_agent"),
    sessionId: text("session-id", "ID", "Of which session. Default: default_session"),
    snapshotIndex: Flag.Int("index").pipe(
      Flag.withMetavar("N"),
      Flag.withDescription("Number of the snapshot within its session. Default: 0"),
      Flag.optional,
      Flag.map(Option.getOrUndefined),
    ),
    description: text("description", "TEXT", "Words for people"),
    compression: Flag.Literals("compression", ["gzip", "none", "store"]).pipe(
      Flag.withMetavar("NAME"),
      Flag.withDescription("gzip (default), none, or store: the form of the store"),
      Flag.optional,
      Flag.map(Option.getOrUndefined),
    ),
    ...conditions("the snapshot"),
    keyFile,
  },
  ({ path, file, keyFile, ...options }) =>
    Effect.scoped(Effect.gen(function* () {
      const source = yield* openState(file)
      const snapshots = yield* openSnapshots(keyFile)
      const info = yield* snapshots.saveStream(path, source, options)
      if (yield* Json) yield* printJson(info)
    })),
).pipe(
  Command.withDescription(
    "Save the JSON of an agent's state as a snapshot, in the file format of Persist, whole or not at all.\n" +
      "  Prints nothing unless asked with --json.",
  ),
  Command.withShortDescription("Save the JSON of an agent's state as a snapshot"),
  Command.withExamples([
    { command: saveOne, description: "Save what a program prints" },
    {
      command: "echo '{\"step\":2}' | holdfast snapshot save bot/2 --agent-id bot --index 2 --if-none-match",
      description: "Say whose it is, and replace nothing",
    },
  ]),
)

const standardOutput: Output = { write: writeOut, commit: Effect.void }

const restore: Verb<"restore"> = Command.make(
  "restore",
  {
    path,
    file: Argument.String("FILE").pipe(
      Argument.withDescription("Where the state's JSON goes; - or none: the standard output"),
      Argument.optional,
      Argument.map(Option.getOrUndefined),
    ),
    keyFile,
  },
  ({ path, file, keyFile }) =>
    Effect.scoped(Effect.gen(function* () {
      const json = yield* Json
      const snapshots = yield* openSnapshots(keyFile)
      const { body, ...info } = yield* snapshots.loadStream(path)
      const reader = yield* Effect.acquireRelease(
        Effect.sync(() => body.getReader()),
        (reader) => Effect.promise(() => reader.cancel().catch(() => undefined)),
      )
      const toFile = file !== undefined && file !== "-"
      const output = toFile ? yield* openOutput(file) : standardOutput
      const read = Effect.tryPromise({ try: () => reader.read(), catch: (cause) => cause as StoreError })
      while (true) {
        const { done, value } = yield* read
        if (done) break
        yield* output.write(value)
      }
      yield* output.commit
      if (json && toFile) yield* printJson(info)
    })),
).pipe(
  Command.withDescription(
    "Load the JSON of a snapshot's state into a file or onto the standard output.\n" +
      "  A FILE changes only once its hash is right. On the standard output only exit code 0 says that it is.",
  ),
  Command.withShortDescription("Load the JSON of a snapshot's state"),
  Command.withExamples([
    { command: `${saveOne} && holdfast snapshot restore bot/1`, description: "Print a state" },
    { command: "holdfast snapshot restore bot/1 state.json", description: "Load it into a file" },
  ]),
)

const remove: Verb<"rm"> = Command.make("rm", { paths }, ({ paths }) =>
  Effect.scoped(Effect.gen(function* () {
    const json = yield* Json
    const snapshots = yield* openSnapshots(undefined)
    const act = (path: string) =>
      Effect.andThen(snapshots.deleteSnapshot(path), json ? printJson({ path, removed: true }) : Effect.void)
    yield* eachOf(paths, json, act, () => true)
  }))).pipe(
    Command.withDescription("Remove snapshots. One that is missing already counts as removed. Nothing is asked."),
    Command.withShortDescription("Remove snapshots"),
    Command.withExamples([{ command: "holdfast snapshot rm bot/1", description: "Remove one" }]),
  )

const health: Verb<"health"> = Command.make("health", {}, () =>
  Effect.scoped(Effect.gen(function* () {
    const json = yield* Json
    const snapshots = yield* openSnapshots(undefined)
    const { status, error } = yield* snapshots.healthCheck()
    yield* json ? printJson({ status }) : writeOut(`${status}\n`)
    if (error !== undefined) return yield* Effect.fail(error)
  }))).pipe(
    Command.withDescription(
      "Ask the store for something harmless, once. Prints ok, credentials, permission, bucket, network or other;\n" +
        "  holdfast doctor looks closer.",
    ),
    Command.withShortDescription("Ask whether the store can be used"),
    Command.withExamples([{ command: "holdfast snapshot health", description: "Ask whether the store can be used" }]),
  )

/** The verb, with its subcommands. */
export const snapshot: Verb<"snapshot"> = Command.make("snapshot").pipe(
  Command.withDescription("Save, restore and look after snapshots of agents, in files that Persist reads and writes."),
  Command.withShortDescription("Save, restore and look after snapshots of agents"),
  Command.withExamples([
    { command: saveOne, description: "Save a state" },
    { command: "holdfast snapshot ls bot/", description: "See what snapshots there are" },
    { command: "holdfast snapshot restore bot/1", description: "Print a state" },
  ]),
  Command.withSubcommands([list, show, verify, save, restore, remove, health]),
)
