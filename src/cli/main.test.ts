import { expect, test } from "bun:test"
import { chmod, mkdir, readdir, readFile, stat, symlink, writeFile } from "node:fs/promises"
import process from "node:process"
import { allReasons } from "../error.ts"
import { type Outcome, outcome, patience, Workplace } from "./testing.ts"

const lines = (text: string): Array<string> => text.split("\n").filter((line) => line !== "")

/** A failed run says one thing, on stderr, with a hint. */
const expectFailure = (outcome: Outcome, code: number, message: string | RegExp): void => {
  expect({ code: outcome.code, out: outcome.out }).toEqual({ code, out: "" })
  expect(outcome.err).toMatch(message)
  expect(outcome.err).toMatch(/^holdfast: .+\nhint: .+\n$/)
}

test("save and load carry every byte, through pipes and files", async () => {
  await using work = await Workplace.make()
  const bytes = crypto.getRandomValues(new Uint8Array(60_000))
  expect(await work.feed(bytes, "save", "a/b")).toMatchObject({ code: 0, out: "", err: "" })
  expect((await work.run("load", "a/b")).stdout).toEqual(bytes)
  expect((await work.run("load", "a/b", "-", "--offset", "10", "--length", "1kB")).stdout).toEqual(
    bytes.slice(10, 1010),
  )
  await writeFile(work.at("-dash"), bytes)
  expect(await work.run("save", "c", "./-dash")).toMatchObject({ code: 0, out: "", err: "" })
  expect(await work.run("load", "c", "copy.bin")).toMatchObject({ code: 0, out: "", err: "" })
  expect(new Uint8Array(await readFile(work.at("copy.bin")))).toEqual(bytes)
  expect((await stat(work.at("copy.bin"))).mode & 0o777).toBe(0o666 & ~process.umask())
  expect((await readdir(work.path)).toSorted()).toEqual(["-dash", "copy.bin", "holdfast-data"])
}, patience)

test("save stores what its flags say, and --json prints the object's facts", async () => {
  await using work = await Workplace.make()
  const flags = [
    "--compression",
    "none",
    "--content-type",
    "text/plain",
    "--metadata",
    "a=1",
    "--metadata",
    "b=x=y",
    "--digest",
    "sha256",
  ]
  const saved = await work.feed("hello", "save", "k", "--json", ...flags)
  expect(saved).toMatchObject({ code: 0, err: "" })
  expect(lines(saved.out)).toHaveLength(1)
  const info = JSON.parse(saved.out)
  expect(info).toMatchObject({
    key: "k",
    size: 5,
    length: 5,
    contentType: "text/plain",
    metadata: { a: "1", b: "x=y" },
    sha256: "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824",
  })
  expect(JSON.parse((await work.run("stat", "k", "--json")).out)).toEqual(info)
  expect((await work.run("stat", "k")).out).toBe(
    [
      "key       k",
      "size      5",
      `modified  ${info.modified}`,
      `etag      ${info.etag}`,
      "type      text/plain",
      "crc32     3610a686",
      `sha256    ${info.sha256}`,
      "metadata  a=1",
      "metadata  b=x=y",
      "",
    ].join("\n"),
  )
}, patience)

test("conditions decide who wins, with exit code 4", async () => {
  await using work = await Workplace.make()
  const { etag } = JSON.parse((await work.feed("1", "save", "k", "--if-none-match", "--json")).out)
  expectFailure(await work.feed("2", "save", "k", "--if-none-match"), 4, "there is one already")
  expectFailure(await work.feed("2", "save", "k", "--if-match", "other"), 4, "ifMatch")
  expect((await work.feed("2", "save", "k", "--if-match", etag)).code).toBe(0)
  expectFailure(await work.run("load", "k", "--if-match", etag), 4, "ifMatch")
  expectFailure(await work.run("rm", "k", "--if-match", etag), 4, "ifMatch")
  expect((await work.feed("3", "save", "l")).code).toBe(0)
  expectFailure(await work.run("cp", "k", "l", "--if-none-match"), 4, "there is one already")
  expectFailure(await work.run("mv", "k", "l", "--if-match", etag), 4, "ifMatch")
  expect((await work.run("load", "k")).out + (await work.run("load", "l")).out).toBe("23")
}, patience)

