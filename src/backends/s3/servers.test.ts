/**
 * The S3 backend on servers that others wrote: Ceph's gateway, Cloudflare's R2 simulator, Versity's gateway, and the
 * service that `RUN_S3_TESTS=1` names (`scripts/servers/server.ts`). Each runs the conformance suite and what S3 has
 * beyond it, as its profile says; at the end a table says what ran where.
 */
import { afterAll, expect, test } from "bun:test"
import { execFile } from "node:child_process"
import process from "node:process"
import { inspect } from "node:util"
import * as Effect from "effect/Effect"
import { programPath, startServers } from "../../../scripts/servers/mod.ts"
import { type Target, targetFrom } from "../../../scripts/servers/server.ts"
import {
  all,
  backendOn,
  clear,
  failure,
  loadBytes,
  openStore,
  optionsOf,
  profileOf,
} from "../../../scripts/servers/stores.ts"
import { Table } from "../../../scripts/servers/table.ts"
import type { Encryption } from "../../backend.ts"
import { StoreError } from "../../error.ts"
import type { Store } from "../../store.ts"
import { workersRunning } from "../../streams/codec-workers.ts"
import { crc32 } from "../../streams/crc32.ts"
import { bytes, conformance, expectBytes } from "../conformance.ts"
import * as S3 from "./mod.ts"
import { except } from "./testing.ts"

const MiB = 2 ** 20

// Deno runs the same code; that its `fetch` gets along with a real server is what is left to see there.
const onDeno = "Deno" in globalThis
const { servers, missing } = await startServers(onDeno ? ["ceph"] : undefined)
const named = targetFrom(process.env)
const targets: ReadonlyArray<Target> = named === undefined ? servers : [...servers, named]
for (const { name, why } of missing) test.skip(`${name} (skipped: ${why})`, () => {})

const table = new Table()

/** What becomes of cases that ask for more than a server has; `testing.ts` has what is true of the services. */
const beyond: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  r2: {
    "a key comes back as it was given, however odd": "the simulator finds no route for a key with U+2028 in it",
  },
  versitygw: {
    "list() with a delimiter folds what lies deeper, each prefix once": "keys are paths of files: no empty segment",
    "a key comes back as it was given, however odd": "keys are paths of files: no empty segment, 255 bytes in each",
    "no top-level name is taken: .holdfast, tmp and a leading slash hold objects": "keys are paths of files",
  },
}

const addContract = async (target: Target): Promise<void> => {
  const add = table.group(target.name, "contract")
  const cases = await conformance(target.name, () => S3.make(optionsOf(target)))
  // The tests' prefix takes from the length of keys.
  for (const { name, run, skipped } of except(except(cases, target.name), "prefix")) {
    const title = name.slice(name.indexOf(": ") + 2)
    add(title, skipped ?? beyond[target.name]?.[title], run)
  }
}

