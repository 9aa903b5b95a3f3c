import { expect, test } from "bun:test"
import { execFile } from "node:child_process"
import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { promisify } from "node:util"
import * as Effect from "effect/Effect"
import { onlyOn } from "../../scripts/only-on.ts"
import type { Backend } from "../backend.ts"
import * as Disk from "../backends/disk/mod.ts"
import * as Memory from "../backends/memory.ts"
import * as S3 from "../backends/s3/mod.ts"
import { StoreError } from "../error.ts"
import { openBackend, type Store } from "../store.ts"
import { fail, type Faulty, faulty } from "../testing/faulty.ts"
import { makeS3Peer, peerCredentials } from "../testing/s3/mod.ts"
import { lastOfRuns, nextVersion, refOf } from "./document-names.ts"
import { bytesOf, keysOf, makeParties, reasonOf, streamOf, suite } from "./documents-testing.ts"
import {
  type Document,
  Documents,
  type DocumentsOptions,
  DocumentStore,
  generateEd25519Keys,
  makeEd25519Signer,
  makeEd25519Verifier,
  publicKeyHash,
} from "./documents.ts"
import { addSuite } from "./testing.ts"

addSuite(suite)

const call = promisify(execFile)

/** A memory that many stores may be opened on. */
const makeMemory = (): Promise<Backend> => Effect.runPromise(Memory.make())

const openOn = (backend: Backend): Promise<Store> => openBackend(Effect.succeed(backend))

/** A process that dies before its call number `allowed + 1` that changes something: from then on nothing gets through. */
const dying = (inner: Backend, allowed: number): Backend => {
  let left = allowed
  const guard = <A>(changes: boolean, run: () => Effect.Effect<A, StoreError>): Effect.Effect<A, StoreError> =>
    Effect.suspend(() => {
      if (changes && left >= 0) left--
      return left < 0 ? Effect.fail(new StoreError({ reason: "Aborted", detail: "the process has died" })) : run()
    })
  return {
    ...inner,
    stat: (...args) => guard(false, () => inner.stat(...args)),
    get: (...args) => guard(false, () => inner.get(...args)),
    list: (...args) => guard(false, () => inner.list(...args)),
    put: (...args) => guard(true, () => inner.put(...args)),
    remove: (...args) => guard(true, () => inner.remove(...args)),
    removeMany: (...args) => guard(true, () => inner.removeMany(...args)),
    createUpload: (...args) => guard(true, () => inner.createUpload(...args)),
    completeUpload: (...args) => guard(true, () => inner.completeUpload(...args)),
  }
}

/**
 * Lets `change` die before its first write, its second and so on until it lives; `check` looks at what is left each
 * time, and says what the same change made again must have led to.
 */
const killed = async (
  prepare: (documents: DocumentStore) => Promise<void>,
  change: (documents: DocumentStore) => Promise<unknown>,
  check: (documents: DocumentStore, done: boolean) => Promise<void>,
): Promise<number> => {
  for (let writes = 0;; writes++) {
    const backend = await makeMemory()
    await using store = await openOn(backend)
    await prepare(new DocumentStore(store))
    await using mortal = await openOn(dying(backend, writes))
    const died = await change(new DocumentStore(mortal)).then(() => false, () => true)
    await check(new DocumentStore(store), !died)
    await change(new DocumentStore(store)).catch(() => undefined)
    await check(new DocumentStore(store), true)
    if (!died) return writes
  }
}

const allVerify = async (documents: DocumentStore): Promise<void> => {
  for (const kind of [documents, documents.agents]) {
    for await (const entry of kind.list()) await kind.verify(await kind.get(entry))
  }
}

const attachments = [
  { path: "a", bytes: new TextEncoder().encode("a") },
  { path: "b", bytes: new TextEncoder().encode("b") },
]

test("a create that dies before any of its writes leaves no document, or the whole one", async () => {
  const writes = await killed(
    async () => {},
    (documents) => documents.create({ n: 1 }, { attachments }),
    async (documents, done) => {
      const found = await Array.fromAsync(documents.find())
      if (done) expect(found.length).toBeGreaterThan(0)
      await allVerify(documents)
    },
  )
  expect(writes).toBe(3)
})