test("ls prints columns that cut understands, folds folders, and prints JSON", async () => {
  await using work = await Workplace.make()
  expect(await work.run("ls")).toMatchObject({ code: 0, out: "", err: "" })
  expect(await readdir(work.path)).toEqual([])
  for (const key of ["runs/2", "runs/1", "a key", "runs2"]) {
    expect((await work.feed("hello", "save", key, "--compression", "none")).code).toBe(0)
  }
  const { out } = await work.run("ls")
  expect(lines(out).map((line) => line.split("\t")[2])).toEqual(["a key", "runs/1", "runs/2", "runs2"])
  for (const line of lines(out)) expect(line).toMatch(/^ {14}5\t\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\t/)
  expect(lines((await work.run("ls", "runs/")).out)).toHaveLength(2)
  expect(lines((await work.run("ls", "--folders")).out).map((line) => line.split("\t")[2])).toEqual([
    "a key",
    "runs/",
    "runs2",
  ])
  const json = lines((await work.run("ls", "--folders", "--json")).out).map((line) => JSON.parse(line))
  expect(json).toMatchObject([{ key: "a key", size: 5 }, { prefix: "runs/" }, { key: "runs2", size: 5 }])
}, patience)

test("cp and mv keep bytes and metadata", async () => {
  await using work = await Workplace.make()
  await work.feed("hello", "save", "a", "--metadata", "x=1")
  expect(await work.run("cp", "a", "b")).toMatchObject({ code: 0, out: "", err: "" })
  const moved = await work.run("mv", "a", "c", "--json")
  expect(JSON.parse(moved.out)).toMatchObject({ key: "c", length: 5, codec: "zstd", metadata: { x: "1" } })
  expect((await work.run("load", "c")).out).toBe("hello")
  expect((await work.run("ls")).out.replaceAll(/.*\t/g, "")).toBe("b\nc\n")
  expectFailure(await work.run("cp", "a", "d"), 1, "there is no such object")
  expectFailure(await work.run("mv", "b", "b"), 2, "the same key")
}, patience)

test("rm removes what is named, and never a store by an empty variable", async () => {
  await using work = await Workplace.make()
  const { etag } = JSON.parse((await work.feed("", "save", "a", "--json")).out)
  for (const key of ["b", "c/1", "c/2", "cc"]) await work.feed("", "save", key)
  expect(await work.run("rm", "a", "--if-match", etag)).toMatchObject({ code: 0, out: "", err: "" })
  const two = await work.run("rm", "b", "missing", "--json")
  expect(two.out).toBe('{"key":"b","removed":true}\n{"key":"missing","removed":true}\n')
  expectFailure(await work.run("rm"), 2, "No KEY")
  expectFailure(await work.run("rm", "-r"), 2, "No KEY")
  expectFailure(await work.run("rm", "-r", ""), 2, "the whole store")
  expectFailure(await work.run("rm", "-r", "c"), 2, 'write "c/"')
  expectFailure(await work.run("rm", "--all"), 2, "only for --recursive")
  expectFailure(await work.run("rm", "-r", "--all", "c/"), 2, "only for --recursive")
  expectFailure(await work.run("rm", "x", "y", "--if-match", "e"), 2, "exactly one")
  expect(await work.run("rm", "-r", "c/")).toMatchObject({ code: 0, out: "", err: "" })
  expect((await work.run("ls")).out).toMatch(/\tcc\n$/)
  expect(await work.run("rm", "-r", "--all")).toMatchObject({ code: 0, out: "", err: "" })
  expect((await work.run("ls")).out).toBe("")
}, patience)

test("a missing object is exit code 1, and --json tells it in one line", async () => {
  await using work = await Workplace.make()
  for (const verb of ["load", "stat"]) expectFailure(await work.run(verb, "gone"), 1, "there is no such object")
  const { code, out, err } = await work.run("stat", "gone", "--json")
  expect({ code, out }).toEqual({ code: 1, out: "" })
  expect(lines(err)).toHaveLength(1)
  const { error } = JSON.parse(err)
  expect(error).toMatchObject({ code: "NotFound", key: "gone", operation: "stat", transient: false })
  expect(allReasons).toContain(error.code)
  expect(error.hint).not.toBe("")
}, patience)

