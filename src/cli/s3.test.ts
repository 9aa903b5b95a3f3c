import { expect, test } from "bun:test"
import { writeFile } from "node:fs/promises"
import { gunzipSync } from "node:zlib"
import * as Effect from "effect/Effect"
import { make } from "../backends/disk/mod.ts"
import { openBucket, type Outcome, patience, Workplace } from "./testing.ts"

const lines = (text: string): Array<string> => text.split("\n").filter((line) => line !== "")

const done = { code: 0, err: "" }

/** A failed run says one thing, on stderr, with a hint. */
const expectFailure = (outcome: Outcome, code: number, ...words: ReadonlyArray<string>): void => {
  expect({ code: outcome.code, out: outcome.out }).toEqual({ code, out: "" })
  expect(outcome.err).toMatch(/^holdfast: .+\nhint: .+\n$/)
  for (const word of words) expect(outcome.err).toContain(word)
}

test("save, load, stat, ls, verify and rm work on a bucket", async () => {
  await using bucket = await openBucket()
  await using work = await Workplace.make({ ...bucket.env, HOLDFAST_STORE: bucket.store })
  expect(await work.feed("hello", "save", "runs/1", "--tag", "team=a", "--storage-class", "STANDARD_IA")).toMatchObject(
    done,
  )
  expect(await work.run("load", "runs/1")).toMatchObject({ ...done, out: "hello" })
  expect((await work.run("stat", "runs/1")).out).toMatch(/class +STANDARD_IA\n/)
  expect((await work.run("ls", "runs/")).out).toMatch(/\truns\/1\n$/)
  expect((await work.run("verify", "--all")).out).toMatch(/^ok {2}runs\/1/)
  expect(bucket.peer.object("test", "runs/1")?.headers).toMatchObject({ "content-type": "application/octet-stream" })
  const sent = bucket.peer.requests.find(({ operation }) => operation === "PutObject")
  expect(sent?.headers).toContainEqual(["x-amz-tagging", "team=a"])
  expect(await work.run("rm", "runs/1")).toMatchObject(done)
  expectFailure(await work.run("load", "runs/1"), 1, "there is no such object")
}, patience)

test("fault 132: presign prints a URL that works without credentials, and the headers that it needs", async () => {
  await using bucket = await openBucket()
  await using work = await Workplace.make({ ...bucket.env, HOLDFAST_STORE: bucket.store })
  await work.feed("hello", "save", "k", "--compression", "none")
  const { code, out } = await work.run("presign", "k", "--expires", "10m")
  expect({ code, lines: lines(out).length }).toEqual({ code: 0, lines: 1 })
  expect(await (await fetch(out.trim())).text()).toBe("hello")
  expect(out).toContain("X-Amz-Expires=600")
  const put = JSON.parse(
    (await work.run("presign", "new", "--method", "PUT", "--content-type", "text/x", "--json")).out,
  )
  expect(put.headers).toEqual({ "content-type": "text/x" })
  expect(new Date(put.expires).getTime()).toBeGreaterThan(Date.now())
  const saved = await fetch(put.url, { method: "PUT", headers: put.headers, body: "new" })
  expect([saved.status, await saved.text()]).toEqual([200, ""])
  expect((await work.run("load", "new")).out).toBe("new")
  const asked = await work.run("presign", "new", "--method", "PUT", "--content-type", "text/x")
  expect(asked.err).toBe("the request must carry this header: content-type: text/x\n")
  expectFailure(await work.run("presign", "k", "--expires", "8d"), 2, "expires")
  expectFailure(await work.run("presign", "k", "--store", "file:./d"), 2, "presign")
}, patience)