test("an update that dies before any of its writes leaves the old version the newest, or the new one", async () => {
  let id = ""
  const writes = await killed(
    async (documents) => {
      id = (await documents.create({ n: 1 })).jacsId
    },
    (documents) => documents.update(id, ({ n }) => ({ n: (n as number) + 1 }), { attachments }),
    async (documents, done) => {
      const latest = await documents.getLatest(id)
      expect(latest["n"] as number).toBeGreaterThanOrEqual(done ? 2 : 1)
      expect((await documents.versions(id)).length).toBe(latest["n"] as number)
      await allVerify(documents)
    },
  )
  expect(writes).toBe(3)
})

test("an update over an archived version's name that dies leaves that version whole in the archive", async () => {
  let [id, archived] = ["", ""]
  const writes = await killed(
    async (documents) => {
      id = (await documents.create({ n: 1 })).jacsId
      archived = (await documents.update(id, { n: 2 })).jacsVersion
      await documents.remove({ id, version: archived })
    },
    (documents) => documents.update(id, { n: 3 }),
    async (documents, done) => {
      const latest = await documents.getLatest(id)
      expect([1, 3]).toContain(latest["n"] as number)
      if (done) expect(latest["n"]).toBe(3)
      if (latest["n"] === 3) expect(latest.jacsVersion).not.toBe(archived)
      const store = documents.service.store
      const kept = await Effect.runPromise(store.load(`archive/documents/${id}/${archived}.json`))
      expect((await kept.json<Document>())["n"]).toBe(2)
    },
  )
  expect(writes).toBe(1)
})

test("a removal that dies between any of its writes loses nothing, and is finished by doing it again", async () => {
  let [id, versions] = ["", 0]
  const writes = await killed(
    async (documents) => {
      id = (await documents.create({ n: 1 })).jacsId
      await documents.update(id, { n: 2 })
      await documents.update(id, { n: 3 })
      versions = 3
    },
    (documents) => documents.remove(id),
    async (documents, done) => {
      const left = await documents.versions(id)
      if (done) expect(left).toEqual([])
      else expect((await documents.getLatest(id))["n"]).toBe(3)
      const store = documents.service.store
      const keys = await Effect.runPromise(Effect.promise(() => Array.fromAsync(listed(store))))
      const names = new Set(keys.map((key) => key.split("/").at(-1)))
      expect(names.size).toBe(versions)
      await allVerify(documents)
    },
  )
  expect(writes).toBe(6)
})

async function* listed(store: DocumentStore["service"]["store"]): AsyncGenerator<string> {
  const { iterate } = await import("../run.ts")
  for await (const { key } of iterate(store.list())) yield key
}

test("row 227: a move of documents that dies between any of its writes is finished by doing it again", async () => {
  await using from = await openOn(await makeMemory())
  const parties = await makeParties()
  const source = new DocumentStore(from, parties)
  await source.agents.create({ name: "scribe" })
  const first = await source.create({ n: 1 }, { attachments })
  await source.update(first.jacsId, (current) => ({ ...current, n: 2 }))
  await source.remove((await source.create({ n: 3 })).jacsId)
  const before = await Array.fromAsync(from.list())
  for (const resign of [false, true]) {
    for (let writes = 0;; writes++) {
      const backend = await makeMemory()
      await using mortal = await openOn(dying(backend, writes))
      const report = await new DocumentStore(mortal, parties).copyFrom(source, { resign }).catch(() => undefined)
      await using store = await openOn(backend)
      const target = new DocumentStore(store, parties)
      await allVerify(target)
      const again = await target.copyFrom(source, { resign })
      expect(again.failed).toEqual([])
      expect(await keysOf(store)).toEqual(await keysOf(from))
      await allVerify(target)
      if (report === undefined) continue
      // Two files, one removed document, an agent, two versions.
      expect(writes).toBe(6)
      break
    }
  }
  expect(await Array.fromAsync(from.list())).toEqual(before)
})

test("a move leaves out what is damaged and says so; another document in its place is never replaced", async () => {
  await using from = await openOn(await makeMemory())
  await using to = await openOn(await makeMemory())
  const [source, target] = [new DocumentStore(from), new DocumentStore(to)]
  const made = (await source.createMany([{ n: 1 }, { n: 2 }, { n: 3 }])).map(({ document }) => document!)
  const key = (document: Document) => `documents/${document.jacsId}/${document.jacsVersion}.json`
  await from.save(key(made[0]!), "damaged", { compression: "none" })
  const { jacsSha256: _, ...rest } = made[1]!
  const other = await target.create({ ...rest, n: 7 })
  await from.save("public_keys/x.pem", "source's", { compression: "none" })
  await to.save("public_keys/x.pem", "target's own", { compression: "none" })
  for (const resign of [false, true]) {
    const report = await target.copyFrom(source, { resign })
    expect(Object.fromEntries(report.failed.map((one) => [one.key, one.error.reason]))).toEqual({
      [key(made[0]!)]: "Corrupt",
      [key(made[1]!)]: "AlreadyExists",
      "public_keys/x.pem": "AlreadyExists",
    })
  }
  expect(await target.get(`${other.jacsId}:${other.jacsVersion}`)).toEqual(other)
  expect((await target.get(`${made[2]!.jacsId}:${made[2]!.jacsVersion}`))["n"]).toBe(3)
})

