/**
 * `holdfast doc export [FILE|-]`, `holdfast doc import FILE|-`, `holdfast doc cp --to-store URL` and
 * `holdfast doc audit`: what concerns all documents of a store.
 *
 * @module
 */
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import process from "node:process"
import type { StoreError } from "../error.ts"
import { parseStoreUrl } from "../store-url.ts"
import { openSource } from "../streams/source.ts"
import { streamOf } from "../streams/reader.ts"
import type { DocumentsService, TransferReport } from "../stores/documents.ts"
import { CommandError, exitCodes, failureExit, usageError } from "./exit.ts"
import { openInput, openOutput, openStdin } from "./files.ts"
import { fromStore, Json, openAt, openStore, StoreUrl, text, type Verb } from "./flags.ts"
import { outIsTerminal, printable, printError, printJson, writeOut } from "./output.ts"

/** The documents of the store of a URL. The module is loaded for these verbs alone. */
export const openDocuments = (
  store: Effect.Success<typeof openStore>,
): Effect.Effect<DocumentsService> =>
  Effect.map(Effect.promise(() => import("../stores/documents.ts")), ({ makeDocuments }) => makeDocuments(store))

const file = (description: string): Argument.Argument<string | undefined> =>
  Argument.String("FILE").pipe(
    Argument.withDescription(description),
    Argument.optional,
    Argument.map(Option.getOrUndefined),
  )

/** `doc export` */
export const exportDocuments: Verb<"export"> = Command.make(
  "export",
  {
    file: file("The archive; - is the standard output. Default: jacs_backup_YYYYMMDD.tar.gz"),
    folder: text("folder", "NAME", "Folder that everything in the archive is in. Default: jacs_data"),
  },
  ({ file, folder }) =>
    Effect.scoped(Effect.gen(function* () {
      const json = yield* Json
      const documents = yield* openDocuments(yield* openStore)
      const { backupName } = yield* Effect.promise(() => import("../stores/documents.ts"))
      const name = file ?? backupName(new Date())
      const output = name === "-" ? { write: writeOut, commit: Effect.void } : yield* openOutput(name)
      const reader = yield* Effect.acquireRelease(
        Effect.sync(() => documents.exportTar({ folder }).getReader()),
        (reader) => Effect.promise(() => reader.cancel().catch(() => undefined)),
      )
      while (true) {
        const { done, value } = yield* fromStore(() => reader.read())
        if (done) break
        yield* output.write(value)
      }
      yield* output.commit
      if (name !== "-") yield* json ? printJson({ file: name }) : writeOut(`${name}\n`)
    })),
).pipe(
  Command.withDescription(
    "Write all documents, agents and files of the store into a gzipped tar archive, and print its name.\n" +
      "  The archive holds no absolute paths: unpacked anywhere it is a store of its own.",
  ),
  Command.withShortDescription("Write everything into a .tar.gz"),
  Command.withExamples([
    { command: "holdfast doc export", description: "Make today's backup" },
    { command: "holdfast doc export - > all.tar.gz", description: "Write it to the standard output" },
  ]),
)

/** Prints what a transfer has done; what could not be copied is for stderr, and the command fails with the last of it. */
const tell = (report: TransferReport, json: boolean): Effect.Effect<void, StoreError | CommandError> =>
  Effect.gen(function* () {
    const { documents, agents, files, others, failed, ignored } = report
    const counts = { documents, agents, files, others }
    const lines = Object.entries(counts).map(([kind, { copied, present }]) => `${kind}\t${copied}\t${present}\n`)
    yield* json
      ? printJson({ ...counts, ignored, failed: failed.map(({ key, error }) => ({ key, error: error.toJSON() })) })
      : writeOut(lines.join(""))
    for (const { error } of failed.slice(0, -1)) yield* printError(error, json)
    const last = failed.at(-1)
    if (last !== undefined) return yield* Effect.fail(last.error)
  })