const addRaces = (target: Target, { capabilities: { conditional } }: Store): void => {
  const add = table.group(target.name, "races")
  const lacksCreate = conditional.create ? undefined : "the service has no conditional create"
  const lacksReplace = conditional.replace ? undefined : "the service has no conditional replace"

  add("of 16 writers that create an object, exactly one wins", lacksCreate, async () => {
    await using store = await openStore(target)
    const save = (writer: number) => store.save("created", bytes(writer, 2000), { ifNoneMatch: "*" })
    const results = await Promise.allSettled(Array.from({ length: 16 }, (_, writer) => save(writer)))
    for (const result of results) if (result.status === "rejected") expect(result.reason.reason).toBe("AlreadyExists")
    const winners = results.flatMap(({ status }, writer) => status === "fulfilled" ? [writer] : [])
    expect(winners.length).toBe(1)
    expectBytes(await loadBytes(store, "created"), bytes(winners[0]!, 2000), "the winner's object")
  })

  add("fault 134: 16 writers of 50 increments each lose none and apply none twice", lacksReplace, async () => {
    await using reader = await openStore(target)
    // Each answer counts: an attempt is not repeated before the writer has looked again.
    await using store = await openStore(target, {}, { policy: { retry: "none", breaker: "none" } })
    const [writers, increments] = [16, 50]
    await store.save("counts", JSON.stringify(new Array(writers).fill(0)), { ifNoneMatch: "*" })
    let attempts = 0
    const write = async (writer: number): Promise<void> => {
      for (let sequence = 1; sequence <= increments;) {
        const loaded = await reader.load("counts")
        const counts = await loaded.json<Array<number>>()
        // No reply is lost here, so what we were told is what happened.
        expect(counts[writer]).toBe(sequence - 1)
        counts[writer] = sequence
        attempts++
        try {
          await store.save("counts", JSON.stringify(counts), { ifMatch: loaded.info.etag })
          sequence++
        } catch (error) {
          if (!StoreError.is(error) || !["PreconditionFailed", "Conflict"].includes(error.reason)) throw error
          // So that those who were refused together do not come back together.
          await new Promise((resolve) => setTimeout(resolve, Math.random() * 100))
        }
      }
    }
    await Promise.all(Array.from({ length: writers }, (_, writer) => write(writer)))
    expect(await (await reader.load("counts")).json<unknown>()).toEqual(new Array(writers).fill(increments))
    console.log(`${target.name}: ${writers * increments} increments in ${attempts} attempts`)
  })

  add("fault 135: the etag of an object that has become what it was does not fit", lacksReplace, async () => {
    await using store = await openStore(target)
    const [one, two] = [bytes(1, 100), bytes(2, 100)]
    const first = await store.save("again", one)
    await store.save("again", two, { ifMatch: first.etag })
    const third = await store.save("again", one)
    expect(third.etag).not.toBe(first.etag)
    await failure(store.save("again", two, { ifMatch: first.etag }), "PreconditionFailed")
    await failure(store.load("again", { ifMatch: first.etag }), "PreconditionFailed")
    expectBytes(await loadBytes(store, "again", { ifMatch: third.etag }), one, "the object")
  })
}

