/**
 * The suite of the document store: what the seed's page about JACS promises, JACS' own conformance cases, and what goes
 * beyond both.
 *
 * @module
 */
import { expect } from "bun:test"
import { stat } from "node:fs/promises"
import * as Memory from "../backends/memory.ts"
import type { StoreError } from "../error.ts"
import { openBackend } from "../store.ts"
import { conformance } from "./document-conformance-testing.ts"
import {
  address,
  bytesOf,
  hashOf,
  keysOf,
  makeParties,
  reasonOf,
  scaled,
  shown,
  streamOf,
  text,
} from "./document-helpers-testing.ts"
import { documentSha256 } from "./document-signature.ts"
import { type Document, DocumentStore } from "./documents.ts"
import type { SeedCase, Suite } from "./testing.ts"

const seed: ReadonlyArray<SeedCase> = [
  {
    rows: [35, 36, 148, 154],
    name: "an agent, a document and an external file are exactly three objects, at their documented paths",
    run: async (store) => {
      const documents = new DocumentStore(store)
      const agent = await documents.agents.create({ name: "scribe" })
      const bytes = text("Quarterly figures\n")
      const attachments = [{ path: "./report.txt", bytes }]
      const document = await documents.create({ title: "My Document" }, { attachments })
      const hash = document.jacsFiles![0]!.sha256!
      expect(hash).toBe(await hashOf(bytes))
      expect(await keysOf(store)).toEqual([
        `agents/${agent.jacsId}/${agent.jacsVersion}.json`,
        `documents/${document.jacsId}/${document.jacsVersion}.json`,
        `files/${hash}`,
      ])
      expect(await (await store.load(`files/${hash}`)).bytes()).toEqual(bytes)
      const next = await documents.agents.update(agent.jacsId, (current) => ({ ...current, name: "editor" }))
      expect(await keysOf(store)).toContain(`agents/${agent.jacsId}/${next.jacsVersion}.json`)
      expect((await documents.agents.versions(agent.jacsId)).length).toBe(2)
    },
  },
  {
    rows: [144],
    name: "a created document has JACS' whole header, and a signature and a digest that hold",
    run: async (store) => {
      const documents = new DocumentStore(store, await makeParties())
      const made = await documents.create({ title: "My Document", tags: ["a", { b: null }], n: 1.5 })
      for (
        const name of [
          ...["jacsId", "jacsVersion", "jacsVersionDate", "jacsOriginalVersion", "jacsOriginalDate", "jacsLevel"],
          ...["jacsType", "jacsSignature", "jacsSha256", "$schema"],
        ]
      ) expect(Object.keys(made)).toContain(name)
      const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/
      expect(made.jacsId).toMatch(uuid)
      expect(made.jacsVersion).toMatch(uuid)
      expect([made.jacsLevel, made.jacsType, made.jacsOriginalVersion]).toEqual(["raw", "document", made.jacsVersion])
      expect(await documents.verify(made)).toEqual({ signature: "valid", files: 0 })
      expect(await documents.get(address(made))).toEqual(made)
      expect(await reasonOf(documents.verify({ ...made, n: 2 }))).toBe("Corrupt")
    },
  },
  {
    rows: [142, 151],
    name: "documents and agents come back by id:version, and by id and version",
    run: async (store) => {
      const documents = new DocumentStore(store)
      for (const kind of [documents, documents.agents]) {
        const made = await kind.create({ title: "é 語 \u{1f600}" })
        expect(await kind.get(address(made))).toEqual(made)
        expect(await kind.get(made.jacsId, made.jacsVersion)).toEqual(made)
        expect(await kind.getLatest(made.jacsId)).toEqual(made)
        const other = kind === documents ? documents.agents : documents
        expect(await reasonOf(other.get(address(made)))).toBe("NotFound")
      }
    },
  },
  {
    rows: [145],
    name: "an update is a new version that links to the old one, whose object stays as it was",
    run: async (store) => {
      const documents = new DocumentStore(store, await makeParties())
      const first = await documents.create({ title: "one", kept: true })
      const key = `documents/${first.jacsId}/${first.jacsVersion}.json`
      const before = await store.stat(key)
      const second = await documents.update(first.jacsId, (current) => ({ ...current, title: "two" }))
      const third = await documents.update(address(second), { title: "three" })
      expect([second.jacsPreviousVersion, third.jacsPreviousVersion]).toEqual([first.jacsVersion, second.jacsVersion])
      expect([second["kept"], third["kept"]]).toEqual([true, undefined])
      for (const next of [second, third]) {
        expect([next.jacsId, next.jacsOriginalVersion]).toEqual([first.jacsId, first.jacsVersion])
        expect(next.jacsVersionDate > first.jacsVersionDate).toBe(true)
        expect((await documents.verify(next)).signature).toBe("valid")
      }
      expect((await store.stat(key)).etag).toBe(before.etag)
      expect(await documents.get(address(first))).toEqual(first)
      expect(await documents.getLatest(first.jacsId)).toEqual(third)
      expect((await documents.versions(first.jacsId)).map(shown)).toEqual([first, second, third].map(address))
      expect(await reasonOf(documents.update(address(first), { title: "late" }))).toBe("Conflict")
      expect((await documents.versions(first.jacsId)).length).toBe(3)
    },
  },
  {
    rows: [87, 89],
    name: "with save: false a whole signed document comes back and nothing is stored anywhere",
    run: async (store) => {
      const documents = new DocumentStore(store, await makeParties())
      const attachments = [{ path: "a.txt", bytes: text("a") }]
      for (const embed of [true, false]) {
        const made = await documents.create({ temp: "data" }, { save: false, attachments, embed })
        expect(made.jacsSignature?.signature).toMatch(/^[A-Za-z0-9+/]{86}==$/)
        if (embed) expect((await documents.verify(made)).signature).toBe("valid")
      }
      expect(await keysOf(store)).toEqual([])
    },
  },
  {
    rows: [146],
    name: "an embedded file is base64(gzip(bytes)) in jacsFiles, and its sha256 holds",
    run: async (store) => {
      const documents = new DocumentStore(store)
      const bytes = text("Monthly Report\n".repeat(1000))
      const made = await documents.create({ report: "Monthly Report" }, {
        attachments: [{ path: "./report.pdf", bytes, mimetype: "application/pdf" }],
        embed: true,
      })
      const [file] = made.jacsFiles!
      expect([file!.mimetype, file!.path, file!.embed]).toEqual(["application/pdf", "./report.pdf", true])
      const decoder = new DecompressionStream("gzip") as ReadableWritablePair<Uint8Array, Uint8Array>
      const packed = Uint8Array.from(atob(file!.contents!), (character) => character.charCodeAt(0))
      expect(await bytesOf(streamOf(packed).pipeThrough(decoder))).toEqual(bytes)
      expect(file!.sha256).toBe(await hashOf(text(file!.contents!)))
      expect(await keysOf(store)).toEqual([`documents/${made.jacsId}/${made.jacsVersion}.json`])
      expect(await bytesOf(await documents.file(await documents.getLatest(made.jacsId), "./report.pdf"))).toEqual(bytes)
      expect((await documents.verify(made)).files).toBe(1)
    },
  },
  {
    rows: [147],
    name: "an external file is path and hash only; checking it fails when the file is gone or changed",
    run: async (store) => {
      const documents = new DocumentStore(store)
      const bytes = text("figures")
      const made = await documents.create({}, { attachments: [{ path: "data/figures.csv", bytes }] })
      const [file] = made.jacsFiles!
      expect(Object.keys(file!).toSorted()).toEqual(["embed", "mimetype", "path", "sha256"])
      const verify = (found: Uint8Array<ArrayBuffer> | undefined) =>
        documents.verify(made, { readFile: (path) => Promise.resolve(path === file!.path ? found : undefined) })
      expect((await verify(bytes)).files).toBe(1)
      expect(await reasonOf(verify(text("Figures")))).toBe("Corrupt")
      expect(await reasonOf(verify(undefined))).toBe("NotFound")
      // Without the original, the copy in the store counts.
      expect((await documents.verify(made)).files).toBe(1)
      await store.save(`files/${file!.sha256}`, "Figures", { compression: "none" })
      expect(await reasonOf(documents.verify(made))).toBe("Corrupt")
      expect(await reasonOf(documents.file(made, "data/figures.csv").then(bytesOf))).toBe("Corrupt")
      await store.remove(`files/${file!.sha256}`)
      expect(await reasonOf(documents.verify(made))).toBe("NotFound")
      expect(await reasonOf(documents.file(made, "other"))).toBe("NotFound")
    },
  },
  {
    rows: [148, 149],
    name: "many files of many documents are each stored once",
    run: async (store) => {
      const documents = new DocumentStore(store)
      const attachments = ["a", "b", "a"].map((content, i) => ({ path: `dir/${i}`, bytes: text(content) }))
      const first = await documents.create({}, { attachments })
      expect(first.jacsFiles!.map(({ path }) => path)).toEqual(["dir/0", "dir/1", "dir/2"])
      const files = () => keysOf(store).then((keys) => keys.filter((key) => key.startsWith("files/")))
      const stored = await files()
      expect(stored.length).toBe(2)
      const [before] = await Promise.all(stored.map((key) => store.stat(key)))
      await documents.create({}, { attachments: [...attachments, { path: "c", bytes: text("c") }] })
      expect((await files()).length).toBe(3)
      expect((await store.stat(before!.key)).etag).toBe(before!.etag)
    },
  },
  {
    rows: [150],
    name: "a document without signature and digest is signed anew and keeps id, version and history",
    run: async (store) => {
      const source = new DocumentStore(store, await makeParties())
      const first = await source.create({ title: "one" })
      const second = await source.update(first.jacsId, { title: "two" })
      const parties = await makeParties()
      const target = new DocumentStore(store, parties)
      for (const one of [first, second]) {
        const { jacsSignature: _, jacsSha256: __, ...rest } = one
        await store.remove(`documents/${one.jacsId}/${one.jacsVersion}.json`)
        const made = await target.create(rest)
        const { jacsSignature, jacsSha256: ___, ...moved } = made
        expect(moved).toEqual(rest)
        expect(jacsSignature!.publicKeyHash).toBe(parties.signer.publicKeyHash)
      }
      expect((await target.getLatest(first.jacsId)).jacsVersion).toBe(second.jacsVersion)
      for (
        const content of [first, { jacsId: first.jacsId }, { jacsVersion: first.jacsVersion }, { jacsSha256: "0" }]
      ) {
        const error = await target.create(content).catch((error) => error)
        expect(error.reason).toBe("InvalidInput")
        expect(error.detail).toBe("New JACs documents should have no id or version")
      }
    },
  },
  {
    rows: [198],
    name: "with a cache a second read makes no request, and the 101st document drives out the least recent",
    on: ["memory", "disk"],
    run: async (store) => {
      const documents = new DocumentStore(store, { cache: {} })
      const made = await documents.createMany(Array.from({ length: 101 }, (_, n) => ({ n })))
      const all = made.map(({ document }) => address(document!))
      for (const one of all.slice(0, 100)) await documents.get(one)
      for await (const { key } of store.list()) await store.remove(key)
      // Served from memory: nothing is stored any more. The first one becomes the most recent.
      expect((await documents.get(all[0]!))["n"]).toBe(0)
      const kept = await documents.get(all[1]!)
      Object.assign(kept, { changed: true })
      expect(Object.keys(await documents.get(all[1]!))).not.toContain("changed")
      await documents.add(made[100]!.document!)
      expect((await documents.get(all[100]!))["n"]).toBe(100)
      expect(await reasonOf(documents.get(all[2]!))).toBe("NotFound")
      expect((await documents.get(all[0]!))["n"]).toBe(0)
    },
  },
  {
    rows: [256],
    name: "10,000 documents (fewer where it is slow) are listed, and single ones found, with pages",
    run: async (store, place) => {
      const documents = new DocumentStore(store)
      const many = scaled(place, 10_000, place.name === "disk" ? 300 : 1_100)
      const template = await documents.create({ n: 0 })
      const made = await documents.createMany(Array.from({ length: many - 1 }, (_, n) => ({ n: n + 1 })))
      expect(made.filter(({ error }) => error !== undefined)).toEqual([])
      const listed = await Array.fromAsync(documents.list())
      expect(listed.length).toBe(many)
      expect(new Set(listed.map(({ id }) => id)).size).toBe(many)
      const last = made.at(-1)!.document!
      expect(await documents.getLatest(last.jacsId)).toEqual(last)
      await documents.update(last.jacsId, { n: -1 })
      expect((await documents.versions(last.jacsId)).length).toBe(2)
      expect(await documents.get(address(template))).toEqual(template)
    },
  },
  {
    rows: [227],
    name: "documents move to another store: all verify there, the source is untouched, again is harmless",
    run: async (store) => {
      await using other = await openBackend(Memory.make())
      const parties = await makeParties()
      const source = new DocumentStore(store, parties)
      await source.agents.create({ name: "scribe" })
      const first = await source.create({ n: 1 }, { attachments: [{ path: "a", bytes: text("a") }] })
      const second = await source.update(first.jacsId, { n: 2 })
      const removed = await source.create({ n: 3 })
      await source.remove(address(removed))
      const before = await Array.fromAsync(store.list())
      const target = new DocumentStore(other, parties)
      const report = await target.copyFrom(source)
      expect(report).toEqual({
        documents: { copied: 2, present: 0 },
        agents: { copied: 1, present: 0 },
        files: { copied: 1, present: 0 },
        others: { copied: 1, present: 0 },
        failed: [],
        ignored: 0,
      })
      expect(await keysOf(other)).toEqual(await keysOf(store))
      for await (const entry of target.list()) {
        expect((await target.verify(await target.get(entry))).signature).toBe("valid")
      }
      expect(await target.getLatest(first.jacsId)).toEqual(second)
      expect((await target.copyFrom(source)).documents).toEqual({ copied: 0, present: 2 })
      expect(await Array.fromAsync(store.list())).toEqual(before)
      // Signed anew, as the seed's recipe has it.
      await using third = await openBackend(Memory.make())
      const anew = await makeParties()
      const resigned = new DocumentStore(third, anew)
      expect((await resigned.copyFrom(source, { resign: true })).documents).toEqual({ copied: 2, present: 0 })
      const latest = await resigned.getLatest(first.jacsId)
      expect([latest.jacsVersion, latest["n"]]).toEqual([second.jacsVersion, 2])
      expect(latest.jacsSignature!.publicKeyHash).toBe(anew.signer.publicKeyHash)
      expect((await resigned.copyFrom(source, { resign: true })).documents).toEqual({ copied: 0, present: 2 })
    },
  },
  {
    rows: [38, 228],
    name: "an exported archive restores to another place and verifies",
    run: async (store) => {
      await using other = await openBackend(Memory.make())
      const parties = await makeParties()
      const source = new DocumentStore(store, parties)
      await source.agents.create({ name: "scribe" })
      const first = await source.create({ n: 1 }, { attachments: [{ path: "a", bytes: text("a".repeat(70_000)) }] })
      await source.update(first.jacsId, (current) => ({ ...current, n: 2 }))
      const archive = await bytesOf(source.exportTar())
      const target = new DocumentStore(other, parties)
      const report = await target.importTar(streamOf(new Uint8Array(archive)))
      expect([report.documents.copied, report.agents.copied, report.files.copied]).toEqual([2, 1, 1])
      expect(report.failed).toEqual([])
      expect(await keysOf(other)).toEqual(await keysOf(store))
      for await (const entry of target.list()) expect((await target.verify(await target.get(entry))).files).toBe(1)
      const again = await target.importTar(streamOf(new Uint8Array(archive)))
      expect([again.documents.present, again.agents.present, again.files.present]).toEqual([2, 1, 1])
    },
  },
  {
    rows: [39, 219],
    name: "folders have mode 0700 and documents 0600",
    on: ["disk"],
    run: async (store, place) => {
      const documents = new DocumentStore(store)
      const made = await documents.create({}, { attachments: [{ path: "a", bytes: text("a") }] })
      const modeOf = async (path: string) => ((await stat(`${place.root}/${path}`)).mode & 0o7777).toString(8)
      expect(await modeOf("")).toBe("700")
      for (const folder of ["documents", `documents/${made.jacsId}`, "files"]) expect(await modeOf(folder)).toBe("700")
      for (const key of await keysOf(store)) expect(await modeOf(key)).toBe("600")
    },
  },
]