test("versions lists them with the marks of removals, and restore brings one back", async () => {
  await using bucket = await openBucket({ versioned: true })
  await using work = await Workplace.make({ ...bucket.env, HOLDFAST_STORE: bucket.store })
  await work.feed("first", "save", "a", "--compression", "none")
  await work.feed("second!", "save", "a", "--compression", "none")
  await work.run("rm", "a")
  const { out } = await work.run("versions")
  const rows = lines(out).map((line) => line.split("\t"))
  expect(rows.map(([size, , , latest, key]) => [size!.trim(), latest, key])).toEqual([
    ["removed", "latest", "a"],
    ["7", "-", "a"],
    ["5", "-", "a"],
  ])
  for (const row of rows) expect(row[1]).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/)
  const first = rows[2]![2]!
  expect((await work.run("load", "a", "--version-id", first)).out).toBe("first")
  expect(JSON.parse((await work.run("stat", "a", "--version-id", first, "--json")).out)).toMatchObject({ size: 5 })
  expect((await work.run("verify", "a", "--version-id", first)).out).toMatch(/^ok {2}a/)
  expectFailure(await work.run("load", "a"), 1, "no such object")
  expect(await work.run("restore", "a", first)).toMatchObject(done)
  expect((await work.run("load", "a")).out).toBe("first")
  expect(await work.run("rm", "a", "--version-id", rows[1]![2]!)).toMatchObject(done)
  const json = lines((await work.run("versions", "a", "--json")).out).map((line) => JSON.parse(line))
  expect(json.map(({ size, latest, removed }) => [size, latest, removed])).toEqual([
    [5, true, false],
    [0, false, true],
    [5, false, false],
  ])
  expectFailure(await work.run("versions", "--store", "file:./d"), 2, "versions")
  expectFailure(await work.run("rm", "a", "b", "--version-id", first), 2, "exactly one")
  expectFailure(await work.run("verify", "--all", "--version-id", first), 2, "exactly one")
}, patience)

test("save asks for the encryption of its flags; a key comes from a file and is shown nowhere", async () => {
  await using bucket = await openBucket({ kmsKeys: ["key-1"] })
  await using work = await Workplace.make({ ...bucket.env, HOLDFAST_STORE: bucket.store })
  expect(await work.feed("a", "save", "kms", "--sse", "sse-kms", "--kms-key-id", "key-1")).toMatchObject(done)
  expect((await work.run("stat", "kms")).out).toMatch(/encrypted +sse-kms key-1\n/)
  expect(await work.feed("a", "save", "s3", "--sse", "sse-s3")).toMatchObject(done)
  for (const from of [[], ["--from-store", "file:./d", "--to-store", bucket.store]]) {
    await work.feed("b", "save", "kms", "--store", "file:./d")
    expect(await work.run("cp", "kms", "copy", "--sse", "sse-kms", "--kms-key-id", "key-1", ...from)).toMatchObject(
      done,
    )
    expect((await work.run("stat", "copy")).out).toMatch(/encrypted +sse-kms key-1\n/)
  }
  expectFailure(await work.feed("a", "save", "x", "--sse", "sse-kms", "--kms-key-id", "gone"), 2, "keyId")
  expectFailure(await work.feed("a", "save", "x", "--kms-key-id", "key-1"), 2, "--sse sse-kms")
  expectFailure(await work.feed("a", "save", "x", "--sse", "sse-s3", "--store", "file:./d"), 2, "sse-s3")

  const key = crypto.getRandomValues(new Uint8Array(32))
  await writeFile(work.at("key"), key)
  await writeFile(work.at("key.b64"), `${Buffer.from(key).toString("base64")}\n`)
  await writeFile(work.at("short"), "not a key: hush")
  expect(await work.feed("secret", "save", "c", "--sse-c-key-file", "key")).toMatchObject(done)
  expect((await work.run("load", "c", "--sse-c-key-file", "key.b64")).out).toBe("secret")
  expect((await work.run("stat", "c", "--sse-c-key-file", "key")).out).toMatch(/encrypted +sse-c\n/)
  expect((await work.run("verify", "c", "--sse-c-key-file", "key.b64")).out).toMatch(/^ok {2}c/)
  expectFailure(await work.run("load", "c"), 2, "customerKey")
  const short = await work.feed("secret", "save", "c", "--sse-c-key-file", "short")
  expectFailure(short, 2, "32 bytes")
  expect(short.err).not.toContain("hush")
  expectFailure(await work.feed("x", "save", "c", "--sse-c-key-file", "nowhere"), 2, "no such file")
  expectFailure(await work.feed("x", "save", "c", "--sse", "sse-s3", "--sse-c-key-file", "key"), 2, "exclude")
}, patience)