const addUploads = (target: Target, { capabilities: { parts } }: Store): void => {
  const add = table.group(target.name, "uploads")
  const partSize = parts!.minSize
  const { listsUploads, protection } = profileOf(target)
  const lacksList = listsUploads ? undefined : "uploads cannot be listed"

  add("a save of unknown length in parts loads whole and in ranges, and verifies", undefined, async () => {
    await using store = await openStore(target)
    const data = bytes(1, 3 * partSize + 17)
    const info = await store.save("large", new Blob([data]).stream(), { partSize, digest: "sha256" })
    expect([info.size, info.crc32]).toEqual([data.length, crc32(data)])
    expectBytes(await loadBytes(store, "large"), data, "the whole")
    for (const [offset, length] of [[0, 1], [partSize - 3, 7], [2 * partSize, partSize + 17], [data.length - 1, 9]]) {
      const range = await loadBytes(store, "large", { offset, length })
      expectBytes(range, data.subarray(offset, offset! + length!), `${length} bytes from ${offset}`)
    }
    // Where the service keeps no checksum, that of an upload is known only to whoever made it.
    expect((await store.verify("large")).checks).toEqual(protection === "crc32" ? ["crc32"] : [])
    await store.save("small", data.subarray(0, 1000))
    expect((await store.verify("small")).checks).toEqual(["crc32"])
  })

  add("a compressed save loads whole and in ranges, and its facts are found", undefined, async () => {
    await using store = await openStore(target, {}, { compression: "zstd" })
    const data = new TextEncoder().encode("what compresses well, ".repeat(500_000))
    const info = await store.save("compressed", new Blob([data]).stream(), { metadata: { run: "7" } })
    expect([info.length, info.codec]).toEqual([data.length, "zstd"])
    expectBytes(await loadBytes(store, "compressed"), data, "the whole")
    const range = await loadBytes(store, "compressed", { offset: 5_000_000, length: 1000 })
    expectBytes(range, data.subarray(5_000_000, 5_001_000), "a range")
    const found = await store.stat("compressed")
    expect([found.length, found.metadata]).toEqual([data.length, { run: "7" }])
    // In Deno they wait a moment for more to do.
    while (workersRunning()) await new Promise((resolve) => setTimeout(resolve, 20))
  })

  add("a save whose source fails in its third part leaves neither object nor upload", lacksList, async () => {
    await using store = await openStore(target)
    const source = async function* () {
      for (let part = 0; part < 2; part++) yield bytes(part, partSize)
      await Promise.reject(new Error("the source broke"))
    }
    await expect(store.save("broken", source(), { partSize, concurrency: 2 })).rejects.toThrow("the source broke")
    expect(await store.exists("broken")).toBe(false)
    expect(await all(store.uploads({ prefix: "broken" }))).toEqual([])
  })

  add("an upload that nobody went on with is listed with its parts, and ended", lacksList, async () => {
    const backend = await backendOn(target)
    await using store = await openStore(target)
    const upload = await Effect.runPromise(backend.createUpload("stale/ü", { writeId: "w" }))
    const data = bytes(1, 1000)
    await Effect.runPromise(backend.putPart(upload, { number: 1, offset: 0, crc32: crc32(data) }, data))
    const listed = await all(store.uploads({ prefix: "stale/" }))
    expect(listed.map(({ key, id }) => ({ key, id }))).toEqual([{ key: "stale/ü", id: upload.id }])
    expect(Math.abs(listed[0]!.started.getTime() - Date.now())).toBeLessThan(3_600_000)
    if (backend.listParts !== undefined) {
      const stored = await Effect.runPromise(backend.listParts(listed[0]!))
      expect(stored.map(({ number, size }) => [number, size])).toEqual([[1, 1000]])
    }
    await store.abortUpload(listed[0]!)
    expect(await all(store.uploads({ prefix: "stale/" }))).toEqual([])
    expect(await store.exists("stale/ü")).toBe(false)
  })
}

const addCopies = (target: Target): void => {
  const add = table.group(target.name, "copies")
  const lacksParts = profileOf(target).copyParts ? undefined : "the service has no UploadPartCopy"

  add("an object beyond maxCopy is copied in pieces, with what belongs to it", undefined, async () => {
    await using store = await openStore(target, { profile: { ...profileOf(target), maxCopy: 5 * MiB } })
    const data = bytes(2, 11 * MiB)
    await store.save("from", data, { metadata: { run: "7" }, contentType: "text/plain" })
    const info = await store.copy("from", "to ü")
    expect([info.size, info.metadata, info.contentType]).toEqual([data.length, { run: "7" }, "text/plain"])
    expectBytes(await loadBytes(store, "to ü"), data, "the copy")
    await store.move("to ü", "moved")
    expect(await store.exists("to ü")).toBe(false)
    expectBytes(await loadBytes(store, "moved"), data, "the moved object")
  })

  add("pieces of another object become parts of an upload", lacksParts, async () => {
    const backend = await backendOn(target)
    const source = bytes(3, 11 * MiB)
    await using store = await openStore(target)
    const { etag } = await store.save("pieces/from", source)
    const upload = await Effect.runPromise(backend.createUpload("pieces/to", { writeId: "w" }))
    const copy = (number: number, offset: number, size: number) => {
      const part = { number, offset: (number - 1) * 5 * MiB, size }
      return Effect.runPromise(backend.copyPart!(upload, part, { key: "pieces/from", offset, sourceIfMatch: etag }))
    }
    // In another order than they have in the source.
    const parts = await Promise.all([copy(1, 6 * MiB, 5 * MiB), copy(2, 0, 5 * MiB), copy(3, 5 * MiB, MiB)])
    const made = new Uint8Array(source.length)
    made.set(source.subarray(6 * MiB))
    made.set(source.subarray(0, 6 * MiB), 5 * MiB)
    await Effect.runPromise(backend.completeUpload(upload, parts, { size: made.length, crc32: crc32(made) }))
    expectBytes(await loadBytes(store, "pieces/to"), made, "the object made of pieces")
  })
}

