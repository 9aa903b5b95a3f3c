/**
 * `holdfast job ls|show JOB|runs JOB|events JOB RUN|rm JOB`
 *
 * @module
 */
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { StoreError } from "../error.ts"
import { redactRunSetting } from "../stores/execution-redact.ts"
import { type ExecutionsService, type Job, makeExecutions, type RunSetting } from "../stores/execution.ts"
import type { CommandError } from "./exit.ts"
import { type Globals, Json, openStore, type Verb } from "./flags.ts"
import { toSeconds } from "./list.ts"
import { outIsTerminal, printable, printError, printJson, writeOut } from "./output.ts"

const jobId = Argument.String("JOB").pipe(Argument.withDescription("Id of the job"))
const runId = Argument.String("RUN").pipe(Argument.withDescription("Id of the run"))

/** A time in milliseconds since 1970 for people; what is no time, as it is. */
const timeOf = (millis: number): string => Math.abs(millis) <= 8.64e15 ? toSeconds(new Date(millis)) : String(millis)

const print = (text: string): Effect.Effect<void, CommandError> => writeOut(outIsTerminal() ? printable(text) : text)

const row = (...columns: ReadonlyArray<string | number>): string => `${columns.join("\t")}\n`

/** Does `work` with the executions of this run's store; then the last object that could not be read is its error. */
const withExecutions = <E>(
  work: (executions: ExecutionsService, json: boolean) => Effect.Effect<void, E>,
): Effect.Effect<void, E | StoreError, Globals | Scope.Scope> =>
  Effect.gen(function* () {
    const json = yield* Json
    const store = yield* openStore
    const unreadable: Array<StoreError> = []
    yield* work(makeExecutions(store, { onUnreadable: (error) => unreadable.push(error) }), json)
    const last = unreadable.pop()
    for (const error of unreadable) yield* printError(error, json)
    if (last !== undefined) yield* Effect.fail(last)
  })

const toRow = (job: Job): string => row(timeOf(job.startedAt), job.status, job.totalSteps, job.id)

const list: Verb<"ls"> = Command.make(
  "ls",
  {},
  () =>
    Effect.scoped(withExecutions((executions, json) =>
      Effect.flatMap(
        executions.getAllJobs(),
        (jobs) => json ? Effect.forEach(jobs, printJson, { discard: true }) : print(jobs.map(toRow).join("")),
      )
    )),
).pipe(
  Command.withDescription(
    "List jobs, the one begun last first: its beginning, status, steps, id, separated by tabs.\n" +
      "  Exit code 6 says that some cannot be read; the others are listed all the same.",
  ),
  Command.withShortDescription("List jobs"),
  Command.withExamples([{ command: "holdfast job ls", description: "See what jobs there are" }]),
)

/** The facts of a job, one a line; those that it does not have are left out. */
const describe = (job: Job): string => {
  const facts: ReadonlyArray<readonly [name: string, value: string | number | undefined]> = [
    ["id", job.id],
    ["status", job.status],
    ["expert", job.coordinatorExpertKey],
    ["steps", job.maxSteps === undefined ? job.totalSteps : `${job.totalSteps} of ${job.maxSteps}`],
    ["tokens", job.usage.totalTokens],
    ["started", timeOf(job.startedAt)],
    ["finished", job.finishedAt === undefined ? undefined : timeOf(job.finishedAt)],
  ]
  return facts.flatMap(([name, value]) => value === undefined ? [] : [`${name.padEnd(10)}${value}\n`]).join("")
}

const show: Verb<"show"> = Command.make(
  "show",
  { jobId },
  ({ jobId }) =>
    Effect.scoped(withExecutions((executions, json) =>
      Effect.gen(function* () {
        const job = yield* executions.retrieveJob(jobId)
        if (job === undefined) {
          return yield* Effect.fail(
            new StoreError({
              reason: "NotFound",
              operation: "show",
              key: jobId,
              detail: "there is no such job",
              hint: "holdfast job ls lists those there are",
            }),
          )
        }
        yield* json ? printJson(job) : print(describe(job))
      })
    )),
).pipe(
  Command.withDescription("Show the facts of a job. Exit code 1 says that there is none."),
  Command.withShortDescription("Show the facts of a job"),
  Command.withExamples([{
    command: "holdfast job show job-1 >/dev/null 2>&1 || echo missing",
    description: "Ask in a script whether there is such a job",
  }]),
)

