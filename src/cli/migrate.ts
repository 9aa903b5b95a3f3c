/**
 * `holdfast migrate SRC DST`
 *
 * @module
 */
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { StoreError } from "../error.ts"
import { migrate as run, type Migrated, type MigrateReport, MigrateTally } from "../migrate.ts"
import { CommandError, failureExit, usageError } from "./exit.ts"
import { Json, openAt, Quiet, text, type Verb } from "./flags.ts"
import { errIsTerminal, formatBytes, printable, printJson, writeErr, writeOut } from "./output.ts"

const flags = {
  source: Argument.String("SRC").pipe(Argument.withDescription("URL of the store to copy from; it is not changed")),
  target: Argument.String("DST").pipe(Argument.withDescription("URL of the store to copy to")),
  prefix: text("prefix", "PREFIX", "Only keys that start with this"),
  replace: Flag.Boolean("replace").pipe(
    Flag.withDescription("Replace objects of DST that have other bytes. Default: they are reported and stay"),
    Flag.withDefault(false),
  ),
  dryRun: Flag.Boolean("dry-run").pipe(
    Flag.withDescription("Compare and report; copy nothing"),
    Flag.withDefault(false),
  ),
  verify: Flag.Boolean("verify").pipe(
    Flag.withDescription("Read every copy back and check it"),
    Flag.withDefault(false),
  ),
}

const words: Readonly<Record<keyof MigrateReport, string>> = {
  copied: "copied",
  present: "there already",
  different: "there with other bytes, left alone",
  missing: "to be copied",
  failed: "failed",
}

/** `"12 copied (3.4 MiB), 5 there already (1 MiB)"` */
const summary = (report: MigrateReport): string => {
  const parts = Object.entries(report).filter(([, { objects }]) => objects > 0).map(([name, { objects, bytes }]) =>
    `${objects} ${words[name as keyof MigrateReport]} (${formatBytes(bytes)})`
  )
  return parts.length === 0 ? "nothing to copy: SRC has no such object" : parts.join(", ")
}

/** A line for what somebody should look at; what went well is in the summary alone. */
const lineOf = ({ key, outcome, error }: Migrated): string | undefined =>
  outcome === "failed" || outcome === "different"
    ? `${outcome}\t${key}${error === undefined ? "" : `\t${error.message}`}\n`
    : undefined

/** Milliseconds between two lines of progress. */
const redrawEvery = 200

/** The verb. */
export const migrate: Verb<"migrate"> = Command.make(
  "migrate",
  flags,
  ({ source, target, ...options }) =>
    Effect.scoped(Effect.gen(function* () {
      if (source === target) {
        return yield* Effect.fail(usageError("SRC and DST are the same store", "name two stores"))
      }
      const json = yield* Json
      const shown = errIsTerminal() && !json && !(yield* Quiet)
      const [from, to] = [yield* openAt(source), yield* openAt(target)]
      const tally = new MigrateTally()
      let drawn = 0
      const draw = (now: number): Effect.Effect<void> => {
        if (!shown || now - drawn < redrawEvery) return Effect.void
        drawn = now
        return writeErr(`\r\u001b[K${summary(tally.report)}`)
      }
      yield* Stream.runForEach(run(from, to, options), (one): Effect.Effect<void, StoreError | CommandError> => {
        tally.add(one)
        const line = lineOf(one)
        const told = json
          ? printJson(one.error === undefined ? one : { ...one, error: one.error.toJSON() })
          : line === undefined
          ? Effect.void
          : Effect.andThen(shown ? writeErr("\r\u001b[K") : Effect.void, writeErr(printable(line)))
        return Effect.andThen(told, Effect.suspend(() => draw(performance.now())))
      })
      if (shown) yield* writeErr("\r\u001b[K")
      const { report, complete } = tally
      yield* json ? printJson({ report, complete }) : writeOut(`${summary(report)}\n`)
      if (complete || options.dryRun) return
      return yield* Effect.fail(
        new CommandError(
          "Checks",
          "DST does not have all of SRC",
          report.failed.objects > 0
            ? "mend what the lines above name and run it again; it goes on where it stopped"
            : "look at the objects named above; --replace makes them those of SRC",
          failureExit,
        ),
      )
    })),
).pipe(
  Command.withDescription(
    "Copy all objects of one store to another, with their metadata, as they are stored.\n" +
      "  What is there already with the same bytes is left alone, so a run that was ended goes on where it stopped,\n" +
      "  and a second run proves the first. SRC is never changed.",
  ),
  Command.withShortDescription("Copy a whole store to another, and go on after an end"),
  Command.withExamples([
    {
      command: "echo hello | holdfast save a --store file:./old && holdfast migrate file:./old file:./new --verify",
      description: "Copy a folder's store to another folder and read everything back",
    },
    {
      command: "holdfast migrate file:./state s3://my-bucket --dry-run",
      description: "See what is missing in a bucket",
    },
  ]),
)