const curl = programPath("curl")

/** Runs curl and returns what it prints; its exit code must be 0. */
const runCurl = (...args: ReadonlyArray<string>): Promise<string> =>
  new Promise((resolve, reject) => {
    execFile(curl!, ["--globoff", "--silent", "--show-error", "--max-time", "60", ...args], (error, stdout, stderr) => {
      if (error) reject(new Error(`curl: ${stderr}`))
      else resolve(stdout)
    })
  })

/** The status that answers a request. */
const statusOf = async (url: string, init?: RequestInit): Promise<number> => {
  const reply = await fetch(url, init)
  await reply.body?.cancel()
  return reply.status
}

/** Programs that use presigned URLs. */
const clients: Readonly<
  Record<string, {
    readonly lacks: string | undefined
    readonly get: (url: string) => Promise<string>
    readonly put: (url: string, headers: Readonly<Record<string, string>>, body: string) => Promise<number>
  }>
> = {
  fetch: {
    lacks: undefined,
    get: async (url) => await (await fetch(url)).text(),
    put: (url, headers, body) => statusOf(url, { method: "PUT", headers, body }),
  },
  curl: {
    lacks: curl === undefined ? "there is no curl" : undefined,
    get: (url) => runCurl(url),
    put: async (url, headers, body) => {
      const given = Object.entries(headers).flatMap(([name, value]) => ["--header", `${name}: ${value}`])
      const status = ["--output", "/dev/null", "--write-out", "%{http_code}"]
      return Number(await runCurl("--request", "PUT", ...given, ...status, "--data-binary", body, url))
    },
  },
}

const addPresigned = (target: Target): void => {
  const add = table.group(target.name, "presigned")
  const key = "signed/ü +%25&=?#'()*!~.txt"
  const text = "a text that fits into a command line: ü\n".repeat(20)
  const data = bytes(4, 5000)

  for (const [client, { lacks, get, put }] of Object.entries(clients)) {
    add(`${client} puts and gets what a presigned URL allows`, lacks, async () => {
      await using store = await openStore(target)
      const write = await store.presign("PUT", key, { contentType: "text/plain" })
      expect(write.headers).toEqual({ "content-type": "text/plain" })
      expect(await put(write.url, write.headers, text)).toBe(200)
      const loaded = await store.load(key)
      expect([loaded.info.contentType, await loaded.text()]).toEqual(["text/plain", text])
      expect(await get((await store.presign("GET", key)).url)).toBe(text)
    })
  }

  add("HEAD, DELETE, ranges and parts can be presigned", undefined, async () => {
    const backend = await backendOn(target)
    await using store = await openStore(target)
    await store.save(key, data)
    const head = await fetch((await store.presign("HEAD", key)).url, { method: "HEAD" })
    expect([head.status, head.headers.get("content-length")]).toEqual([200, "5000"])
    const { url } = await store.presign("GET", key)
    const range = await fetch(url, { headers: { range: "bytes=10-19" } })
    expect(range.status).toBe(206)
    expectBytes(await range.bytes(), data.subarray(10, 20), "a range")
    expect(await statusOf((await store.presign("DELETE", key)).url, { method: "DELETE" })).toBe(204)
    expect(await store.exists(key)).toBe(false)

    const upload = await Effect.runPromise(backend.createUpload(key, { writeId: "w" }))
    const signed = backend.presign!("PUT", key, { expires: 60, part: { upload, number: 1 } })
    const part = await fetch((await Effect.runPromise(signed)).url, { method: "PUT", body: data })
    await part.body?.cancel()
    const etag = part.headers.get("etag")!.replaceAll('"', "")
    const facts = { size: data.length, crc32: crc32(data) }
    await Effect.runPromise(backend.completeUpload(upload, [{ number: 1, offset: 0, etag, ...facts }], facts))
    expectBytes(await loadBytes(store, key), data, "an object of a presigned part")
  })

  add("another key, method or header, and a URL that has ended, are refused", undefined, async () => {
    await using store = await openStore(target)
    await store.save(key, data)
    const { url } = await store.presign("GET", key)
    expect(await statusOf(url)).toBe(200)
    expect(await statusOf(url.replace(".txt?", ".tx?"))).toBe(403)
    expect(await statusOf(url, { method: "DELETE" })).toBe(403)
    const write = await store.presign("PUT", "other", { contentType: "text/plain" })
    expect(await statusOf(write.url, { method: "PUT", headers: { "content-type": "text/html" }, body: "x" })).toBe(403)
    expect(await store.exists("other")).toBe(false)
    const short = await store.presign("GET", key, { expires: "1 second" })
    const deadline = Date.now() + 20_000
    while (await statusOf(short.url) === 200 && Date.now() < deadline) await new Promise((go) => setTimeout(go, 500))
    expect(await statusOf(short.url)).toBe(403)
  })
}