const runRow = ({ updatedAt, expertKey, model, runId }: RunSetting): string =>
  row(timeOf(updatedAt), expertKey, model, runId)

const runs: Verb<"runs"> = Command.make(
  "runs",
  { jobId },
  ({ jobId }) =>
    Effect.scoped(withExecutions((executions, json) =>
      Effect.flatMap(executions.getAllRuns(jobId), (runs) =>
        json
          // A setting holds keys of services, and what is printed ends up in logs.
          ? Effect.forEach(runs, (run) => printJson(redactRunSetting(run)), { discard: true })
          : print(runs.map(runRow).join("")))
    )),
).pipe(
  Command.withDescription(
    "List the runs of a job, the one taken up last first: when that was, expert, model, id, separated by tabs.\n" +
      "  --json prints their settings without the secrets.",
  ),
  Command.withShortDescription("List the runs of a job"),
  Command.withExamples([{ command: "holdfast job runs job-1", description: "See which runs a job has" }]),
)

const eventFlags = {
  jobId,
  runId,
  contents: Flag.Boolean("contents").pipe(
    Flag.withDescription("Read the events, and print each as a line of JSON, by ascending time"),
    Flag.withDefault(false),
  ),
}

const events: Verb<"events"> = Command.make(
  "events",
  eventFlags,
  ({ jobId, runId, contents }) =>
    Effect.scoped(withExecutions((executions, json) => {
      if (contents) return Stream.runForEach(executions.events(jobId, runId), printJson)
      return Effect.flatMap(executions.getEventsByRun(jobId, runId), (metas) =>
        json ? Effect.forEach(metas, printJson, { discard: true }) : print(
          metas.map(({ timestamp, stepNumber, type }) =>
            row(timeOf(timestamp), stepNumber, type)
          ).join(""),
        ))
    })),
).pipe(
  Command.withDescription(
    "List the events of a run by ascending step: time, step, type, separated by tabs. Only their names are read.",
  ),
  Command.withShortDescription("List the events of a run"),
  Command.withExamples([
    { command: "holdfast job events job-1 run-1", description: "See what a run has done" },
    { command: "holdfast job events job-1 run-1 --contents", description: "Print the events themselves" },
  ]),
)

const rm: Verb<"rm"> = Command.make(
  "rm",
  { jobId },
  ({ jobId }) =>
    Effect.scoped(
      withExecutions((executions, json) =>
        Effect.flatMap(
          executions.deleteJob(jobId),
          (objects) => json ? printJson({ job: jobId, objects }) : Effect.void,
        )
      ),
    ),
).pipe(
  Command.withDescription(
    "Remove a job with its checkpoints and runs, itself last. One that is missing already counts as removed.\n" +
      "  Nothing is asked.",
  ),
  Command.withShortDescription("Remove a job"),
  Command.withExamples([{ command: "holdfast job rm job-1", description: "Remove a job and all that is its own" }]),
)

/** The verb, with its subcommands. */
export const job: Verb<"job"> = Command.make("job").pipe(
  Command.withDescription(
    "Look at the execution state of agents, as Perstack and the execution store keep it below jobs/.\n" +
      "  A prefix, or Perstack's base folder, is part of the store's URL: --store s3://bucket/perstack",
  ),
  Command.withShortDescription("Look at jobs of agents and remove them"),
  Command.withExamples([
    { command: "holdfast job ls", description: "See what jobs there are" },
    { command: "holdfast job ls --store file:./perstack", description: "Those of Perstack in this folder" },
  ]),
  Command.withSubcommands([list, show, runs, events, rm]),
)