/** A memory that counts calls. */
const counted = async (): Promise<Faulty> => faulty(await makeMemory())

test("a listing and the versions read no document; a hit of the cache makes no request", async () => {
  const memory = await counted()
  await using store = await openOn(memory.backend)
  const documents = new DocumentStore(store, { cache: {} })
  const made = (await documents.createMany(Array.from({ length: 20 }, (_, n) => ({ n })))).map((one) => one.document!)
  await documents.update(made[0]!.jacsId, { n: -1 })
  const reads = memory.calls("get")
  expect((await Array.fromAsync(documents.list())).length).toBe(21)
  expect((await documents.versions(made[0]!.jacsId)).length).toBe(2)
  expect(memory.calls("get")).toBe(reads)
  await documents.get(made[1]!.jacsId, made[1]!.jacsVersion)
  expect(memory.calls("get")).toBe(reads + 1)
  const all = () => (["get", "stat", "list", "put", "remove"] as const).map((operation) => memory.calls(operation))
  const before = all()
  await documents.get(made[1]!.jacsId, made[1]!.jacsVersion)
  expect(all()).toEqual(before)
})

test("the newest of many versions is found by one listing and read by one request", async () => {
  const memory = await counted()
  await using store = await openOn(memory.backend)
  const documents = new DocumentStore(store)
  const { jacsId } = await documents.create({ n: 0 })
  for (let n = 1; n < 30; n++) await documents.update(jacsId, { n })
  const [gets, lists] = [memory.calls("get"), memory.calls("list")]
  expect((await documents.getLatest(jacsId))["n"]).toBe(29)
  expect([memory.calls("get") - gets, memory.calls("list") - lists]).toEqual([1, 1])
})

test("the bytes of a cache are bounded as well", async () => {
  const memory = await counted()
  await using store = await openOn(memory.backend)
  const documents = new DocumentStore(store, { cache: { bytes: 5_000 } })
  const made = await documents.createMany(Array.from({ length: 5 }, () => ({ text: "x".repeat(2_000) })))
  for (const { document } of made) await documents.get(document!.jacsId, document!.jacsVersion)
  const reads = memory.calls("get")
  await documents.get(made[4]!.document!.jacsId, made[4]!.document!.jacsVersion)
  expect(memory.calls("get")).toBe(reads)
  await documents.get(made[0]!.document!.jacsId, made[0]!.document!.jacsVersion)
  expect(memory.calls("get")).toBe(reads + 1)
})

test("a listing that breaks off between pages fails the call; nothing is half-returned", async () => {
  const inner = await makeMemory()
  await using good = await openOn(inner)
  const first = await new DocumentStore(good).create({ n: 0 })
  for (let n = 1; n < 5; n++) await new DocumentStore(good).update(first.jacsId, { n })
  const paged: Backend = { ...inner, list: (o) => inner.list({ ...o, limit: 2 }) }
  const error = new StoreError({ reason: "Forbidden", detail: "no" })
  for (const nth of [1, 2, 3]) {
    await using store = await openOn(faulty(paged, { rules: [{ on: "list", nth, fault: fail(error) }] }).backend)
    const calls: ReadonlyArray<(documents: DocumentStore) => Promise<unknown>> = [
      (documents) => documents.versions(first.jacsId),
      (documents) => documents.getLatest(first.jacsId),
      (documents) => Array.fromAsync(documents.find()),
      (documents) => documents.update(first.jacsId, { n: 9 }),
      (documents) => documents.remove(first.jacsId),
    ]
    // Each with a listing of its own that breaks.
    for (const one of calls) {
      await using broken = await openOn(faulty(paged, { rules: [{ on: "list", nth, fault: fail(error) }] }).backend)
      expect(await reasonOf(one(new DocumentStore(broken)))).toBe("Forbidden")
    }
    const seen: Array<string> = []
    const list = async () => {
      for await (const { version } of new DocumentStore(store).list()) seen.push(version)
    }
    expect(await reasonOf(list())).toBe("Forbidden")
    expect(seen.length).toBe(2 * (nth - 1))
  }
  expect((await new DocumentStore(good).versions(first.jacsId)).length).toBe(5)
})

