/**
 * JACS' own conformance suite for storage: its eleven cases, by their names.
 *
 * @module
 */
import { expect } from "bun:test"
import { address, keysOf, makeParties, reasonOf, scaled } from "./document-helpers-testing.ts"
import { DocumentStore } from "./documents.ts"
import type { SeedCase } from "./testing.ts"

/** The cases. */
export const conformance: ReadonlyArray<SeedCase> = [
  {
    rows: [89, 142],
    name: "store_and_retrieve",
    run: async (store) => {
      const documents = new DocumentStore(store)
      const document = await documents.create({ a: 1 }, { save: false })
      await documents.add(document)
      expect(await documents.get(address(document))).toEqual(document)
    },
  },
  {
    rows: [89],
    name: "document_exists",
    run: async (store) => {
      const documents = new DocumentStore(store)
      const document = await documents.create({})
      expect(await documents.exists(address(document))).toBe(true)
      expect(await documents.exists(`${document.jacsId}:${crypto.randomUUID()}`)).toBe(false)
    },
  },
  {
    rows: [89],
    name: "document_not_found",
    run: async (store) => {
      const documents = new DocumentStore(store)
      const missing = { id: crypto.randomUUID(), version: crypto.randomUUID() }
      expect(await reasonOf(documents.get(missing))).toBe("NotFound")
      expect(await reasonOf(documents.getLatest(missing.id))).toBe("NotFound")
      expect(await reasonOf(documents.update(missing.id, {}))).toBe("NotFound")
      expect(await reasonOf(documents.restore(missing))).toBe("NotFound")
      expect(await documents.versions(missing.id)).toEqual([])
    },
  },
  {
    rows: [89],
    name: "remove_document",
    run: async (store) => {
      const documents = new DocumentStore(store)
      const document = await documents.create({ n: 1 })
      await documents.remove(address(document))
      expect(await documents.exists(address(document))).toBe(false)
      expect(await reasonOf(documents.get(address(document)))).toBe("NotFound")
      expect(await keysOf(store)).toEqual([`archive/documents/${document.jacsId}/${document.jacsVersion}.json`])
      await documents.remove(address(document))
      expect(await documents.restore(address(document))).toEqual(document)
      expect(await documents.getLatest(document.jacsId)).toEqual(document)
    },
  },
  {
    rows: [89, 145],
    name: "get_document_versions",
    run: async (store) => {
      const documents = new DocumentStore(store)
      const first = await documents.create({ n: 0 })
      for (let n = 1; n < 4; n++) await documents.update(first.jacsId, { n })
      const versions = await documents.versions(first.jacsId)
      expect((await documents.getMany(versions)).map(({ document }) => document!["n"])).toEqual([0, 1, 2, 3])
    },
  },
  {
    rows: [89],
    name: "get_latest_document",
    run: async (store) => {
      const documents = new DocumentStore(store)
      const first = await documents.create({ n: 0 })
      const second = await documents.update(first.jacsId, { n: 1 })
      expect(await documents.getLatest(first.jacsId)).toEqual(second)
      await documents.remove(address(second))
      expect(await documents.getLatest(first.jacsId)).toEqual(first)
      // The archived version's id is not given away again.
      const third = await documents.update(first.jacsId, { n: 2 })
      expect(third.jacsVersion).not.toBe(second.jacsVersion)
      expect(third.jacsPreviousVersion).toBe(first.jacsVersion)
      expect(await documents.restore(address(second))).toEqual(second)
      expect((await documents.getLatest(first.jacsId)).jacsVersion).toBe(third.jacsVersion)
    },
  },
  {
    rows: [89],
    name: "merge_documents: there is no such verb, as JACS' own is always an error",
    on: ["memory"],
    run: (store) => {
      expect(Object.keys(new DocumentStore(store).service)).not.toContain("merge")
      return Promise.resolve()
    },
  },
  {
    rows: [89],
    name: "store_documents_bulk",
    run: async (store, place) => {
      const documents = new DocumentStore(store)
      const many = scaled(place, 200, 30)
      const results = await documents.createMany([
        ...Array.from({ length: many }, (_, n) => ({ n })),
        { jacsId: "brought along" },
      ])
      expect(results.slice(0, -1).map(({ document }) => document?.["n"])).toEqual(
        Array.from({ length: many }, (_, n) => n),
      )
      expect(results.at(-1)!.error?.reason).toBe("InvalidInput")
      expect((await keysOf(store)).length).toBe(many)
    },
  },
  {
    rows: [89],
    name: "get_documents_bulk",
    run: async (store) => {
      const documents = new DocumentStore(store)
      const made = await documents.createMany(Array.from({ length: 20 }, (_, n) => ({ n })))
      const asked = [...made.map(({ document }) => address(document!)), "a:b", "a/b:c"]
      const found = await documents.getMany(asked)
      expect(found.map(({ document, error }) => document?.["n"] ?? error?.reason)).toEqual([
        ...Array.from({ length: 20 }, (_, n) => n),
        "NotFound",
        "InvalidKey",
      ])
    },
  },
  {
    rows: [89, 145],
    name: "idempotent_store",
    run: async (store) => {
      const parties = await makeParties()
      const documents = new DocumentStore(store, parties)
      const document = await documents.create({ n: 1 })
      const key = `documents/${document.jacsId}/${document.jacsVersion}.json`
      const before = await store.stat(key)
      expect(await documents.add(document)).toEqual(document)
      expect((await store.stat(key)).etag).toBe(before.etag)
      const { jacsSignature: _, jacsSha256: __, ...rest } = document
      const other = await documents.create({ ...rest, n: 2 }, { save: false })
      expect(await reasonOf(documents.add(other))).toBe("AlreadyExists")
      expect(await documents.get(address(document))).toEqual(document)
    },
  },
  {
    rows: [89],
    name: "invalid_key_format",
    run: async (store) => {
      const documents = new DocumentStore(store)
      const bad = ["..", "a/b", "a\\b", "a..b", "a\0b", "x".repeat(1025), "", "a\nb"]
      for (const id of bad) {
        for (const call of [documents.get(`${id}:v`), documents.get(id, "v"), documents.get("d", id)]) {
          expect(await reasonOf(call)).toBe("InvalidKey")
        }
        for (const call of [documents.getLatest(id), documents.versions(id), documents.update(id, {})]) {
          expect(await reasonOf(call)).toBe("InvalidKey")
        }
        expect(await reasonOf(documents.exists({ id, version: "v" }))).toBe("InvalidKey")
        expect(await reasonOf(documents.remove({ id, version: "v" }))).toBe("InvalidKey")
        expect(await reasonOf(documents.restore({ id: "d", version: id }))).toBe("InvalidKey")
        const content = { jacsId: id, jacsVersion: "v", jacsVersionDate: "", jacsOriginalVersion: "v" }
        expect(await reasonOf(documents.create({ ...content, jacsOriginalDate: "" }))).toBe("InvalidKey")
      }
      for (const one of ["no version", "a:b:c"]) expect(await reasonOf(documents.get(one))).toBe("InvalidKey")
      expect(await keysOf(store)).toEqual([])
    },
  },
]
