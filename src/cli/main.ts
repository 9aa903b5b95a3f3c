/**
 * The command `holdfast`: saves, loads and looks after objects from a shell.
 *
 *     holdfast save KEY [FILE|-]      holdfast load KEY [FILE|-]      holdfast ls [PREFIX]
 *     holdfast stat KEY               holdfast rm KEY...              holdfast cp|mv FROM TO
 *     holdfast verify KEY...          holdfast versions [PREFIX]      holdfast restore KEY VERSION
 *     holdfast presign KEY            holdfast uploads ls|abort       holdfast doctor
 *     holdfast migrate SRC DST
 *     holdfast serve                  holdfast serve token FILE
 *
 * This file wires the verbs together and decides how the process ends. Data goes to stdout, everything else to
 * stderr; the exit codes are in `exit.ts`. The first signal interrupts the verb, which then cleans up; the second
 * one ends the process at once.
 */
import * as NodeServices from "@effect/platform-node/NodeServices"
import * as Cause from "effect/Cause"
import * as CliConfig from "effect/cli/CliConfig"
import * as CliError from "effect/cli/CliError"
import * as CliOutput from "effect/cli/CliOutput"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as GlobalFlag from "effect/cli/GlobalFlag"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Logger from "effect/Logger"
import process from "node:process"
import manifest from "../../deno.json" with { type: "json" }
import { StoreError } from "../error.ts"
import { checkpoint } from "./checkpoint.ts"
import { copy, move } from "./copy.ts"
import { doc } from "./doc.ts"
import { doctor } from "./doctor.ts"
import {
  BrokenPipe,
  brokenPipeExit,
  CommandError,
  exitCodes,
  failureExit,
  onSignal,
  type Signal,
  signalExits,
  usageError,
  usageExit,
} from "./exit.ts"
import { Json, Quiet, StoreUrl } from "./flags.ts"
import { job } from "./job.ts"
import { list } from "./list.ts"
import { load } from "./load.ts"
import { migrate } from "./migrate.ts"
import { errIsTerminal, outIsTerminal, printable, printError, writeErr, writeOut } from "./output.ts"
import { presign } from "./presign.ts"
import { rm } from "./remove.ts"
import { save } from "./save.ts"
import { serve } from "./serve.ts"
import { snapshot } from "./snapshot.ts"
import { stat } from "./stat.ts"
import { uploads } from "./uploads.ts"
import { verify } from "./verify.ts"
import { restore, versions } from "./versions.ts"

const holdfast = Command.make("holdfast").pipe(
  Command.withDescription(
    "Streaming storage: what is saved is there whole or not at all, and what is loaded is what was saved.\n\n" +
      "  Exit codes: 0 done, 1 no such object, 2 usage or setting, 3 not allowed, 4 a condition or another writer,\n" +
      "  5 anything else, 6 bytes missing or damaged, 130 interrupted, 143 terminated, 141 nobody reads the output",
  ),
  Command.withExamples([
    {
      command: "echo hello | holdfast save notes/hello && holdfast load notes/hello",
      description: "Save what a program prints, and print it",
    },
    {
      command: "HOLDFAST_STORE=file:/tmp/holdfast-example holdfast ls",
      description: "Use another store",
    },
  ]),
  Command.withSubcommands([
    { group: "Bytes", commands: [save, load] },
    { group: "Objects", commands: [list, stat, verify, rm, copy, move, presign] },
    { group: "Agent state", commands: [job, checkpoint, snapshot, doc] },
    { group: "Stores", commands: [migrate, versions, restore, uploads, serve, doctor] },
  ]),
  Command.withGlobalFlags([StoreUrl, Json, Quiet]),
)

/** Effect's own flag spells its six choices out twice, which makes every help page too wide. */
const completions = {
  ...GlobalFlag.Completions,
  flag: Flag.withMetavar(GlobalFlag.Completions.flag, "SHELL"),
}