test("a removed version's id is found taken even when the removal comes between an update's read and its write", async () => {
  const inner = await makeMemory()
  await using calm = await openOn(inner)
  const others = new DocumentStore(calm)
  const first = await others.create({ n: 1 })
  // Before this writer's put arrives, others make the same version and remove it.
  let raced = false
  const racing: Backend = {
    ...inner,
    put: (key, bytes, options) =>
      Effect.andThen(
        raced ? Effect.void : Effect.promise(async () => {
          raced = true
          const theirs = await others.update(first.jacsId, { n: 2 })
          await others.remove(`${theirs.jacsId}:${theirs.jacsVersion}`)
        }),
        Effect.suspend(() => inner.put(key, bytes, options)),
      ),
  }
  await using store = await openOn(racing)
  const mine = await new DocumentStore(store).update(first.jacsId, { n: 3 })
  expect((await others.versions(first.jacsId)).map(({ version }) => version)).toEqual([
    first.jacsVersion,
    mine.jacsVersion,
  ])
  const version = nextVersion(first.jacsVersion)!
  expect(mine.jacsVersion).not.toBe(version)
  expect((await others.restore({ id: first.jacsId, version }))["n"]).toBe(2)
})

test("an update whose last question fails says that the new version may stand", async () => {
  const inner = await makeMemory()
  await using calm = await openOn(inner)
  const first = await new DocumentStore(calm).create({ n: 1 })
  const error = new StoreError({ reason: "Forbidden", detail: "no" })
  const rules = [{ on: "stat", key: "archive/", nth: 2, fault: fail(error) }] as const
  await using store = await openOn(faulty(inner, { rules }).backend)
  const failed = await new DocumentStore(store).update(first.jacsId, { n: 2 }).catch((error) => error)
  expect([failed.reason, failed.ambiguous]).toEqual(["CommitUnknown", true])
  expect((await new DocumentStore(calm).getLatest(first.jacsId))["n"]).toBe(2)
})

test("a version's successor is the version plus one, and there is none where it does not count", () => {
  expect(nextVersion("6f1c0c4e-1111-4222-8333-000000000001")).toBe("6f1c0c4e-1111-4222-8333-000000000002")
  expect(nextVersion("6f1c0c4e-1111-4222-8333-0000000000ff", 2)).toBe("6f1c0c4e-1111-4222-8333-000000000101")
  expect(nextVersion("6f1c0c4e-1111-4222-8333-ffffffffffff")).toBeUndefined()
  expect(nextVersion("v1")).toBeUndefined()
  const versions = ["a-0001", "6f1c0c4e-1111-4222-8333-00000000000a", "6f1c0c4e-1111-4222-8333-000000000009"]
  expect(lastOfRuns(versions.map((version) => ({ id: "d", version }))).map(({ version }) => version)).toEqual(
    versions.slice(0, 2),
  )
})

test("a key is a version only in one of the two layouts", () => {
  const ref = { id: "d", version: "v" }
  for (const key of ["documents/d/v.json", "documents/d:v.json"]) expect(refOf("documents", key)).toEqual(ref)
  for (const key of ["agents/d/v.json", "agent/d:v.json"]) expect(refOf("agents", key)).toEqual(ref)
  for (
    const key of [
      ...["documents/d/v", "documents/d/v/w.json", "documents/v.json", "documents/a:b:c.json", "documents//v.json"],
      ...["documents/d/.json", "agent/d/v.json", "agents/d:v.json", "xdocuments/d/v.json", "documents/a:b/v.json"],
    ]
  ) expect([key, refOf("documents", key), refOf("agents", key)]).toEqual([key, undefined, undefined])
})

test("the newest of versions that JACS has named is the one of the latest date, then of the last id", async () => {
  await using store = await openOn(await makeMemory())
  const documents = new DocumentStore(store)
  const { jacsSha256: _, ...template } = await documents.create({}, { save: false })
  const dates = ["2026-01-01T00:00:00Z", "2026-03-01T00:00:00+00:00", "2026-02-01T00:00:00Z", "2026-03-01T00:00:00Z"]
  const versions = ["d", "b", "c", "a"].map((digit) => `${digit.repeat(8)}-1111-4222-8333-${digit.repeat(12)}`)
  for (const [i, jacsVersion] of versions.entries()) {
    await documents.create({ ...template, jacsVersion, jacsVersionDate: dates[i] })
  }
  expect((await documents.getLatest(template.jacsId)).jacsVersion).toBe(versions[1]!)
  const next = await documents.update(template.jacsId, {})
  expect(next.jacsPreviousVersion).toBe(versions[1]!)
  expect((await documents.getLatest(template.jacsId)).jacsVersion).toBe(next.jacsVersion)
})