test("cp and mv carry stored bytes, metadata and type between stores", async () => {
  await using bucket = await openBucket({ minPartSize: 1000 })
  await using work = await Workplace.make(bucket.env)
  const text = "holdfast ".repeat(20_000)
  await work.feed(text, "save", "runs/a", "--metadata", "x=1", "--content-type", "text/plain", "--compression", "gzip")
  const there = ["--to-store", bucket.store]
  const copied = await work.run("cp", "runs/a", "b/a", ...there, "--json")
  expect(copied).toMatchObject(done)
  const info = JSON.parse((await work.run("stat", "runs/a", "--json")).out)
  const { key: _key, etag: _etag, modified: _modified, writeId: _writeId, ...facts } = info
  expect(JSON.parse(copied.out)).toMatchObject({ ...facts, key: "b/a" })
  expect(gunzipSync(bucket.peer.object("test", "b/a")!.bytes).toString()).toBe(text)
  expectFailure(await work.run("cp", "runs/a", "b/a", ...there, "--if-none-match"), 4, "under another key")
  // A URL that holds the key, and back under another name.
  const url = bucket.store.replace("?", "/b/a?")
  expect(await work.run("cp", url, "back")).toMatchObject(done)
  expect((await work.run("load", "back")).out).toBe(text)
  expect(JSON.parse((await work.run("stat", "back", "--json")).out)).toMatchObject({
    metadata: { x: "1" },
    contentType: "text/plain",
    codec: "gzip",
    length: text.length,
    sha256: info.sha256,
  })
  expect(await work.run("mv", "b/a", "moved", "--from-store", bucket.store)).toMatchObject(done)
  expect(bucket.peer.object("test", "b/a")).toBeUndefined()
  expect((await work.run("load", "moved")).out).toBe(text)
  expectFailure(await work.run("cp", "gone", "x", ...there), 1, "no such object")
  expectFailure(await work.run("cp", "s3://", "x"), 2, "no bucket")
  // A key may look like a URL once a flag has named the store.
  expect(await work.run("cp", "back", "s3://odd", "--to-store", "file:./other")).toMatchObject(done)
  expect((await work.run("ls", "--store", "file:./other")).out).toMatch(/\ts3:\/\/odd\n$/)
}, patience)