/** Prints help that was asked for to stdout, and what is wrong with a command line to stderr. */
const presenter = (json: boolean): CliOutput.Presenter => {
  const formatter = (terminal: boolean): CliOutput.Formatter =>
    CliOutput.defaultFormatter({ colors: terminal && !process.env["NO_COLOR"] })
  const refuse = (event: CliOutput.Presenter.Help | CliOutput.Presenter.InvalidInvocation): Effect.Effect<void> => {
    const flaws = event._tag === "Help" ? ["Missing subcommand"] : event.errors.map(({ message }) => message)
    const hint = `${event.commandPath.join(" ")} --help explains the flags and shows an example`
    const help = json ? "" : `${formatter(errIsTerminal()).formatHelpDoc(event.helpDoc)}\n\n`
    return Effect.andThen(writeErr(help), printError(usageError(flaws.join("\n"), hint), json))
  }
  const show = (text: (formatter: CliOutput.Formatter) => string): Effect.Effect<void> =>
    Effect.orDie(writeOut(`${text(formatter(outIsTerminal()))}\n`))
  return {
    present: (event) => {
      if (event._tag === "Version") return show((formatter) => formatter.formatVersion(event.name, event.version))
      return event._tag === "Help" && event.reason === "Requested"
        ? show((formatter) => formatter.formatHelpDoc(event.helpDoc))
        : refuse(event)
    },
  }
}

const run = (args: ReadonlyArray<string>, json: boolean) =>
  Command.runWith(holdfast, { version: manifest.version })(args).pipe(
    Effect.provideService(CliConfig.CliConfig, {
      builtIns: [GlobalFlag.Help, GlobalFlag.Version, completions],
    }),
    Effect.provideService(CliOutput.Presenter, presenter(json)),
    Effect.provideService(Logger.LogToStderr, true),
    Effect.provide(NodeServices.layer),
  )

/** Says what went wrong, and returns the exit code that says the same. */
const finish = (cause: Cause.Cause<unknown>, json: boolean, signal: Signal | undefined): Effect.Effect<number> => {
  const error = Cause.squash(cause)
  if (error instanceof BrokenPipe) return Effect.succeed(brokenPipeExit)
  if (signal !== undefined) {
    const error = new CommandError("Signal", `Stopped by ${signal}`, undefined, signalExits[signal])
    return Effect.as(printError(error, json), error.exitCode)
  }
  if (StoreError.is(error)) return Effect.as(printError(error, json), exitCodes[error.reason])
  if (error instanceof CommandError) return Effect.as(printError(error, json), error.exitCode)
  // The presenter has told it.
  if (CliError.isCliError(error) && error._tag === "ShowHelp") return Effect.succeed(usageExit)
  if (CliError.isCliError(error)) return Effect.as(printError(usageError(error.message, "see --help"), json), usageExit)
  const defect = error instanceof Error ? error : new Error(String(error))
  return Effect.as(
    json
      ? printError(new CommandError("Defect", defect.message, undefined, failureExit), json)
      : writeErr(printable(`holdfast: this is a bug in Holdfast, please report it: ${defect.stack ?? defect}\n`)),
    failureExit,
  )
}

const main = async (): Promise<never> => {
  const args = process.argv.slice(2)
  const end = args.indexOf("--")
  // The presenter needs this where the command line could not be parsed.
  const json = args.slice(0, end < 0 ? undefined : end).includes("--json")
  const fiber = Effect.runFork(run(args, json))
  let stopped: Signal | undefined
  const handle = onSignal((signal) => {
    stopped = signal
    fiber.interruptUnsafe()
  }, process.exit)
  for (const signal of Object.keys(signalExits) as Array<Signal>) process.on(signal, () => handle(signal))
  const exit = await Effect.runPromise(Fiber.await(fiber))
  const code = Exit.isSuccess(exit) ? 0 : await Effect.runPromise(finish(exit.cause, json, stopped))
  // A read of stdin that is still pending would keep the process waiting.
  process.exit(code)
}

if (import.meta.main) await main()
