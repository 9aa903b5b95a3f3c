import { expect, test } from "bun:test"
import { open } from "../open.ts"
import { S3Checkpointer } from "../compat/s3-checkpointer.ts"
import { CheckpointStore } from "../stores/checkpoints.ts"
import { peerCredentials } from "../testing/s3/mod.ts"
import { openBucket, patience, Workplace } from "./testing.ts"

const rows = (text: string): Array<Array<string>> =>
  text.split("\n").filter((line) => line !== "").map((line) => line.split("\t"))

test("checkpoint ls, show and rm work on what a program has saved", async () => {
  await using work = await Workplace.make()
  await using store = await open(`file:${work.at("holdfast-data")}`)
  const checkpoints = new CheckpointStore(store)
  const first = await checkpoints.save("t", { n: 1 }, { metadata: { step: 1 } })
  const second = await checkpoints.save("t", { n: 2 }, { parent: first })
  const other = await checkpoints.save("u", { n: 3 })
  const listed = rows((await work.run("checkpoint", "ls")).out)
  expect(listed.map(([, , thread, id]) => [thread, id])).toEqual([["t", second], ["t", first], ["u", other]])
  for (const [time, size] of listed) {
    expect(time).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/)
    expect(Number(size)).toBeGreaterThan(50)
  }
  const json = (await work.run("checkpoint", "ls", "u", "--json")).out
  expect(JSON.parse(json)).toMatchObject({ thread: "u", id: other, key: `checkpoints/u/${other}.json` })
  expect(JSON.parse((await work.run("checkpoint", "show", "t")).out)).toMatchObject({ id: second, parent: first })
  const shown = await work.run("checkpoint", "show", "t", first, "--json")
  expect(shown).toMatchObject({ code: 0, err: "" })
  expect(JSON.parse(shown.out)).toEqual({
    thread: "t",
    id: first,
    state: { n: 1 },
    metadata: { step: 1 },
    timestamp: expect.stringMatching(/^2/),
    other: {},
  })
  expect(await work.run("checkpoint", "show", "nobody")).toMatchObject({ code: 1, out: "" })
  for (const wrong of [["rm", "t"], ["rm", "t", first, "--all"]]) {
    expect(await work.run("checkpoint", ...wrong)).toMatchObject({ code: 2, out: "" })
  }
  expect(JSON.parse((await work.run("checkpoint", "rm", "t", second, "--json")).out)).toEqual({
    thread: "t",
    id: second,
    removed: true,
  })
  expect((await checkpoints.load("t")).id).toBe(first)
  expect(await work.run("checkpoint", "rm", "t", "--all")).toMatchObject({ code: 0, out: "", err: "" })
  expect(await checkpoints.find("t")).toBeUndefined()
  await store.save("mine/v/a.json", JSON.stringify({ version: "a", state: 1, timestamp: "" }), { compression: "none" })
  expect(JSON.parse((await work.run("checkpoint", "show", "v", "--prefix", "mine/")).out)).toMatchObject({ state: 1 })
  await store.save("mine/v/a.json", "{")
  expect(await work.run("checkpoint", "show", "v", "a", "--prefix", "mine/")).toMatchObject({ code: 6, out: "" })
  expect(await work.run("checkpoint", "versions", "u", other)).toMatchObject({ code: 2 })
}, patience)

test("checkpoint versions, show --version-id and url work on a bucket that keeps versions", async () => {
  await using bucket = await openBucket({ versioned: true })
  await using work = await Workplace.make({ ...bucket.env, HOLDFAST_STORE: bucket.store })
  await using checkpointer = new S3Checkpointer(
    { bucket_name: "test", endpoint_url: bucket.endpoint, force_path_style: true },
    { ...peerCredentials, profile: "aws" },
  )
  const id = await checkpointer.saveCheckpoint("t", { n: 1 })
  await checkpointer.replaceCheckpoint("t", id, { n: 2 })
  const versions = rows((await work.run("checkpoint", "versions", "t", id)).out)
  expect(versions.map(([, , latest]) => latest)).toEqual(["latest", "-"])
  const old = await work.run("checkpoint", "show", "t", id, "--version-id", versions[1]![3]!)
  expect(JSON.parse(old.out).state).toEqual({ n: 1 })
  const { out } = await work.run("checkpoint", "url", "t", id, "--expires", "10m")
  expect(out).toContain("X-Amz-Expires=600")
  const body = (await fetch(out.trim())).body!.pipeThrough(new DecompressionStream("gzip"))
  expect((await new Response(body).json()).state).toEqual({ n: 2 })
}, patience)
