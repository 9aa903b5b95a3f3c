/** `holdfast ls [PREFIX]` */
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { ListPage, ObjectEntry } from "../backend.ts"
import { compareKeys } from "../key.ts"
import { Json, openStore, type Verb } from "./flags.ts"
import { outIsTerminal, printable, writeOut } from "./output.ts"

/** Digits of the largest size that is a whole number; a tab after it ends at column 16 on a terminal. */
const sizeWidth = 15

const row = (size: string, modified: string, name: string): string =>
  `${size.padStart(sizeWidth)}\t${modified.padEnd(20)}\t${name}\n`

/** `2026-11-20T14:05:09Z` */
export const toSeconds = (date: Date): string => date.toISOString().replace(/\.\d+Z$/, "Z")

interface Line {
  readonly name: string
  readonly entry: ObjectEntry | undefined
}

/** The objects and folded prefixes of a page as one list in key order. */
const linesOf = ({ objects, prefixes }: ListPage): ReadonlyArray<Line> => {
  const objectLines = objects.map((entry): Line => ({ name: entry.key, entry }))
  if (prefixes.length === 0) return objectLines
  const prefixLines = prefixes.map((name): Line => ({ name, entry: undefined }))
  return [...objectLines, ...prefixLines].sort((a, b) => compareKeys(a.name, b.name))
}

const toJson = ({ name, entry }: Line): string => `${JSON.stringify(entry ?? { prefix: name })}\n`

const toRow = ({ name, entry }: Line): string =>
  entry === undefined ? row("-", "-", name) : row(String(entry.size), toSeconds(entry.modified), name)

const flags = {
  prefix: Argument.String("PREFIX").pipe(
    Argument.withDescription("Only keys that start with this: a also finds ab, a/ does not"),
    Argument.withDefault(""),
  ),
  folders: Flag.Boolean("folders").pipe(
    Flag.withDescription("Show what follows the next / as one line, like a folder"),
    Flag.withDefault(false),
  ),
}

/** The verb. */
export const list: Verb<"ls"> = Command.make(
  "ls",
  flags,
  ({ prefix, folders }) =>
    Effect.scoped(Effect.gen(function* () {
      const json = yield* Json
      const store = yield* openStore
      const show = json ? toJson : outIsTerminal() ? (line: Line): string => printable(toRow(line)) : toRow
      yield* Stream.runForEach(
        store.pages({ prefix, delimiter: folders ? "/" : undefined }),
        (page) => {
          const lines = linesOf(page)
          return lines.length === 0 ? Effect.void : writeOut(lines.map(show).join(""))
        },
      )
    })),
).pipe(
  Command.withDescription(
    "List objects: size in bytes, time of the save, key.\n" +
      "  The columns are separated by tabs, so cut -f3 prints the keys. No object is no error.",
  ),
  Command.withShortDescription("List objects"),
  Command.withExamples([
    {
      command: "echo hello | holdfast save notes/hello && holdfast ls notes/",
      description: "List every object below notes/",
    },
    { command: "holdfast ls --folders", description: "List the top level only" },
    { command: "holdfast ls notes/ | cut -f3", description: "Print the keys alone" },
  ]),
)