const addVersions = (target: Target): void => {
  const add = table.group(target.name, "versions")
  const kept = target.versionedBucket !== undefined && profileOf(target).versions
  const ignores = profileOf(target).conditional.inVersions ? "the service checks conditions there as well" : undefined
  add("no condition is promised where versions are kept", kept ? ignores : "no bucket keeps versions", async () => {
    await using store = await openStore(target, { bucket: target.versionedBucket! })
    const { etag } = await store.save("c", bytes(7, 10))
    await failure(store.save("c", bytes(8, 10), { ifMatch: etag }), "Unsupported")
    await failure(store.save("c", bytes(9, 10), { ifNoneMatch: "*" }), "Unsupported")
    expectBytes(await loadBytes(store, "c"), bytes(7, 10), "the first object")
  })

  add("versions are listed, loaded, restored and removed", kept ? undefined : "no bucket keeps versions", async () => {
    await using store = await openStore(target, { bucket: target.versionedBucket! })
    const [one, two] = [bytes(5, 100), bytes(6, 200)]
    const first = String((await store.save("a", one)).versionId)
    const second = String((await store.save("a", two)).versionId)
    await store.remove("a")
    expect(await store.exists("a")).toBe(false)
    const list = () => all(store.versions({ prefix: "a" }))
    const [mark, ...others] = await list()
    expect([mark!.removed, mark!.latest]).toEqual([true, true])
    expect(others.map(({ versionId, removed, latest, size }) => ({ versionId, removed, latest, size }))).toEqual([
      { versionId: second, removed: false, latest: false, size: 200 },
      { versionId: first, removed: false, latest: false, size: 100 },
    ])
    expectBytes(await loadBytes(store, "a", { versionId: second }), two, "the second version")
    expectBytes(await loadBytes(store, "a", { versionId: first }), one, "the first version")
    expect((await store.stat("a", { versionId: first })).size).toBe(100)
    await failure(store.load("a", { versionId: mark!.versionId }), "NotFound")

    const restored = String((await store.restore("a", first)).versionId)
    expectBytes(await loadBytes(store, "a"), one, "the restored version")
    const now = await list()
    expect(now.filter(({ latest }) => latest).map(({ versionId }) => versionId)).toEqual([restored])
    // Versity's gateway gives the marks of removals first.
    const newest = target.name === "versitygw" ? [mark!.versionId, restored] : [restored, mark!.versionId]
    expect(now.map(({ versionId }) => versionId)).toEqual([...newest, second, first])
    for (const { versionId } of now) await store.remove("a", { versionId })
    expect(await list()).toEqual([])
    await failure(store.load("a", { versionId: first }), "NotFound")
  })
}