test("cp and mv give the storage class of --storage-class, within a bucket and into one", async () => {
  await using bucket = await openBucket()
  await using work = await Workplace.make({ ...bucket.env, HOLDFAST_STORE: bucket.store })
  const local = ["--store", "file:./d"]
  await work.feed("a", "save", "runs/a", ...local)
  const ia = ["--storage-class", "STANDARD_IA"]
  const sent = (operation: string) => bucket.peer.requests.findLast((request) => request.operation === operation)
  const classOf = async (key: string) => JSON.parse((await work.run("stat", key, "--json")).out).storageClass

  const into = ["--from-store", "file:./d", "--to-store", bucket.store]
  expect(await work.run("cp", "runs/a", "runs/a", ...ia, ...into)).toMatchObject(done)
  expect(sent("PutObject")?.headers).toContainEqual(["x-amz-storage-class", "STANDARD_IA"])
  expect(await work.run("cp", "runs/a", "runs/b", "--storage-class", "GLACIER_IR")).toMatchObject(done)
  expect(sent("CopyObject")?.headers).toContainEqual(["x-amz-storage-class", "GLACIER_IR"])
  expect([await classOf("runs/a"), await classOf("runs/b")]).toEqual(["STANDARD_IA", "GLACIER_IR"])
  expect(await work.run("mv", "runs/b", "c", ...ia)).toMatchObject(done)
  expect(await work.run("cp", "-r", "runs/", "all/", "--storage-class", "ONEZONE_IA")).toMatchObject(done)
  expect(await work.run("cp", "-r", "runs/", "in/", ...ia, ...into)).toMatchObject(done)
  expect(await work.run("mv", "runs/a", "d", ...ia, ...into)).toMatchObject(done)
  const keys = ["c", "all/a", "in/a", "d"]
  expect(await Promise.all(keys.map(classOf))).toEqual(["STANDARD_IA", "ONEZONE_IA", "STANDARD_IA", "STANDARD_IA"])
  expect((await work.run("load", "d")).out).toBe("a")

  const back = ["--from-store", bucket.store, "--to-store", "file:./d"]
  expectFailure(await work.run("mv", "d", "e", ...ia, ...back), 2, "no storage classes")
  expectFailure(await work.run("cp", "d", "e", "--storage-class", "cold"), 2, "STANDARD_IA")
  expect((await work.run("load", "d")).out).toBe("a")
}, patience)

test("mv removes nothing when two URLs mean one object", async () => {
  await using work = await Workplace.make()
  await work.feed("hello", "save", "a")
  expectFailure(await work.run("mv", "a", "a", "--to-store", "file:holdfast-data"), 4, "both are kept")
  expect((await work.run("load", "a")).out).toBe("hello")
}, patience)

test("cp --recursive copies all below a prefix, and goes on where one object fails", async () => {
  await using bucket = await openBucket()
  await using work = await Workplace.make(bucket.env)
  for (const name of ["1", "2", "deep/3"]) await work.feed(name, "save", `runs/${name}`)
  await work.feed("x", "save", "runs2")
  const there = ["--to-store", bucket.store]
  const copied = await work.run("cp", "-r", "runs/", "", ...there, "--json")
  expect(copied).toMatchObject(done)
  expect(lines(copied.out).map((line) => JSON.parse(line).key).toSorted()).toEqual(["1", "2", "deep/3"])
  expect((await work.run("ls", "--store", bucket.store)).out.replaceAll(/.*\t/g, "")).toBe("1\n2\ndeep/3\n")
  await work.run("rm", "2", "--store", bucket.store)
  const again = await work.run("cp", "-r", "runs/", "", ...there, "--if-none-match")
  expect(again.code).toBe(4)
  expect(lines(again.err).filter((line) => line.startsWith("holdfast:"))).toHaveLength(2)
  expect(bucket.peer.object("test", "2")).toBeDefined()
  expect(await work.run("cp", "-r", "runs/", "copies/runs/")).toMatchObject(done)
  expect((await work.run("load", "copies/runs/deep/3")).out).toBe("deep/3")
  expectFailure(await work.run("cp", "-r", "runs", "x/"), 2, 'write "runs/"')
  expectFailure(await work.run("cp", "-r", "runs/", "runs/old/"), 2, "within FROM")
  expectFailure(await work.run("cp", "-r", "nothing/", "x/"), 1, "no object below")
  expectFailure(await work.run("cp", "-r", "runs/", "x/", "--if-match", "e"), 2, "--if-match")
}, patience)