/** `doc import` */
export const importDocuments: Verb<"import"> = Command.make(
  "import",
  { file: file("The archive, as doc export or tar -czf makes it; - or none: the standard input") },
  ({ file }) =>
    Effect.scoped(Effect.gen(function* () {
      if (file === undefined && process.stdin.isTTY) {
        return yield* Effect.fail(usageError("Nothing to import: no FILE is given", "name an archive, or pipe it in"))
      }
      const json = yield* Json
      const documents = yield* openDocuments(yield* openStore)
      const { source } = file === undefined || file === "-" ? yield* openStdin : yield* openInput(file)
      const reader = openSource(source)
      // Copies, since a source may fill the same buffer anew.
      const archive = streamOf({ read: async () => (await reader.read())?.slice(), cancel: reader.cancel })
      yield* tell(yield* documents.importTar(archive), json)
    })),
).pipe(
  Command.withDescription(
    "Store what a gzipped tar archive holds, each document once it has been checked. Nothing is replaced: what is\n" +
      "  there already stays. Prints for documents, agents, files and others how many were stored and were there.",
  ),
  Command.withShortDescription("Store what a .tar.gz holds"),
  Command.withExamples([
    {
      command: "holdfast doc export all.tar.gz && holdfast doc import all.tar.gz --store file:./other",
      description: "Restore an archive to another place",
    },
  ]),
)

/** `doc cp` */
export const copyDocuments: Verb<"cp"> = Command.make(
  "cp",
  { toStore: Flag.String("to-store").pipe(Flag.withMetavar("URL"), Flag.withDescription("Store they are copied to")) },
  ({ toStore }) =>
    Effect.scoped(Effect.gen(function* () {
      const json = yield* Json
      if (toStore === (yield* StoreUrl)) {
        return yield* Effect.fail(usageError("Both stores are the same", "name another one with --to-store"))
      }
      const source = yield* openDocuments(yield* openStore)
      const target = yield* openDocuments(yield* openAt(toStore))
      yield* tell(yield* target.copyFrom(source), json)
    })),
).pipe(
  Command.withDescription(
    "Copy all documents, agents and files to another store, byte for byte, each document once it has been checked.\n" +
      "  The source stays as it is, and nothing in the target is replaced: run it again to finish a copy that was\n" +
      "  interrupted. Prints for documents, agents, files and others how many were copied and were there already.",
  ),
  Command.withShortDescription("Copy everything to another store"),
  Command.withExamples([
    { command: "holdfast doc cp --to-store s3://my-bucket", description: "Move from a folder to a bucket" },
  ]),
)

/** `doc audit` */
export const audit: Verb<"audit"> = Command.make("audit", {}, () =>
  Effect.scoped(Effect.gen(function* () {
    const json = yield* Json
    const url = yield* StoreUrl
    const documents = yield* openDocuments(yield* openStore)
    let [problems, code] = [0, failureExit]
    const say = (problem: Record<string, unknown>, line: string): Effect.Effect<void, CommandError> => {
      problems++
      return json ? printJson(problem) : writeOut(outIsTerminal() ? printable(line) : line)
    }
    for (const kind of [documents, documents.agents]) {
      yield* Stream.runForEach(kind.list(), (entry) =>
        Effect.catchIf(
          Effect.flatMap(kind.getText(entry), (text) => kind.verify(text)),
          (error: StoreError) => ["Corrupt", "NotFound", "Truncated"].includes(error.reason),
          (error) => {
            code = Math.max(code, exitCodes.Corrupt)
            return say({ ...error.toJSON(), key: entry.key }, `damaged\t${entry.key}\t${error.detail}\n`)
          },
        ))
    }
    const location = parseStoreUrl(url, process.env)
    if (location.kind === "disk") {
      const { auditModes } = yield* Effect.promise(() => import("../compat/jacs-host.ts"))
      for (const { path, mode, expected } of yield* Effect.promise(() => auditModes(location.root).catch(() => []))) {
        yield* say({ code: "Mode", path, mode, expected }, `mode ${mode}\t${path}\tchmod ${expected}\n`)
      }
    }
    if (problems > 0) {
      const hint = "restore what is damaged from a copy; chmod what others may look into"
      return yield* Effect.fail(new CommandError("Checks", `${problems} problems were found`, hint, code))
    }
  }))).pipe(
    Command.withDescription(
      "Check every document: its digest, and that its files are there and whole. Signatures need keys, and are not\n" +
        "  looked at. Of a folder also the modes: 0700 for folders and 0600 for files. Prints a line for each problem.",
    ),
    Command.withShortDescription("Check all documents, and who may read them"),
    Command.withExamples([{ command: "holdfast doc audit", description: "Check everything" }]),
  )