/** What goes beyond the seed. */
const beyond: ReadonlyArray<SeedCase> = [
  {
    rows: [],
    name: "fields that nobody knows are kept, in the header, in signatures and in files",
    run: async (store) => {
      const parties = await makeParties()
      const documents = new DocumentStore(store, parties)
      const content = { jacsEmbedding: [{ vector: [1, 2] }], "é": { "": null }, jacsFiles: [] as Array<unknown> }
      content.jacsFiles.push({ mimetype: "a/b", path: "p", embed: false, sha256: "0", added: { later: 1 } })
      const made = await documents.create(content)
      const found = await documents.get(address(made))
      expect(found).toEqual(made)
      expect(found["é"]).toEqual({ "": null })
      expect(found.jacsFiles![0]!["added"]).toEqual({ later: 1 })
      expect(found.jacsSignature!["iat"]).toEqual(expect.any(Number))
    },
  },
  {
    rows: [],
    name: "damaged and foreign objects: a direct read names them, a list serves all others",
    run: async (store) => {
      const documents = new DocumentStore(store, await makeParties())
      const made = await documents.createMany([{ n: 1 }, { n: 2 }, { n: 3 }])
      const [first, second, third] = made.map(({ document }) => document!)
      const at = (document: Document) => `documents/${document.jacsId}/${document.jacsVersion}.json`
      await store.save(at(first!), JSON.stringify({ ...first, n: 7 }), { compression: "none" })
      await store.save(at(second!), "not JSON", { compression: "none" })
      await store.save("documents/readme.txt", "hello", { compression: "none" })
      await store.save("documents/x/y/z.json", "{}", { compression: "none" })
      const moved = `documents/${crypto.randomUUID()}/${third!.jacsVersion}.json`
      await store.save(moved, JSON.stringify(third), { compression: "none" })
      for (const one of [first!, second!]) {
        const error = await documents.get(address(one)).catch((error) => error)
        expect([error.reason, error.key]).toEqual(["Corrupt", at(one)])
        expect(await reasonOf(documents.getLatest(one.jacsId))).toBe("Corrupt")
      }
      const unreadable: Array<string> = []
      const onUnreadable = (error: StoreError) => void unreadable.push(error.key!)
      expect((await Array.fromAsync(documents.find({ onUnreadable }))).map(({ n }) => n)).toEqual([3])
      expect(unreadable.toSorted()).toEqual([at(first!), at(second!), moved].toSorted())
      expect((await Array.fromAsync(documents.list())).length).toBe(4)
    },
  },
  {
    rows: [],
    name: "a signature that is not one of its content is Corrupt, also when the digest has been made to fit",
    run: async (store) => {
      const documents = new DocumentStore(store, await makeParties())
      const made = await documents.create({ amount: 1 })
      for (const change of [{ amount: 1000 }, { extra: true }]) {
        const { jacsSha256: _, ...forged } = { ...made, ...change }
        const text = JSON.stringify({ ...forged, jacsSha256: await documentSha256(forged) })
        await store.save(`documents/${made.jacsId}/${made.jacsVersion}.json`, text, { compression: "none" })
        expect(await reasonOf(documents.get(address(made)))).toBe("Corrupt")
        expect((await new DocumentStore(store).get(address(made)))["amount"]).toBe(change.amount ?? 1)
      }
      // By an unknown key: readable, but told.
      const others = new DocumentStore(store, await makeParties())
      const theirs = await others.create({})
      expect((await documents.get(address(theirs))).jacsId).toBe(theirs.jacsId)
      expect((await documents.verify(theirs)).signature).toBe("unknown")
      expect((await documents.verify(await new DocumentStore(store).create({}))).signature).toBe("absent")
      expect((await new DocumentStore(store).verify(theirs)).signature).toBe("unchecked")
    },
  },
  {
    rows: [],
    name: "find filters the newest versions by type, level, agent and anything else",
    run: async (store) => {
      const parties = await makeParties()
      const documents = new DocumentStore(store, parties)
      const schema = "https://hai.ai/schemas/message/v1/message.schema.json"
      const message = await documents.create({ n: 1 }, { schema })
      const config = await documents.create({ n: 2, jacsLevel: "config" })
      await documents.update(config.jacsId, (current) => ({ ...current, n: 3 }))
      const unsigned = await new DocumentStore(store).create({ n: 4 })
      const found = async (filter: Parameters<typeof documents.find>[0]) =>
        (await Array.fromAsync(documents.find(filter))).map(({ n }) => n as number).toSorted()
      expect(await found({})).toEqual([1, 3, 4])
      expect(await found({ type: "message" })).toEqual([1])
      expect(await found({ level: "config" })).toEqual([3])
      expect(await found({ agentId: parties.signer.agentId })).toEqual([1, 3])
      expect(await found({ where: ({ n }) => n === 2 || n === 4 })).toEqual([4])
      expect([message.jacsType, unsigned.jacsType]).toEqual(["message", "document"])
    },
  },
  {
    rows: [],
    name: "8 writers who each update one document 200 times (fewer where it is slow) lose none",
    run: async (store, place) => {
      const updates = scaled(place, 200, place.name === "disk" ? 6 : 15)
      const first = await new DocumentStore(store).create({ count: 0 })
      await Promise.all(Array.from({ length: 8 }, async () => {
        await using own = await place.open()
        const documents = new DocumentStore(own)
        for (let i = 0; i < updates; i++) {
          await documents.update(first.jacsId, (current) => ({ count: (current["count"] as number) + 1 }))
        }
      }))
      const documents = new DocumentStore(store)
      expect((await documents.getLatest(first.jacsId))["count"]).toBe(8 * updates)
      const versions = await documents.versions(first.jacsId)
      expect(versions.length).toBe(8 * updates + 1)
      // One chain: each version replaces the one before it.
      const all = await documents.getMany(versions)
      expect(all.map(({ document }) => document!["count"])).toEqual(versions.map((_, n) => n))
      expect(all.slice(1).map(({ document }) => document!.jacsPreviousVersion)).toEqual(
        versions.slice(0, -1).map(({ version }) => version),
      )
    },
  },
  {
    rows: [],
    name: "two instances on one place see each other's writes",
    run: async (store, place) => {
      await using other = await place.open()
      const [here, there] = [new DocumentStore(store), new DocumentStore(other)]
      const first = await here.create({ n: 1 })
      expect(await there.getLatest(first.jacsId)).toEqual(first)
      const second = await there.update(first.jacsId, { n: 2 })
      expect(await here.getLatest(first.jacsId)).toEqual(second)
      expect(await reasonOf(here.update(address(first), { n: 3 }))).toBe("Conflict")
      await here.remove(first.jacsId)
      expect(await there.versions(first.jacsId)).toEqual([])
      expect(await reasonOf(there.getLatest(first.jacsId))).toBe("NotFound")
    },
  },
  {
    rows: [],
    name: "several who remove the same document at once all succeed, and it is in the archive",
    run: async (store, place) => {
      const first = await new DocumentStore(store).create({ n: 1 })
      await Promise.all(Array.from({ length: 4 }, async () => {
        await using own = await place.open()
        await new DocumentStore(own).remove(address(first))
      }))
      expect(await keysOf(store)).toEqual([`archive/documents/${first.jacsId}/${first.jacsVersion}.json`])
      expect(await new DocumentStore(store).restore(address(first))).toEqual(first)
    },
  },
  {
    rows: [],
    name: "what JACS itself has written is read, listed and continued",
    run: async (store) => {
      const documents = new DocumentStore(store)
      const first = await documents.create({ n: 1 }, { save: false })
      const agent = await documents.agents.create({ name: "old" }, { save: false })
      await store.save(`documents/${address(first)}.json`, JSON.stringify(first), { compression: "none" })
      await store.save(`agent/${address(agent)}.json`, JSON.stringify(agent), { compression: "none" })
      expect(await documents.get(address(first))).toEqual(first)
      expect(await documents.agents.getLatest(agent.jacsId)).toEqual(agent)
      expect(await documents.exists(address(first))).toBe(true)
      const second = await documents.update(first.jacsId, { n: 2 })
      expect(second.jacsPreviousVersion).toBe(first.jacsVersion)
      expect((await documents.versions(first.jacsId)).map(shown)).toEqual([first, second].map(address))
      expect((await Array.fromAsync(documents.agents.list())).map(shown)).toEqual([address(agent)])
      expect(await documents.add(first)).toEqual(first)
      await documents.remove(address(first))
      expect(await documents.exists(address(first))).toBe(false)
    },
  },
]

/** The cases. */
export const suite: Suite = { name: "documents", cases: [...seed, ...conformance, ...beyond] }
