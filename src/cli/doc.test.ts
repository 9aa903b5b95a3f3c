import { expect, test } from "bun:test"
import { chmod, readdir, readFile, writeFile } from "node:fs/promises"
import { openBucket, patience, Workplace } from "./testing.ts"

test("a document is created, shown, listed and removed", async () => {
  await using work = await Workplace.make()
  const made = await work.feed(`{"title":"My Document"}`, "doc", "create")
  expect(made).toMatchObject({ code: 0, err: "" })
  const address = made.out.trim()
  const [id = "", version = ""] = address.split(":")
  for (const name of [address, id]) {
    const { code, out } = await work.run("doc", "show", name)
    expect(code).toBe(0)
    expect(JSON.parse(out)).toMatchObject({ title: "My Document", jacsId: id, jacsVersion: version })
  }
  const listed = await work.run("doc", "ls", "--json")
  expect(JSON.parse(listed.out)).toMatchObject({ id, versions: 1 })
  expect((await work.run("doc", "ls")).out).toMatch(new RegExp(`^[^\\t]+Z\\t1\\t${id}\\n$`))
  expect((await work.run("doc", "versions", id)).out).toMatch(new RegExp(`^[^\\t]+Z\\t\\d+\\t${address}\\n$`))
  expect(await work.run("doc", "rm", address)).toMatchObject({ code: 0, out: "", err: "" })
  expect(await work.run("doc", "ls")).toMatchObject({ code: 0, out: "" })
  const gone = await work.run("doc", "show", address, "--json")
  expect({ code: gone.code, out: gone.out }).toEqual({ code: 1, out: "" })
  expect(JSON.parse(gone.err)).toMatchObject({ error: { code: "NotFound" } })
  expect((await work.run("doc", "show", "../x")).code).toBe(2)
  expect((await work.feed("[1]", "doc", "create")).code).toBe(2)
  expect((await work.feed("{", "doc", "create")).code).toBe(2)
}, patience)

test(
  "rows 228, 229: an export has the name of its day, and is imported elsewhere; a damaged one is refused",
  async () => {
    await using work = await Workplace.make()
    await work.feed(`{"n":1}`, "doc", "create")
    await work.feed(`{"name":"scribe"}`, "doc", "create", "--agents")
    const before = new Date()
    const exported = await work.run("doc", "export")
    const days = [before, new Date()].map((day) =>
      [day.getFullYear(), day.getMonth() + 1, day.getDate()].map((part) => String(part).padStart(2, "0")).join("")
    )
    expect(days.map((day) => `jacs_backup_${day}.tar.gz\n`)).toContain(exported.out)
    const name = exported.out.trim()
    const imported = await work.run("doc", "import", name, "--store", "file:./other")
    expect(imported).toMatchObject({ code: 0, out: "documents\t1\t0\nagents\t1\t0\nfiles\t0\t0\nothers\t0\t0\n" })
    const again = await work.run("doc", "import", name, "--store", "file:./other", "--json")
    expect(JSON.parse(again.out)).toMatchObject({ documents: { copied: 0, present: 1 }, failed: [] })
    const archive = await readFile(work.at(name))
    await writeFile(work.at("cut.tar.gz"), archive.subarray(0, archive.length - 10))
    expect((await work.run("doc", "import", "cut.tar.gz", "--store", "file:./third")).code).toBe(6)
    const piped = await work.shell(`$holdfast doc export - | $holdfast doc import --store file:./fourth`)
    expect(piped.out).toContain("documents\t1\t0")
  },
  patience,
)

test(
  "row 227: all documents go to a bucket; the source is untouched, and doing it again copies nothing",
  async () => {
    await using bucket = await openBucket()
    await using work = await Workplace.make(bucket.env)
    for (const n of [1, 2, 3]) await work.feed(`{"n":${n}}`, "doc", "create")
    const before = (await readdir(work.at("holdfast-data"), { recursive: true })).toSorted()
    const copied = await work.run("doc", "cp", "--to-store", bucket.store)
    expect(copied).toMatchObject({ code: 0, out: "documents\t3\t0\nagents\t0\t0\nfiles\t0\t0\nothers\t0\t0\n" })
    expect((await work.run("doc", "cp", "--to-store", bucket.store)).out).toContain("documents\t0\t3\n")
    expect((await readdir(work.at("holdfast-data"), { recursive: true })).toSorted()).toEqual(before)
    expect(await work.run("doc", "audit", "--store", bucket.store)).toMatchObject({ code: 0, out: "" })
    const itself = await work.run("doc", "cp", "--to-store", "file:./x", "--store", "file:./x")
    expect(itself.code).toBe(2)
  },
  patience,
)

test(
  "row 256: several processes share one bucket",
  async () => {
    await using bucket = await openBucket()
    await using work = await Workplace.make(bucket.env)
    const made = await Promise.all(
      [1, 2, 3].map((n) => work.feed(`{"n":${n}}`, "doc", "create", "--store", bucket.store)),
    )
    const ids = made.map(({ out }) => out.split(":")[0])
    const { out } = await work.run("doc", "ls", "--json", "--store", bucket.store)
    expect(out.trim().split("\n").map((line) => JSON.parse(line).id).toSorted()).toEqual(ids.toSorted())
  },
  patience,
)

test("rows 39, 219: an audit tells what is damaged, and what others may look into", async () => {
  await using work = await Workplace.make()
  const [id, version] = (await work.feed(`{"n":1}`, "doc", "create")).out.trim().split(":")
  expect(await work.run("doc", "audit")).toMatchObject({ code: 0, out: "", err: "" })
  const folder = `holdfast-data/documents/${id}`
  await chmod(work.at(folder), 0o755)
  const loose = await work.run("doc", "audit")
  expect([loose.code, loose.out]).toEqual([5, `mode 755\t./${folder}\tchmod 700\n`])
  const text = await readFile(work.at(`${folder}/${version}.json`), "utf8")
  // Saved, so that only the document itself can tell.
  await work.feed(text.replace(`"n":1`, `"n":2`), "save", `documents/${id}/${version}.json`, "--compression", "none")
  const damaged = await work.run("doc", "audit", "--json")
  expect(damaged.code).toBe(6)
  const problems = damaged.out.trim().split("\n").map((line) => JSON.parse(line))
  expect(problems).toMatchObject([
    { code: "Corrupt", key: `documents/${id}/${version}.json` },
    { code: "Mode", mode: "755", expected: "700" },
  ])
}, patience)