test("uploads lists what is unfinished, and ends what is old enough", async () => {
  await using bucket = await openBucket({ anonymous: true })
  await using work = await Workplace.make({ ...bucket.env, HOLDFAST_STORE: bucket.store })
  const begin = async (key: string): Promise<void> => {
    const begun = await bucket.peer.fetch(`${bucket.endpoint}/test/${key}?uploads`, { method: "POST" })
    expect(await begun.text()).toContain("<UploadId>")
  }
  bucket.peer.moveClock(-2 * 86_400_000)
  for (const key of ["runs/1", "runs/2", "other"]) await begin(key)
  bucket.peer.moveClock(2 * 86_400_000)
  await begin("runs/new")
  const open = (): Array<string> => bucket.peer.openUploads().map(({ key }) => key).toSorted()

  const rows = lines((await work.run("uploads", "ls", "runs/")).out).map((line) => line.split("\t"))
  expect(rows.map(([, , key]) => key)).toEqual(["runs/1", "runs/2", "runs/new"])
  expect(JSON.parse(lines((await work.run("uploads", "ls", "--json")).out)[0]!)).toMatchObject({ key: "other" })
  expect(await work.run("uploads", "abort", "runs/1", rows[0]![1]!)).toMatchObject({ ...done, out: "" })
  expect(open()).toEqual(["other", "runs/2", "runs/new"])
  expectFailure(await work.run("uploads", "abort", "--all"), 2, "--older-than")
  expectFailure(await work.run("uploads", "abort", "runs/2"), 2, "ID")
  expectFailure(await work.run("uploads", "abort", "runs/2", "x", "--older-than", "1d"), 2, "--all")
  const swept = await work.run("uploads", "abort", "--all", "--older-than", "1d", "runs/", "--json")
  expect(lines(swept.out).map((line) => JSON.parse(line))).toMatchObject([{ key: "runs/2", aborted: true }])
  expect(open()).toEqual(["other", "runs/new"])
}, patience)

test("uploads finds those of a store on disk", async () => {
  await using work = await Workplace.make()
  await Effect.runPromise(Effect.scoped(Effect.gen(function* () {
    const backend = yield* make({ root: work.at("holdfast-data") })
    yield* backend.createUpload("runs/1", { writeId: crypto.randomUUID(), resumable: true })
  })))
  expect((await work.run("uploads", "ls")).out).toMatch(/\truns\/1\n$/)
  expect(await work.run("uploads", "abort", "--all", "--older-than", "0s")).toMatchObject(done)
  expect(await work.run("uploads", "ls")).toMatchObject({ ...done, out: "" })
}, patience)

test("T10 rows 167 to 177, 248: what goes wrong is said with its word and a hint", async () => {
  await using bucket = await openBucket()
  await using work = await Workplace.make({ ...bucket.env, HOLDFAST_STORE: bucket.store })
  const elsewhere = bucket.store.replace("//test", "//my-bucket")
  expectFailure(await work.run("ls", "--store", elsewhere), 2, 'bucket "my-bucket" not found', "create the bucket")
  bucket.peer.script([{ fault: { kind: "error", status: 403, code: "AccessDenied" } }])
  expectFailure(await work.run("load", "k"), 3, 'denied to bucket "test"', "ask the owner")
  bucket.peer.script([])
  await using stranger = await Workplace.make({ HOLDFAST_STORE: bucket.store })
  expectFailure(await stranger.run("ls"), 3, "AWS credentials not found", "AWS_ACCESS_KEY_ID")
  await using wrong = await Workplace.make({
    AWS_ACCESS_KEY_ID: "AKIAWRONGWRONGWRONG0",
    AWS_SECRET_ACCESS_KEY: "canary-of-a-secret",
    HOLDFAST_STORE: bucket.store,
  })
  const refused = await wrong.run("stat", "k", "--json")
  expect({ code: refused.code, out: refused.out }).toEqual({ code: 3, out: "" })
  expect(JSON.parse(refused.err).error).toMatchObject({ code: "Unauthorized", backend: "s3" })
  expect(refused.err).not.toContain("canary")
  const gone = await openBucket()
  await gone[Symbol.asyncDispose]()
  expectFailure(await work.run("ls", "--store", gone.store), 5, new URL(gone.endpoint).host, "network", "endpoint")
}, patience)
