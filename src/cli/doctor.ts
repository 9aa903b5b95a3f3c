/**
 * `holdfast doctor`
 *
 * @module
 */
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import process from "node:process"
import { createInterface } from "node:readline"
import { purposes } from "./doctor/check.ts"
import type { Report } from "./doctor/checks.ts"
import { describe } from "./doctor/finding.ts"
import { policyFor } from "./doctor/policy.ts"
import { CommandError, exitCodes, usageError } from "./exit.ts"
import { Json, StoreUrl, type Verb } from "./flags.ts"
import { errIsTerminal, outIsTerminal, printable, printJson, writeOut } from "./output.ts"

const flags = {
  purpose: Flag.Literals("for", purposes).pipe(
    Flag.withMetavar("PURPOSE"),
    Flag.withDescription("What the store is for; read changes nothing. Default: write"),
    Flag.withDefault("write" as const),
  ),
  yes: Flag.Boolean("yes").pipe(
    Flag.withAlias("y"),
    Flag.withDescription("Do not ask before objects are saved"),
    Flag.withDefault(false),
  ),
}

/** Asks whether the test may save objects. Without a terminal nobody can say so. */
const confirm = (prefix: string): Effect.Effect<void, CommandError> =>
  Effect.gen(function* () {
    const refused = usageError(
      "The test saves objects in the store and removes them again, and nobody has said yes",
      "add --yes, or look only with --for read",
    )
    if (process.stdin.isTTY !== true || !errIsTerminal()) return yield* Effect.fail(refused)
    const question = `This saves objects below ${prefix} and removes them again. Go on? [y/N] `
    const answer = yield* Effect.acquireUseRelease(
      // In raw mode Ctrl-C would not be the signal that ends the command.
      Effect.sync(() => createInterface({ input: process.stdin, output: process.stderr, terminal: false })),
      (terminal) =>
        Effect.promise(() =>
          new Promise<string>((resolve) => {
            terminal.once("close", () => resolve(""))
            terminal.question(question, resolve)
          })
        ),
      (terminal) => Effect.sync(() => terminal.close()),
    )
    if (!/^y(es)?$/i.test(answer.trim())) return yield* Effect.fail(refused)
  })

/** Columns of the names, so that the findings stand below each other. */
const nameWidth = 18

const toLine = ({ name, finding }: Report): string =>
  `${finding.status.padEnd(4)}  ${name.padEnd(nameWidth)}${describe(finding)}\n`

const toJson = ({ name, finding }: Report): Record<string, unknown> => ({
  check: name,
  status: finding.status,
  detail: finding.detail,
  hint: finding.hint,
  code: finding.status === "FAIL" ? finding.error.reason : undefined,
})

/** The verb. */
export const doctor: Verb<"doctor"> = Command.make(
  "doctor",
  flags,
  ({ purpose, yes }) =>
    Effect.scoped(Effect.gen(function* () {
      const json = yield* Json
      // Loaded for this verb alone: the other ones need no more than one backend.
      const { openBench, examine } = yield* Effect.promise(async () => ({
        ...await import("./doctor/bench.ts"),
        ...await import("./doctor/checks.ts"),
      }))
      const bench = yield* openBench(yield* StoreUrl, process.env)
      if (!yes && purpose !== "read") yield* confirm(bench.prefix)
      let [count, failures, code] = [0, 0, 0]
      yield* Stream.runForEach(examine(bench, purpose), (report) => {
        count++
        if (report.finding.status === "FAIL") {
          failures++
          code = Math.max(code, exitCodes[report.finding.error.reason])
        }
        if (json) return printJson(toJson(report))
        return writeOut(outIsTerminal() ? printable(toLine(report)) : toLine(report))
      })
      const { location } = bench
      if (location.kind === "s3") {
        const policy = policyFor(location.options, location.encryption, purpose)
        yield* json ? printJson({ policy }) : writeOut(
          `\nThe least that an IAM policy must allow (${purpose}):\n${JSON.stringify(policy, undefined, 2)}\n`,
        )
      }
      if (failures > 0) {
        return yield* Effect.fail(
          new CommandError("Checks", `${failures} of ${count} checks failed`, "do what their lines say", code),
        )
      }
    })),
).pipe(
  Command.withDescription(
    "Find out whether a store does what Holdfast needs: reach, credentials, clock, permissions, conditions under\n" +
      "  concurrent writers, checksums, lists, parts, presigned URLs, encryption; of a folder also its file system.\n" +
      "  Prints a line for each check: ok, FAIL, or n/a where it does not apply, and what to do. The exit code is that\n" +
      "  of the worst failure. Objects of the test are below .holdfast-doctor-ID/ and are removed at the end. For S3\n" +
      "  the least IAM policy is printed: read is load, stat and ls; write adds save, rm and cp; all adds versions.",
  ),
  Command.withShortDescription("Check that a store works, and say what to do where not"),
  Command.withExamples([
    { command: "holdfast doctor --yes", description: "Check the store" },
    { command: "holdfast doctor --for read --store s3://my-bucket", description: "Check a bucket and change nothing" },
  ]),
)