test("a version is later than the one it replaces, whatever the clock says", async () => {
  await using store = await openOn(await makeMemory())
  const documents = new DocumentStore(store)
  const { jacsSha256: _, ...template } = await documents.create({}, { save: false })
  await documents.create({ ...template, jacsVersionDate: "2999-01-01T00:00:00.000Z" })
  expect((await documents.update(template.jacsId, {})).jacsVersionDate).toBe("2999-01-01T00:00:00.001Z")
})

test("content that JSON cannot hold, or that breaks the header, is refused and nothing is stored", async () => {
  await using store = await openOn(await makeMemory())
  const documents = new DocumentStore(store)
  const endless: Record<string, unknown> = {}
  endless["self"] = endless
  const contents = [endless, { n: 1n }, [] as never, null as never, "text" as never, { jacsLevel: "other" }, {
    $schema: 1,
  }]
  for (const content of contents) {
    expect(await reasonOf(documents.create(content))).toBe("InvalidInput")
  }
  for (const files of [[{ path: "a" }], "a", [1]]) {
    expect(await reasonOf(documents.create({ jacsFiles: files }))).toBe("InvalidInput")
  }
  expect(await keysOf(store)).toEqual([])
  // What JSON leaves out or changes is so in the document that comes back as well.
  const made = await documents.create({ at: new Date(0), left: undefined, not: NaN })
  expect([made["at"], "left" in made, made["not"]]).toEqual(["1970-01-01T00:00:00.000Z", false, null])
  expect(await documents.getLatest(made.jacsId)).toEqual(made)
  expect(await reasonOf(documents.update(made.jacsId, { jacsId: crypto.randomUUID() }))).toBe("InvalidInput")
})

/** Signs texts as JACS of another age did. */
const makeAged = async () => {
  const keys = await generateEd25519Keys()
  const key = await crypto.subtle.importKey("pkcs8", keys.privateKey, "Ed25519", false, ["sign"])
  const hash = await publicKeyHash(keys.publicKey)
  const sign = async (message: string): Promise<string> =>
    btoa(String.fromCharCode(
      ...new Uint8Array(await crypto.subtle.sign("Ed25519", key, new TextEncoder().encode(message))),
    ))
  const options: DocumentsOptions = { verifier: makeEd25519Verifier([keys.publicKey]) }
  return { sign, hash, options }
}

const header = {
  $schema: "https://hai.ai/schemas/header/v1/header.schema.json",
  jacsId: "11111111-1111-4111-8111-111111111111",
  jacsLevel: "raw",
  jacsOriginalDate: "2025-01-01T00:00:00Z",
  jacsOriginalVersion: "22222222-2222-4222-8222-222222222222",
  jacsType: "document",
  jacsVersion: "22222222-2222-4222-8222-222222222222",
  jacsVersionDate: "2025-01-01T00:00:00Z",
}

const sha256Of = async (text: string): Promise<string> =>
  Array.from(
    new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text))),
    (byte) => byte.toString(16).padStart(2, "0"),
  ).join("")