const addEncryption = (target: Target, { capabilities: { encryption = [] } }: Store): void => {
  const add = table.group(target.name, "encryption")
  const kinds: ReadonlyArray<Encryption["type"]> = ["sse-s3", "sse-kms", "sse-c"]
  const absent = kinds.filter((kind) => !encryption.includes(kind))
  const lacking = (kind: Encryption["type"]) => encryption.includes(kind) ? undefined : `the service has no ${kind}`
  const lacksKey = target.kmsKeyId === undefined ? "no key of a KMS was named" : lacking("sse-kms")
  const data = bytes(7, 11 * MiB)
  const small = data.subarray(0, 1000)
  const partSize = 5 * MiB

  const hasAll = absent.length === 0 ? "the service has all kinds" : undefined
  add("an encryption that the service does not have is refused before anything is sent", hasAll, async () => {
    let requests = 0
    const counting = (url: string, init: RequestInit) => {
      requests++
      return fetch(url, init)
    }
    await using store = await openStore(target, { fetch: counting })
    for (const type of absent) {
      const asked = type === "sse-c" ? { type, key: bytes(1, 32) } : { type }
      await failure(store.save("a", small, { encryption: asked }), "Unsupported")
    }
    expect(requests).toBe(0)
  })

  add("sse-s3 is confirmed, for one request and for parts", lacking("sse-s3"), async () => {
    await using store = await openStore(target, {}, { encryption: { type: "sse-s3" } })
    await store.save("s3", small)
    await store.save("s3 parts", data, { partSize })
    for (const key of ["s3", "s3 parts"]) expect((await store.stat(key)).encryption?.type).toBe("sse-s3")
    expectBytes(await loadBytes(store, "s3 parts"), data, "the object")
  })

  add("sse-kms takes a key and a context, for one request, parts and copies", lacksKey, async () => {
    const kms = { type: "sse-kms", keyId: target.kmsKeyId, context: { agent: "ü" } } as const
    await using store = await openStore(target, {}, { encryption: kms })
    await store.save("kms", small)
    await store.save("kms parts", data, { partSize })
    await store.copy("kms", "kms copy")
    for (const key of ["kms", "kms parts", "kms copy"]) {
      expect((await store.stat(key)).encryption).toEqual({ type: "sse-kms", keyId: target.kmsKeyId })
    }
    expectBytes(await loadBytes(store, "kms copy"), small, "the copy")
    expectBytes(await loadBytes(store, "kms parts"), data, "the object")
    const unknown = store.save("kms", bytes(1, 9), { encryption: { ...kms, keyId: "no-such-key" } })
    await failure(unknown, "Config", "InvalidInput", "Forbidden", "Unauthorized")
    expectBytes(await loadBytes(store, "kms"), small, "the object after a failed save")
  })

  add("sse-c needs its key for every read, for one request and for parts", lacking("sse-c"), async () => {
    const [key, other] = [bytes(8, 32), bytes(9, 32)]
    await using store = await openStore(target, {}, { encryption: { type: "sse-c", key } })
    await using plain = await openStore(target)
    await store.save("c", small)
    await store.save("c parts", data, { partSize })
    expect((await store.stat("c")).encryption).toEqual({ type: "sse-c" })
    expectBytes(await loadBytes(store, "c parts"), data, "the object")
    const range = await loadBytes(store, "c parts", { offset: partSize - 5, length: 10 })
    expectBytes(range, data.subarray(partSize - 5, partSize + 5), "a range over two parts")
    expectBytes(await loadBytes(plain, "c", { customerKey: key }), small, "with the key in the call")
    await failure(plain.load("c"), "InvalidInput", "Forbidden")
    await failure(plain.load("c", { customerKey: other }), "InvalidInput", "Forbidden")
  })
}

