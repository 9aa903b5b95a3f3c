import { expect, test } from "bun:test"
import { readFile, writeFile } from "node:fs/promises"
import { openBucket, type Outcome, patience, Workplace } from "./testing.ts"

const lines = (text: string): Array<string> => text.split("\n").filter((line) => line !== "")

const expectFailure = ({ code, out, err }: Outcome, expected: number, words: string): void => {
  expect({ code, out }).toEqual({ code: expected, out: "" })
  expect(err).toContain(words)
}

test("rows 105, 106, 107, 108: snapshot save, show, restore, verify and rm are what they say", async () => {
  await using work = await Workplace.make()
  const state = '{"b":1.0,"a":["é",18446744073709551615]}'
  const normal = '{"a":["é",18446744073709551615],"b":1.0}'
  const flags = ["--agent-id", "bot", "--session-id", "s1", "--index", "3", "--description", "after training"]
  expect(await work.feed(state, "snapshot", "save", "a/1.json.gz", ...flags)).toMatchObject({
    code: 0,
    out: "",
    err: "",
  })
  const shown = await work.run("snapshot", "show", "a/1.json.gz")
  expect(shown.out).toMatch(/^agent {8}bot$/m)
  expect(shown.out).toMatch(/^description {2}after training$/m)
  const { metadata, etag } = JSON.parse((await work.run("snapshot", "show", "a/1.json.gz", "--json")).out)
  expect(metadata).toMatchObject({ agent_id: "bot", session_id: "s1", snapshot_index: 3 })
  expect((await work.run("snapshot", "restore", "a/1.json.gz")).out).toBe(normal)
  expect(await work.run("snapshot", "restore", "a/1.json.gz", "state.json")).toMatchObject({ code: 0, out: "" })
  expect(await readFile(work.at("state.json"), "utf8")).toBe(normal)
  expect((await work.run("snapshot", "verify", "a/1.json.gz")).out).toBe(`ok  a/1.json.gz  ${metadata.content_hash}\n`)

  await writeFile(work.at("next.json"), '{"step": 2}')
  expectFailure(await work.run("snapshot", "save", "a/1.json.gz", "next.json", "--if-match", "other"), 4, "Cannot save")
  const saved = await work.run("snapshot", "save", "a/1.json.gz", "next.json", "--if-match", etag, "--json")
  expect(JSON.parse(saved.out).metadata.uncompressed_size).toBe(10)
  expect((await work.shell("zcat holdfast-data/a/1.json.gz")).out).toContain('"agent_state":{"step":2}}')
  expectFailure(await work.feed("{", "snapshot", "save", "a/1.json.gz"), 2, "ends in the middle")

  expect(await work.run("snapshot", "rm", "a/1.json.gz", "a/gone", "--json")).toMatchObject({
    code: 0,
    out: '{"path":"a/1.json.gz","removed":true}\n{"path":"a/gone","removed":true}\n',
  })
  expectFailure(await work.run("snapshot", "restore", "a/1.json.gz"), 1, "there is no such object")
  expectFailure(await work.run("snapshot", "verify"), 2, "PATH")
}, patience)

test("snapshot ls lists what there is; what is no snapshot is a line, and an error of verify", async () => {
  await using work = await Workplace.make()
  await work.feed("[1]", "snapshot", "save", "in/a", "--agent-id", "first")
  await work.feed("[2]", "snapshot", "save", "in/b", "--compression", "store")
  await work.feed("hello", "save", "in/text")
  await work.feed("[3]", "snapshot", "save", "out")
  const rows = lines((await work.run("snapshot", "ls", "in/")).out).map((line) => line.split("\t").slice(2))
  expect(rows.slice(0, 2)).toEqual([["first", "default_session", "0", "in/a"], [
    "default_agent",
    "default_session",
    "0",
    "in/b",
  ]])
  expect(rows[2]!.slice(0, 4)).toEqual(["-", "-", "-", "in/text"])
  expect(rows[2]![4]).toContain("no snapshot")
  const json = lines((await work.run("snapshot", "ls", "--json")).out).map((line) => JSON.parse(line))
  expect(json.map(({ path }) => path)).toEqual(["in/a", "in/b", "in/text", "out"])
  expect(json[2].error.code).toBe("Corrupt")
  const checked = await work.run("snapshot", "verify", "in/a", "in/text", "in/b")
  expect(checked.code).toBe(6)
  expect(lines(checked.out)).toHaveLength(2)
}, patience)

test("rows 32, 119: with --key-file what is stored is encrypted, and without it an error of its own", async () => {
  await using work = await Workplace.make()
  await work.shell("head -c 32 /dev/urandom > key; head -c 32 /dev/urandom > other")
  await work.feed('"secret words"', "snapshot", "save", "a", "--key-file", "key", "--agent-id", "hidden")
  expect(await readFile(work.at("holdfast-data/a"), "latin1")).not.toMatch(/hidden|secret words/)
  expect((await work.run("snapshot", "restore", "a", "--key-file", "key")).out).toBe('"secret words"')
  expectFailure(await work.run("snapshot", "restore", "a"), 3, "encrypted")
  expectFailure(await work.run("snapshot", "show", "a", "--key-file", "other"), 3, "another key")
}, patience)

test("row 120: snapshot health says in a word what is wrong, and exits like its error", async () => {
  await using bucket = await openBucket()
  await using work = await Workplace.make(bucket.env)
  const health = (store: string, env: Record<string, string> = {}) =>
    work.shell(`$holdfast snapshot health --store '${store}'`, env)
  expect(await health(bucket.store)).toMatchObject({ code: 0, out: "ok\n" })
  expect(await health(bucket.store, { AWS_SECRET_ACCESS_KEY: "wrong" })).toMatchObject({
    code: 3,
    out: "credentials\n",
  })
  expect(await health(bucket.store.replace("//test", "//gone"))).toMatchObject({ code: 2, out: "bucket\n" })
  const json = await work.run("snapshot", "health", "--json")
  expect(json).toMatchObject({ code: 0, out: '{"status":"ok"}\n' })
}, patience)