test("row 144: what JACS 0.3.6 signed is verified: its strings in order, and a digest of sorted fields", async () => {
  const { sign, hash, options } = await makeAged()
  const fields = ["title", "amount", "jacsId"]
  const signature = await sign(`Über ${header.jacsId}`)
  const by = `{"agentID":"a","agentVersion":"b","date":"2025-01-01T00:00:00Z","fields":${JSON.stringify(fields)}` +
    `,"publicKeyHash":"${hash}","signature":"${signature}","signingAlgorithm":"ring-Ed25519"}`
  const sorted = `{"$schema":"${header.$schema}","amount":1.0,"jacsId":"${header.jacsId}","jacsLevel":"raw",` +
    `"jacsOriginalDate":"${header.jacsOriginalDate}","jacsOriginalVersion":"${header.jacsOriginalVersion}",` +
    `"jacsSignature":${by},"jacsType":"document","jacsVersion":"${header.jacsVersion}",` +
    `"jacsVersionDate":"${header.jacsVersionDate}","large":12345678901234567890,"title":"Über"}`
  const text = sorted.replace(/}$/, `,"jacsSha256":"${await sha256Of(sorted)}"}`)
  await using store = await openOn(await makeMemory())
  const documents = new DocumentStore(store, options)
  expect(await documents.verify(text)).toEqual({ signature: "valid", files: 0 })
  const name = `${header.jacsId}:${header.jacsVersion}`
  await documents.add(text)
  expect(await documents.getText(name)).toBe(text)
  const strict = new DocumentStore(store, { ...options, acceptLegacy: false })
  expect(await reasonOf(strict.get(name))).toBe("Corrupt")
  expect(await reasonOf(documents.verify(text.replace("1.0", "1.5")))).toBe("Corrupt")
  // It moves byte for byte: its digest is over the way its numbers are written.
  await using other = await openOn(await makeMemory())
  const moved = new DocumentStore(other, options)
  expect((await moved.copyFrom(documents)).documents).toEqual({ copied: 1, present: 0 })
  expect(await moved.getText(name)).toBe(text)
})

test("row 144: what JACS 0.8 signed is verified: the canonical form of each value", async () => {
  const { sign, hash, options } = await makeAged()
  const content = { ...header, b: { d: 1, c: [true] } }
  const signature = {
    agentID: "a",
    agentVersion: "b",
    date: "2026-01-01T00:00:00Z",
    fields: ["b", "jacsId"],
    publicKeyHash: hash,
    signature: await sign(`{"c":[true],"d":1} "${header.jacsId}"`),
    signingAlgorithm: "ring-Ed25519",
  }
  const { documentSha256 } = await import("./document-signature.ts")
  const signed = { ...content, jacsSignature: signature }
  const document = { ...signed, jacsSha256: await documentSha256(signed) } as Document
  await using store = await openOn(await makeMemory())
  expect((await new DocumentStore(store, options).verify(document)).signature).toBe("valid")
})

test("row 144: the newest form is what JACS' own description of it says, byte for byte", async () => {
  const keys = await generateEd25519Keys()
  const signer = await makeEd25519Signer({ ...keys, agentId: "agent", agentVersion: "version" })
  let message = ""
  const spy = {
    ...signer,
    sign: (bytes: Uint8Array<ArrayBuffer>) => {
      message = new TextDecoder().decode(bytes)
      return signer.sign(bytes)
    },
  }
  await using store = await openOn(await makeMemory())
  const made = await new DocumentStore(store, { signer: spy }).create({ ...header, z: { y: 1, x: "é" } })
  const { signature: _, ...facts } = made.jacsSignature!
  const names = [...Object.keys(header), "z"].toSorted()
  expect(facts.fields).toEqual(names)
  const value = (name: string) => name === "z" ? `{"x":"é","y":1}` : JSON.stringify(made[name])
  const metadata = Object.entries(facts).toSorted(([a], [b]) => a < b ? -1 : 1)
    .map(([name, fact]) => `${JSON.stringify(name)}:${JSON.stringify(fact)}`)
  expect(message).toBe(
    `{"domain":"jacs.signature.v2","fields":[${
      names.map((name) => `{"name":"${name}","value":${value(name)}}`).join(",")
    }],"placementKey":"jacsSignature","signatureMetadata":{${metadata.join(",")}}}`,
  )
  expect(facts).toMatchObject({
    agentID: "agent",
    agentVersion: "version",
    signingAlgorithm: "ring-Ed25519",
    signatureContentVersion: "jacs-signature-v2",
    publicKeyHash: signer.publicKeyHash,
  })
})

test("a private key that is none is refused without being shown", async () => {
  const keys = await generateEd25519Keys()
  const error = await makeEd25519Signer({ ...keys, privateKey: keys.publicKey, agentId: "a", agentVersion: "b" })
    .catch((error) => error)
  expect([error.reason, error.detail]).toEqual(["Config", "the private key is no Ed25519 key in PKCS #8"])
  // As Rust's ring writes it: version 2, with the public key behind.
  const ring = new Uint8Array([
    0x30,
    0x53,
    2,
    1,
    1,
    ...keys.privateKey.subarray(5),
    0xa1,
    0x23,
    3,
    0x21,
    0,
    ...keys.publicKey,
  ])
  const signer = await makeEd25519Signer({ ...keys, privateKey: ring, agentId: "a", agentVersion: "b" })
  await using store = await openOn(await makeMemory())
  const documents = new DocumentStore(store, { signer, verifier: makeEd25519Verifier([keys.publicKey]) })
  expect((await documents.verify(await documents.create({}))).signature).toBe("valid")
})

