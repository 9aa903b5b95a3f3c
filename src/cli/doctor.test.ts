import { expect, test } from "bun:test"
import { existsSync } from "node:fs"
import { readdir } from "node:fs/promises"
import { command, openBucket, outcome, patience, until, Workplace } from "./testing.ts"

const lines = (text: string): Array<string> => text.split("\n").filter((line) => line !== "")

test("doctor prints a line for each check, and leaves an empty store", async () => {
  await using work = await Workplace.make()
  const refused = await work.run("doctor")
  expect({ code: refused.code, out: refused.out }).toEqual({ code: 2, out: "" })
  expect(refused.err).toContain("--yes")
  expect((await work.run("doctor", "--for", "read")).code).toBe(0)
  expect(await readdir(work.path)).toEqual([])
  const { code, out, err } = await work.run("doctor", "--yes")
  expect({ code, err }).toEqual({ code: 0, err: "" })
  for (const line of lines(out)) expect(line).toMatch(/^(ok {4}|n\/a {3})\S.{17}\S/)
  expect(out).toContain("ok    save if match     1 of 8 writers at once won\n")
  expect((await work.run("ls")).out + (await work.run("uploads", "ls")).out).toBe("")
}, patience)

test("doctor exits with the code of the worst failure, and ends with the least policy", async () => {
  await using bucket = await openBucket({ quirks: "ceph16" })
  await using work = await Workplace.make({ ...bucket.env, HOLDFAST_STORE: bucket.store })
  const { code, out, err } = await work.run("doctor", "--yes", "--json")
  expect(code).toBe(6)
  const printed = lines(out).map((line) => JSON.parse(line))
  expect(printed.find(({ check }) => check === "checksum")).toMatchObject({
    status: "FAIL",
    code: "Corrupt",
    hint: expect.stringContaining("https"),
  })
  expect(printed.at(-1)).toMatchObject({ policy: { Version: "2012-10-17" } })
  expect(JSON.parse(err).error).toMatchObject({ code: "Checks", message: expect.stringMatching(/^6 of \d+ checks/) })
  await using stranger = await Workplace.make({ HOLDFAST_STORE: bucket.store })
  const unknown = await stranger.run("doctor", "--for", "read")
  expect(unknown.code).toBe(3)
  expect(unknown.out).toMatch(/FAIL {2}credentials +AWS credentials not found; set AWS_ACCESS_KEY_ID/)
}, patience)

test("fault 154: doctor cleans up when it is stopped", async () => {
  await using bucket = await openBucket({ rules: [{ operation: "UploadPart", fault: { kind: "hold" } }] })
  await using work = await Workplace.make({ ...bucket.env, HOLDFAST_STORE: bucket.store })
  const child = work.start("doctor", "--yes")
  const done = outcome(child)
  await until("a part is on its way", () => Promise.resolve(bucket.peer.count("UploadPart") > 0))
  child.kill("SIGINT")
  expect(await done).toMatchObject({ code: 130, err: "holdfast: Stopped by SIGINT\n" })
  expect(bucket.peer.openUploads()).toEqual([])
  expect((await work.run("ls")).out).toBe("")
}, patience)

const onTerminal: (name: string, body: () => Promise<void>, timeout?: number) => void = existsSync("/usr/bin/script")
  ? test
  : (name, body) => test.skip(`${name} (skipped: needs script of util-linux)`, body)

onTerminal("doctor asks on a terminal before it saves anything", async () => {
  await using work = await Workplace.make()
  const typed = (answer: string): ReturnType<typeof work.shell> =>
    work.shell(`echo ${answer} | script -qec '${command.join(" ")} doctor; echo code $?' /dev/null`)
  const no = await typed("n")
  expect(no.out).toMatch(/saves objects below \.holdfast-doctor-\S+ and removes them again/)
  expect(no.out).toContain("code 2")
  expect(await readdir(work.path)).toEqual([])
  const yes = await typed("y")
  expect(yes.out).toContain("nothing is left of the test")
  expect(yes.out).toContain("code 0")
}, patience)