const addBatches = (target: Target): void => {
  const add = table.group(target.name, "batches")
  add("1,005 objects with awkward names are listed in order, and removed each with its result", undefined, async () => {
    await using store = await openStore(target)
    const odd = ["&amp;", "<b>", "\"q'", "a b", "ü", "+%25", "\u{1f600}"]
    const keys = odd.flatMap((name, index) =>
      Array.from(
        { length: 1005 / odd.length + 1 | 0 },
        (_, more) => `batch/${index}${String(more).padStart(3, "0")}${name}`,
      )
    ).slice(0, 1005)
    await Effect.runPromise(Effect.forEach(keys, (key) => store.service.save(key, "x"), { concurrency: 32 }))
    expect((await all(store.list({ prefix: "batch/" }))).map(({ key }) => key)).toEqual(keys)
    const asked = ["batch/was never there", ...keys]
    const results = await store.removeMany(asked)
    expect(results.map(({ key }) => key)).toEqual(asked)
    expect(results.filter(({ error }) => error !== undefined)).toEqual([])
    expect(await all(store.list({ prefix: "batch/" }))).toEqual([])
  })
}

const addRefusals = (target: Target): void => {
  const add = table.group(target.name, "refusals")
  const lacksKeys = target.credentials === undefined ? "the credentials are not ours to spoil" : undefined

  add("bytes that change on their way are refused, in one request and in parts", undefined, async () => {
    const flipped = (url: string, init: RequestInit) => {
      if (!(init.body instanceof Uint8Array) || init.body.length < 1000) return fetch(url, init)
      const body = Uint8Array.from(init.body)
      body[500]! ^= 1
      return fetch(url, { ...init, body })
    }
    await using store = await openStore(target, { fetch: flipped }, { policy: { retry: "none" } })
    await failure(store.save("flipped", bytes(1, 2000)), "Corrupt")
    const { minSize } = store.capabilities.parts!
    await failure(store.save("flipped", bytes(1, 2 * minSize), { partSize: minSize }), "Corrupt")
    expect(await store.exists("flipped")).toBe(false)
  })

  add("faults 129, 130: a wrong secret is refused, and neither it nor a signature is shown", lacksKeys, async () => {
    const secretAccessKey = "canary-secret-canary-secret-canary-secret"
    const credentials = { accessKeyId: target.credentials!.accessKeyId, secretAccessKey }
    const signatures: Array<string> = []
    const watching = (url: string, init: RequestInit) => {
      signatures.push(String(new Headers(init.headers).get("authorization")?.split("Signature=")[1]))
      return fetch(url, init)
    }
    await using store = await openStore(target, { credentials, fetch: watching })
    const calls = [
      () => store.save("a", "x"),
      () => store.load("a"),
      () => store.stat("a"),
      () => all(store.list()),
      () => store.remove("a"),
    ]
    for (const call of calls) {
      const error = await failure(call(), "Unauthorized", "Forbidden")
      const shown = inspect(error, { depth: 9 }) + JSON.stringify(error) + String(error.stack)
      for (const secret of ["canary-secret", ...signatures]) expect(shown).not.toContain(secret)
    }
    expect(signatures.filter((signature) => /^[0-9a-f]{64}$/.test(signature)).length).toBeGreaterThanOrEqual(5)
  })

  add("a bucket that is not there is a wrong setting, not a missing object", undefined, async () => {
    await using store = await openStore(target, { bucket: "holdfast-has-no-such-bucket" })
    const calls = [() => store.load("a"), () => store.save("a", "x"), () => all(store.list())]
    for (const call of calls) await failure(call(), "Config", "Forbidden")
  })
}

for (const target of targets) {
  await using store = await openStore(target)
  await addContract(target)
  if (!onDeno) addRaces(target, store)
  addUploads(target, store)
  addCopies(target)
  addPresigned(target)
  addVersions(target)
  addEncryption(target, store)
  addBatches(target)
  addRefusals(target)
}

afterAll(async () => {
  console.log(`\n${table}`)
  for (const { name, why } of missing) console.log(`${name} did not run: ${why}`)
  for (const target of targets) await clear(target)
  await Promise.all(servers.map((server) => server.stop()))
})