test("an embedded file that is damaged or blows up is refused", async () => {
  await using store = await openOn(await makeMemory())
  const documents = new DocumentStore(store)
  const made = await documents.create({}, { attachments: attachments.slice(0, 1), embed: true })
  const [file] = made.jacsFiles!
  const bomb = await bytesOf(
    new Blob([new Uint8Array(65 * 2 ** 20)]).stream()
      .pipeThrough(new CompressionStream("gzip") as ReadableWritablePair<Uint8Array, Uint8Array>),
  )
  const { toBase64 } = await import("./document-signature.ts")
  const packed = atob(file!.contents!)
  for (
    const contents of [
      btoa(`${packed.slice(0, -1)}\u0001`),
      btoa(packed.slice(0, -4)),
      btoa("no gzip"),
      "no base64!",
      toBase64(bomb),
    ]
  ) {
    const spoilt = await documents.create({ jacsFiles: [{ ...file, contents, sha256: await sha256Of(contents) }] })
    expect(await reasonOf(documents.verify(spoilt))).toBe("Corrupt")
    expect(await reasonOf(documents.file(spoilt, "a"))).toBe("Corrupt")
  }
  const other = await documents.create({ jacsFiles: [{ ...file, sha256: await sha256Of("another") }] })
  expect(await reasonOf(documents.verify(other))).toBe("Corrupt")
})

test("an archive that is cut or damaged fails; what came before is stored, and the whole one finishes it", async () => {
  await using from = await openOn(await makeMemory())
  const source = new DocumentStore(from)
  const made = await source.createMany(Array.from({ length: 30 }, (_, n) => ({ n, text: crypto.randomUUID() })))
  const archive = new Uint8Array(await bytesOf(source.exportTar()))
  await using to = await openOn(await makeMemory())
  const target = new DocumentStore(to)
  const flipped = archive.slice()
  flipped[archive.length >> 1]! ^= 1
  for (const bad of [archive.slice(0, archive.length >> 1), archive.slice(0, -8), flipped, new Uint8Array([1, 2, 3])]) {
    expect(await reasonOf(target.importTar(streamOf(bad)))).toBe("Corrupt")
    await allVerify(target)
  }
  const report = await target.importTar(streamOf(archive))
  expect(report.documents.copied + report.documents.present).toBe(made.length)
  expect(await keysOf(to)).toEqual(await keysOf(from))
})

test("members of an archive that are not what their names say are told and not stored", async () => {
  const { packTar } = await import("modern-tar")
  await using store = await openOn(await makeMemory())
  const documents = new DocumentStore(store)
  const good = JSON.stringify(await documents.create({ n: 1 }, { save: false }))
  const { jacsId, jacsVersion } = JSON.parse(good) as Document
  const member = (name: string, body: string) => ({ header: { name, size: body.length }, body })
  const tar = await packTar([
    member(`./data/documents/${jacsId}/${jacsVersion}.json`, good),
    member(`./data/documents/${crypto.randomUUID()}/${jacsVersion}.json`, good),
    member(`data/documents/${jacsId}/0.json`, "{}"),
    member(`files/${"0".repeat(64)}`, "other bytes"),
    member("documents/../../etc/passwd", "root"),
    member(".holdfast/format.json", "{}"),
    member("readme.txt", "hello"),
    { header: { name: "documents/link", size: 0, type: "symlink", linkname: "/etc/passwd" } },
  ])
  const packed = streamOf(tar)
    .pipeThrough(new CompressionStream("gzip") as ReadableWritablePair<Uint8Array, Uint8Array>)
  const report = await documents.importTar(packed)
  expect(report.documents).toEqual({ copied: 1, present: 0 })
  expect(report.failed.map(({ error }) => error.reason).toSorted()).toEqual([
    "Corrupt",
    "Corrupt",
    "Corrupt",
    "InvalidKey",
  ])
  expect(report.ignored).toBe(2)
  expect(await keysOf(store)).toEqual([`documents/${jacsId}/${jacsVersion}.json`])
})

