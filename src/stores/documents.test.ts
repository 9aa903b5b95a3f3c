import { expect, test } from "bun:test"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { Backend } from "../backend.ts"
import * as Memory from "../backends/memory.ts"
import * as S3 from "../backends/s3/mod.ts"
import { StoreError } from "../error.ts"
import { openBackend } from "../store.ts"
import { delay, fail, type Faulty, faulty } from "../testing/faulty.ts"
import { makeS3Peer, peerCredentials } from "../testing/s3/mod.ts"
import { lastOfRuns, nextVersion, refOf } from "./document-names.ts"
import {
  allVerify,
  attachments,
  bytesOf,
  dying,
  hashOf,
  keysOf,
  makeMemory,
  openOn,
  reasonOf,
} from "./document-helpers-testing.ts"
import { type Document, Documents, DocumentStore } from "./documents.ts"
import { suite } from "./documents-testing.ts"
import { addSuite } from "./testing.ts"

addSuite(suite)

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
      const keys = (await Effect.runPromise(Stream.runCollect(store.list()))).map(({ key }) => key)
      const names = new Set(keys.map((key) => key.split("/").at(-1)))
      expect(names.size).toBe(versions)
      await allVerify(documents)
    },
  )
  expect(writes).toBe(6)
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

test("the newest of many versions is found by one listing, one read, and one question to the archive", async () => {
  const memory = await counted()
  await using store = await openOn(memory.backend)
  const documents = new DocumentStore(store)
  const { jacsId } = await documents.create({ n: 0 })
  for (let n = 1; n < 30; n++) await documents.update(jacsId, { n })
  const [gets, lists] = [memory.calls("get"), memory.calls("list")]
  expect((await documents.getLatest(jacsId))["n"]).toBe(29)
  expect([memory.calls("get") - gets, memory.calls("list") - lists]).toEqual([2, 1])
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

test(
  "writers who go on while another removes the newest version lose nothing, and no id has two contents",
  async () => {
    for (let seed = 1; seed <= 5; seed++) {
      const rules = [{ fault: delay(1), probability: 0.5 }, { fault: delay(3), probability: 0.2 }]
      await using store = await openOn(faulty(await makeMemory(), { seed, rules }).backend)
      const documents = new DocumentStore(store)
      const { jacsId } = await documents.create({ words: [] })
      const said: Array<{ readonly word: string; readonly version: string }> = []
      let writing = 4
      const writers = Array.from({ length: writing }, async (_, writer) => {
        for (let i = 0; i < 5; i++) {
          const word = `${writer}.${i}`
          const made = await documents.update(jacsId, ({ words }) => ({ words: [...words as Array<string>, word] }))
          said.push({ word, version: made.jacsVersion })
          const words = made["words"] as Array<string>
          expect([seed, new Set(words).size]).toEqual([seed, words.length])
        }
        writing--
      })
      const remover = async () => {
        while (writing > 0) {
          const versions = await documents.versions(jacsId)
          // For a moment a version may stand where one was removed, until its writer finds out and takes it back.
          const settling = (error: unknown): void => {
            if (!StoreError.is(error) || error.reason !== "Conflict") throw error
          }
          if (versions.length > 1) await documents.remove(versions.at(-1)!).catch(settling)
        }
      }
      await Promise.all([...writers, remover()])
      for (const { word, version } of said) {
        const keys = [`documents/${jacsId}/${version}.json`, `archive/documents/${jacsId}/${version}.json`]
        const found = await Promise.all(
          keys.map(async (key) => await store.exists(key) ? [await (await store.load(key)).json<Document>()] : []),
        )
        expect([seed, word, found.flat().map(({ words }) => (words as Array<string>).includes(word))]).toEqual([
          seed,
          word,
          [true],
        ])
      }
    }
  },
  60_000,
)

test("a store that cannot create under a condition refuses documents before anything is written", async () => {
  const inner = await makeMemory()
  const conditional = { create: false, replace: false, complete: false, copy: false, remove: false }
  await using store = await openOn({ ...inner, capabilities: { ...inner.capabilities, conditional } })
  expect(await reasonOf(new DocumentStore(store).create({}))).toBe("Unsupported")
  expect(await keysOf(store)).toEqual([])
})

test("an update whose last question fails says that the new version may stand", async () => {
  const inner = await makeMemory()
  await using calm = await openOn(inner)
  const first = await new DocumentStore(calm).create({ n: 1 })
  const error = new StoreError({ reason: "Forbidden", detail: "no" })
  const rules = [{ on: "get", key: "archive/", nth: 2, fault: fail(error) }] as const
  await using store = await openOn(faulty(inner, { rules }).backend)
  const failed = await new DocumentStore(store).update(first.jacsId, { n: 2 }).catch((error) => error)
  expect([failed.reason, failed.ambiguous]).toEqual(["CommitUnknown", true])
  expect((await new DocumentStore(calm).getLatest(first.jacsId))["n"]).toBe(2)
})

test("what a writer has left of an id that the archive holds does not count as the newest, and nobody goes on from it", async () => {
  await using store = await openOn(await makeMemory())
  const documents = new DocumentStore(store)
  const first = await documents.create({ n: 1 })
  const second = await documents.update(first.jacsId, { n: 2 })
  await documents.remove(`${second.jacsId}:${second.jacsVersion}`)
  // A writer that died before it found out.
  const { jacsSha256: _, ...rest } = second
  const left = await documents.create({ ...rest, n: 7 })
  expect(left.jacsVersion).toBe(second.jacsVersion)
  expect(await documents.getLatest(first.jacsId)).toEqual(first)
  expect(await reasonOf(documents.update(`${left.jacsId}:${left.jacsVersion}`, { n: 8 }))).toBe("Conflict")
  expect((await documents.update(first.jacsId, { n: 9 })).jacsPreviousVersion).toBe(first.jacsVersion)
  expect((await documents.getLatest(first.jacsId))["n"]).toBe(9)
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

test(
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
    const spoilt = await documents.create({
      jacsFiles: [{ ...file, contents, sha256: await hashOf(new TextEncoder().encode(contents)) }],
    })
    expect(await reasonOf(documents.verify(spoilt))).toBe("Corrupt")
    expect(await reasonOf(documents.file(spoilt, "a"))).toBe("Corrupt")
  }
  const other = await documents.create({
    jacsFiles: [{ ...file, sha256: await hashOf(new TextEncoder().encode("another")) }],
  })
  expect(await reasonOf(documents.verify(other))).toBe("Corrupt")
})