test("what cannot be asked of a store is exit code 2, before the input is read", async () => {
  await using work = await Workplace.make()
  // Nothing is ever written to this stdin, and it stays open.
  const waiting = async (...args: ReadonlyArray<string>): Promise<Outcome> => {
    const child = work.start(...args)
    const done = await outcome(child)
    child.stdin.destroy()
    return done
  }
  expectFailure(await waiting("save", "a/../b"), 2, "segment")
  expectFailure(await waiting("save", ""), 2, "the key is empty")
  expectFailure(await waiting("save", "k", "--content-type", "nonsense"), 2, "contentType")
  expectFailure(await waiting("save", "k", "--metadata", "Bad=1"), 2, "lower-case")
  expectFailure(await waiting("save", "k", "--concurrency", "0"), 2, "concurrency")
  expectFailure(await waiting("save", "k", "--if-none-match", "--if-match", "x"), 2, "exclude each other")
  expectFailure(await waiting("save", "k", "--store", "ftp://host"), 2, "not known")
  expectFailure(await waiting("save", "k", "--store", "plain/path"), 2, "no scheme")
  expectFailure(await waiting("save", "k", "--store", ""), 2, "empty")
  expectFailure(await waiting("save", "k", "nowhere.bin"), 2, "there is no such file")
  expectFailure(await waiting("save", "k", "."), 2, "it is a folder")
  await work.feed("hello", "save", "k")
  expectFailure(await work.run("load", "k", "--offset", "6"), 2, "range")
  expectFailure(await work.run("load", "k", "."), 2, "it is a folder")
  expectFailure(await work.run("load", "k", "no/such/folder"), 2, "there is no such file or folder")
}, patience)

test("a load that fails leaves the file and nothing else", async () => {
  await using work = await Workplace.make()
  await work.feed("hello", "save", "k")
  await writeFile(work.at("file"), "before")
  await chmod(work.at("file"), 0o600)
  await symlink("file", work.at("link"))
  await writeFile(work.at("holdfast-data/k"), "HELLO")
  expectFailure(await work.run("load", "k", "file"), 6, /Corrupt|CRC-32|changed outside/)
  expect(await readFile(work.at("file"), "utf8")).toBe("before")
  expect((await readdir(work.path)).toSorted()).toEqual(["file", "holdfast-data", "link"])
  // A good one replaces what the link points to, and keeps its permissions.
  await work.feed("after", "save", "k")
  expect((await work.run("load", "k", "link")).code).toBe(0)
  expect(await readFile(work.at("file"), "utf8")).toBe("after")
  expect((await stat(work.at("file"))).mode & 0o777).toBe(0o600)
  await mkdir(work.at("sub"))
  expect((await work.run("load", "k", "/dev/null")).code).toBe(0)
  expect((await stat("/dev/null")).isCharacterDevice()).toBe(true)
}, patience)

test("save refuses a source that is not what was expected", async () => {
  await using work = await Workplace.make()
  const sha256 = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
  expectFailure(await work.feed("hell", "save", "k", "--expect-size", "5"), 6, "ended after 4 of 5 bytes")
  expectFailure(await work.feed("hello!", "save", "k", "--expect-size", "5"), 2, "more than the 5 bytes")
  expectFailure(await work.feed("hell", "save", "k", "--expect-sha256", sha256), 6, "SHA-256")
  expect((await work.run("ls")).out).toBe("")
  const size = await work.feed("hello", "save", "k", "--expect-size", "5", "--expect-sha256", sha256.toUpperCase())
  expect(size).toMatchObject({ code: 0, err: "" })
  // The way it happens: the producer is killed, and its pipe ends like that of any other.
  const pipeline = 'sh -c "echo half; kill -9 \\$\\$; echo other half" | $holdfast save k2 --expect-size 16'
  expect(await work.shell(pipeline)).toMatchObject({ code: 6, out: "" })
}, patience)

test("a key may look like a flag behind --, and files made up by the kernel are saved", async () => {
  await using work = await Workplace.make()
  expect((await work.feed("x", "save", "--", "-k")).code).toBe(0)
  expect((await work.run("load", "--", "-k")).out).toBe("x")
  expect((await work.run("save", "cpu", "/proc/version")).code).toBe(0)
  expect((await work.run("load", "cpu")).out).toBe(await readFile("/proc/version", "utf8"))
  expect((await work.shell("$holdfast save pipe <(echo from a pipe) && $holdfast load pipe")).out).toBe(
    "from a pipe\n",
  )
}, patience)

test("--store beats HOLDFAST_STORE, which beats ./holdfast-data; the flags may stand before the verb", async () => {
  await using work = await Workplace.make()
  const store = { HOLDFAST_STORE: "file:./other" }
  expect((await work.shell("echo x | $holdfast save k && $holdfast ls", store)).out).toMatch(/\tk\n$/)
  expect(await readdir(work.path)).toEqual(["other"])
  expect((await work.shell("$holdfast --store file:third ls k", store)).out).toBe("")
  expect((await work.shell("$holdfast ls --store file:./other", { HOLDFAST_STORE: "mem:" })).out).toMatch(/\tk\n$/)
  expect((await work.shell("echo x | $holdfast -q --store mem: save k; $holdfast ls")).out).toBe("")
}, patience)
