import { expect, test } from "bun:test"
import { open } from "../open.ts"
import { aCheckpoint, aJob, anEvent, aSetting } from "../stores/execution-testing.ts"
import { ExecutionStore } from "../stores/execution.ts"
import { patience, Workplace } from "./testing.ts"

/** A folder with two jobs, and a runner of `holdfast job` on it. */
const prepare = async () => {
  const work = await Workplace.make()
  const url = `file:${work.at("data")}`
  await using store = await open(url)
  const executions = new ExecutionStore(store)
  await executions.storeJob(aJob("old", { maxSteps: 9, totalSteps: 2 }))
  await executions.storeJob(
    aJob("new", { startedAt: 1_700_000_005_000, status: "completed", finishedAt: 1_700_000_009_000 }),
  )
  await executions.storeCheckpoint(aCheckpoint("c", { jobId: "old" }))
  for (const [run, updatedAt] of [["r1", 1_700_000_001_000], ["r2", 1_700_000_002_000]] as const) {
    await executions.storeRunSetting(aSetting("old", run, { updatedAt }))
  }
  await executions.storeEvent(anEvent(1_700_000_001_000, 2, { jobId: "old", runId: "r1" }))
  await executions.storeEvent(anEvent(1_700_000_002_000, 1, { jobId: "old", runId: "r1" }))
  const job = (...args: ReadonlyArray<string>) => work.run("job", ...args, "--store", url)
  return { work, store: url, job, [Symbol.asyncDispose]: () => work[Symbol.asyncDispose]() }
}

const lines = (out: string): ReadonlyArray<unknown> => out.trimEnd().split("\n").map((line) => JSON.parse(line))

test("job ls and show say what jobs there are, and what one of them is", async () => {
  await using place = await prepare()
  expect(await place.job("ls")).toMatchObject({
    code: 0,
    out: "2023-11-14T22:13:25Z\tcompleted\t0\tnew\n2023-11-14T22:13:20Z\trunning\t2\told\n",
  })
  expect(lines((await place.job("ls", "--json")).out).map((job) => (job as { id: string }).id)).toEqual(["new", "old"])
  expect((await place.job("show", "old")).out).toBe(
    "id        old\nstatus    running\nexpert    expert@1.0.0\nsteps     2 of 9\ntokens    6\n" +
      "started   2023-11-14T22:13:20Z\n",
  )
  expect((await place.job("show", "new")).out).toContain("finished  2023-11-14T22:13:29Z\n")
  expect(lines((await place.job("show", "old", "--json")).out)).toEqual([aJob("old", { maxSteps: 9, totalSteps: 2 })])
  const missing = await place.job("show", "none", "--json")
  expect([missing.code, missing.out, JSON.parse(missing.err).error.code]).toEqual([1, "", "NotFound"])
  expect((await place.job("show", "../old")).code).toBe(2)
}, patience)

test("job runs and events say what a job has done, and never print a secret", async () => {
  await using place = await prepare()
  expect((await place.job("runs", "old")).out).toBe(
    "2023-11-14T22:13:22Z\texpert@1.0.0\tsome-model\tr2\n2023-11-14T22:13:21Z\texpert@1.0.0\tsome-model\tr1\n",
  )
  const json = await place.job("runs", "old", "--json")
  expect(lines(json.out).map((run) => (run as { runId: string }).runId)).toEqual(["r2", "r1"])
  expect(json.out).not.toContain("sk-secret")
  expect((await place.job("events", "old", "r1")).out).toBe(
    "2023-11-14T22:13:22Z\t1\tstreamRunResult\n2023-11-14T22:13:21Z\t2\tstreamRunResult\n",
  )
  expect(lines((await place.job("events", "old", "r1", "--json")).out)).toEqual([
    { timestamp: 1_700_000_002_000, stepNumber: 1, type: "streamRunResult" },
    { timestamp: 1_700_000_001_000, stepNumber: 2, type: "streamRunResult" },
  ])
  const contents = lines((await place.job("events", "old", "r1", "--contents")).out)
  expect(contents.map((event) => (event as { id: string }).id)).toEqual(["e-1700000001000-2", "e-1700000002000-1"])
  expect(await place.job("events", "old", "none")).toMatchObject({ code: 0, out: "", err: "" })
}, patience)

test("job rm removes a job with all that is its own, and nothing else", async () => {
  await using place = await prepare()
  expect(lines((await place.job("rm", "old", "--json")).out)).toEqual([{ job: "old", objects: 6 }])
  expect((await place.work.run("ls", "--store", place.store)).out).toContain("jobs/new/job.json")
  expect((await place.work.run("ls", "--store", place.store)).out).not.toContain("jobs/old")
  expect(await place.job("rm", "old")).toMatchObject({ code: 0, out: "", err: "" })
}, patience)

test("a job that cannot be read is told, the others are listed, and the exit code is 6", async () => {
  await using place = await prepare()
  for (const id of ["bad1", "bad2"]) await place.work.feed("{", "save", `jobs/${id}/job.json`, "--store", place.store)
  const { code, out, err } = await place.job("ls")
  expect([code, out.split("\n").length]).toEqual([6, 3])
  expect(err).toContain("jobs/bad1/job.json")
  expect(err).toContain("jobs/bad2/job.json")
}, patience)