test("rows 38, 228, 229: tar and rsync of a folder make stores that verify, and tar unpacks an export", async () => {
  const folder = await mkdtemp(join(tmpdir(), "holdfast-documents-"))
  try {
    const data = join(folder, "jacs_data")
    await using disk = await openBackend(Disk.make({ root: data }))
    const source = new DocumentStore(disk)
    const id = "x".repeat(200)
    const moved = { ...header, jacsId: id }
    await source.create(moved, { attachments })
    await source.agents.create({ name: "scribe" })
    await source.update(id, { n: 1 })
    await call("tar", ["-czf", join(folder, "backup.tar.gz"), "-C", folder, "./jacs_data"])
    const { readFile } = await import("node:fs/promises")
    const packed = new Uint8Array(await readFile(join(folder, "backup.tar.gz")))
    await using imported = await openOn(await makeMemory())
    const report = await new DocumentStore(imported).importTar(streamOf(packed))
    expect([report.documents.copied, report.agents.copied, report.files.copied, report.failed]).toEqual([2, 1, 2, []])
    expect(await keysOf(imported)).toEqual(await keysOf(disk))

    // The same archive unpacked by tar, and a copy by rsync, are stores.
    const unpacked = join(folder, "new", "location")
    await mkdir(unpacked, { recursive: true })
    await call("tar", ["-xzf", join(folder, "backup.tar.gz"), "-C", unpacked])
    await mkdir(join(folder, "copy"))
    // What rsync -a does, where there is no rsync.
    await call("rsync", ["-a", `${data}/`, join(folder, "copy")])
      .catch(() => call("cp", ["-a", `${data}/.`, join(folder, "copy")]))
    // An export has no temporary files and no absolute paths in it, and is opened by tar.
    await writeFile(join(folder, "export.tar.gz"), new Uint8Array(await bytesOf(source.exportTar())))
    await mkdir(join(folder, "exported"))
    await call("tar", ["-xzf", join(folder, "export.tar.gz"), "-C", join(folder, "exported")])
    const names = await readdir(join(folder, "exported"), { recursive: true })
    expect(names.filter((name) => !/^jacs_data(\/(documents|agents|files)|$)/.test(name))).toEqual([])
    for (const root of [join(unpacked, "jacs_data"), join(folder, "copy"), join(folder, "exported", "jacs_data")]) {
      await using copy = await openBackend(Disk.make({ root }))
      const documents = new DocumentStore(copy)
      await allVerify(documents)
      expect((await documents.getLatest(id))["n"]).toBe(1)
      expect((await Array.fromAsync(documents.list())).length).toBe(2)
    }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
})

test("an export whose store fails ends with that failure, and one that is cancelled reads no more", async () => {
  const memory = await makeMemory()
  await using store = await openOn(memory)
  const documents = new DocumentStore(store)
  await documents.createMany(Array.from({ length: 5 }, (_, n) => ({ n })))
  const error = new StoreError({ reason: "Forbidden", detail: "no" })
  await using broken = await openOn(faulty(memory, { rules: [{ on: "get", nth: 3, fault: fail(error) }] }).backend)
  expect(await reasonOf(bytesOf(new DocumentStore(broken).exportTar()))).toBe("Forbidden")
  await documents.exportTar().cancel()
})

onlyOn("bun", "the scripted S3 service is tested there")(
  "rows 56, 230: in a versioned bucket what was overwritten or deleted comes back from its previous version",
  async () => {
    const peer = makeS3Peer({ seed: 1, anonymous: true })
    const body = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"
    await peer.fetch("https://test.s3.us-east-1.amazonaws.com/?versioning", { method: "PUT", body })
    await using store = await openBackend(
      S3.make({ bucket: "test", region: "us-east-1", profile: "aws", fetch: peer.fetch, ...peerCredentials }),
    )
    const documents = new DocumentStore(store)
    const made = await documents.create({ n: 1 })
    const key = `documents/${made.jacsId}/${made.jacsVersion}.json`
    await store.save(key, "overwritten", { compression: "none" })
    await store.remove(key)
    expect(await documents.exists(`${made.jacsId}:${made.jacsVersion}`)).toBe(false)
    const versions = await Array.fromAsync(store.versions({ prefix: key }))
    expect(versions.map(({ removed }) => removed)).toEqual([true, false, false])
    await store.restore(key, versions[2]!.versionId)
    expect(await documents.getLatest(made.jacsId)).toEqual(made)
  },
)

test("the service comes by a layer", async () => {
  const program = Effect.gen(function* () {
    const documents = yield* Documents
    const made = yield* documents.create({ n: 1 })
    return [made, yield* documents.getLatest(made.jacsId)]
  })
  const layer = Documents.layer()
  const [made, found] = await Effect.runPromise(program.pipe(Effect.provide(layer), Effect.provide(Memory.layer())))
  expect(found).toEqual(made)
})
