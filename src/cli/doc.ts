/**
 * `holdfast doc`: looks after the documents of a store.
 *
 *     holdfast doc create [FILE|-]      holdfast doc ls                    holdfast doc show ID[:VERSION]
 *     holdfast doc versions ID          holdfast doc rm ID[:VERSION]...    holdfast doc export|import|cp|audit
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
import process from "node:process"
import type { StoreError } from "../error.ts"
import { openSource } from "../streams/source.ts"
import type { DocumentCollectionService, DocumentContent, DocumentEntry } from "../stores/documents.ts"
import { audit, copyDocuments, exportDocuments, importDocuments, openDocuments } from "./doc-transfer.ts"
import { type CommandError, usageError } from "./exit.ts"
import { openInput, openStdin } from "./files.ts"
import { type Globals, Json, openStore, text, type Verb } from "./flags.ts"
import { toSeconds } from "./list.ts"
import { outIsTerminal, printable, printJson, writeOut } from "./output.ts"

const agents = Flag.Boolean("agents").pipe(
  Flag.withDescription("Agents instead of documents"),
  Flag.withDefault(false),
)

const collection = (
  ofAgents: boolean,
): Effect.Effect<DocumentCollectionService, StoreError, Globals | Scope.Scope> =>
  Effect.gen(function* () {
    const documents = yield* openDocuments(yield* openStore)
    return ofAgents ? documents.agents : documents
  })

const write = (line: string): Effect.Effect<void, CommandError> => writeOut(outIsTerminal() ? printable(line) : line)

const create: Verb<"create"> = Command.make(
  "create",
  {
    file: Argument.String("FILE").pipe(
      Argument.withDescription("A file with a JSON object, the fields; - or none: the standard input"),
      Argument.optional,
      Argument.map(Option.getOrUndefined),
    ),
    schema: text("schema", "URL", "The document's $schema. Default: that of JACS' header"),
    agents,
  },
  ({ file, schema, agents }) =>
    Effect.scoped(Effect.gen(function* () {
      if (file === undefined && process.stdin.isTTY) {
        return yield* Effect.fail(usageError("No fields are given", "name a FILE, or pipe a JSON object in"))
      }
      const json = yield* Json
      const documents = yield* collection(agents)
      const { source } = file === undefined || file === "-" ? yield* openStdin : yield* openInput(file)
      const content = yield* Effect.tryPromise({
        try: async () => {
          const reader = openSource(source)
          const chunks: Array<Uint8Array<ArrayBuffer>> = []
          for (let chunk = await reader.read(); chunk !== undefined; chunk = await reader.read()) {
            chunks.push(new Uint8Array(chunk))
          }
          return JSON.parse(await new Blob(chunks).text()) as DocumentContent
        },
        catch: (cause) => usageError(`The fields are no JSON: ${(cause as Error).message}`, "give one JSON object"),
      })
      const document = yield* documents.create(content, { schema })
      yield* json ? printJson(document) : write(`${document.jacsId}:${document.jacsVersion}\n`)
    })),
).pipe(
  Command.withDescription("Create a document, which is not signed, and print ID:VERSION."),
  Command.withShortDescription("Create a document"),
  Command.withExamples([
    { command: `echo '{"title":"My Document"}' | holdfast doc create`, description: "Create a document" },
  ]),
)

interface Summary {
  readonly id: string
  versions: number
  modified: Date
}

const list: Verb<"ls"> = Command.make("ls", { agents }, ({ agents }) =>
  Effect.scoped(Effect.gen(function* () {
    const json = yield* Json
    const documents = yield* collection(agents)
    const found = new Map<string, Summary>()
    yield* Stream.runForEach(documents.list(), ({ id, modified }) =>
      Effect.sync(() => {
        const known = found.get(id)
        if (known === undefined) return void found.set(id, { id, versions: 1, modified })
        known.versions++
        if (known.modified < modified) known.modified = modified
      }))
    for (const one of found.values()) {
      yield* json ? printJson(one) : write(`${toSeconds(one.modified)}\t${one.versions}\t${one.id}\n`)
    }
  }))).pipe(
    Command.withDescription("List the documents: time of the last change, number of versions, id, separated by tabs."),
    Command.withShortDescription("List the documents"),
    Command.withExamples([{ command: "holdfast doc ls", description: "See which documents there are" }]),
  )

const id = Argument.String("ID").pipe(Argument.withDescription("Id of the document"))

const address = "Id of the document, with a version as ID:VERSION"

const show: Verb<"show"> = Command.make(
  "show",
  { address: Argument.String("ID").pipe(Argument.withDescription(`${address}; else the newest one`)), agents },
  ({ address, agents }) =>
    Effect.scoped(Effect.gen(function* () {
      const documents = yield* collection(agents)
      const text = address.includes(":")
        ? yield* documents.getText(address)
        : JSON.stringify(yield* documents.getLatest(address))
      yield* write(`${text}\n`)
    })),
).pipe(
  Command.withDescription("Print a document as JSON, once its digest has been checked."),
  Command.withShortDescription("Print a document"),
  Command.withExamples([
    {
      command: `holdfast doc show "$(echo '{"title":"My Document"}' | holdfast doc create)"`,
      description: "Print the document just made",
    },
  ]),
)

const toRow = ({ id, version, size, modified }: DocumentEntry): string =>
  `${toSeconds(modified)}\t${size}\t${id}:${version}\n`

const versions: Verb<"versions"> = Command.make(
  "versions",
  { id, agents },
  ({ id, agents }) =>
    Effect.scoped(Effect.gen(function* () {
      const json = yield* Json
      const documents = yield* collection(agents)
      for (const entry of yield* documents.versions(id)) yield* json ? printJson(entry) : write(toRow(entry))
    })),
).pipe(
  Command.withDescription("List the versions of a document, oldest first: time, size, ID:VERSION, separated by tabs."),
  Command.withShortDescription("List the versions of a document"),
  Command.withExamples([{
    command: `holdfast doc versions "$(echo '{}' | holdfast doc create | cut -d: -f1)"`,
    description: "The versions of a document just made",
  }]),
)

const remove: Verb<"rm"> = Command.make(
  "rm",
  {
    addresses: Argument.String("ID").pipe(
      Argument.withDescription(`${address}; else all its versions`),
      Argument.atLeast(1),
    ),
    agents,
  },
  ({ addresses, agents }) =>
    Effect.scoped(Effect.gen(function* () {
      const json = yield* Json
      const documents = yield* collection(agents)
      for (const address of addresses) {
        yield* documents.remove(address)
        if (json) yield* printJson({ id: address, removed: true })
      }
    })),
).pipe(
  Command.withDescription(
    "Move documents, or single versions of them, to archive/ in the same store. What is missing counts as removed.",
  ),
  Command.withShortDescription("Move documents to the archive"),
  Command.withExamples([{
    command: `holdfast doc rm "$(echo '{}' | holdfast doc create)"`,
    description: "Remove a document just made",
  }]),
)

/** The verb, with its subcommands. */
export const doc: Verb<"doc"> = Command.make("doc").pipe(
  Command.withDescription(
    "Look after the documents of a store: versions in documents/ID/VERSION.json, the agents that sign them in agents/,\n" +
      "  and their files in files/. What JACS has written is read as well.",
  ),
  Command.withShortDescription("Look after signed documents"),
  Command.withExamples([
    { command: `echo '{"title":"My Document"}' | holdfast doc create`, description: "Create a document" },
    { command: "holdfast doc export", description: "Make a backup of all of them" },
  ]),
  Command.withSubcommands([
    create,
    list,
    show,
    versions,
    remove,
    exportDocuments,
    importDocuments,
    copyDocuments,
    audit,
  ]),
)
