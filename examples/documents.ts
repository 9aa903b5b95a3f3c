/**
 * Signed documents in immutable versions: creates one with an attachment, updates it, verifies it, finds a forgery, and
 * moves everything to another store through an archive.
 *
 * Run it: bun examples/documents.ts, or deno run -A examples/documents.ts
 * It works in a folder of its own, or in the store that HOLDFAST_STORE names.
 */
import { open, StoreError } from "@holdfast/holdfast"
import {
  DocumentStore,
  generateEd25519Keys,
  makeEd25519Signer,
  makeEd25519Verifier,
} from "@holdfast/holdfast/documents"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import process from "node:process"

const folder = await mkdtemp(`${tmpdir()}/holdfast-example-`)
await using store = await open(process.env["HOLDFAST_STORE"] ?? `file:${folder}`)

// Whoever signs has a key, and a document of its own that says who it is.
const keys = await generateEd25519Keys()
const agent = await new DocumentStore(store).agents.create({ name: "reporter" })
const signer = await makeEd25519Signer({ ...keys, agentId: agent.jacsId, agentVersion: agent.jacsVersion })
const documents = new DocumentStore(store, { signer, verifier: makeEd25519Verifier([keys.publicKey]) })

const first = await documents.create({ report: "November", total: 12 }, {
  attachments: [{ path: "figures.csv", bytes: new TextEncoder().encode("day,total\n1,12\n"), mimetype: "text/csv" }],
})
console.log(`documents/${first.jacsId}/${first.jacsVersion}.json, signed by ${first.jacsSignature?.agentID}`)

// Each change is a new version. Of two writers who change the same one, the second starts again from the newest.
const second = await documents.update(first.jacsId, (current) => ({ ...current, total: 13 }))
console.assert(second.jacsPreviousVersion === first.jacsVersion)
console.assert((await documents.get(first.jacsId, first.jacsVersion))["total"] === 12)
console.log(`${(await documents.versions(first.jacsId)).length} versions, the newest says ${second["total"]}`)

const checked = await documents.verify(second)
console.assert(checked.signature === "valid" && checked.files === 1)
const forged = await documents.verify({ ...second, total: 1_000_000 }).catch((error) => error)
console.assert(StoreError.is(forged) && forged.reason === "Corrupt")
console.log(`a forgery is found: ${(forged as StoreError).detail}`)

// An archive of everything, unpacked into another store: here only what this program made is looked at.
await using other = await open("mem:")
const copies = new DocumentStore(other, { verifier: makeEd25519Verifier([keys.publicKey]) })
const report = await copies.importTar(documents.exportTar())
console.assert(report.failed.length === 0)
console.assert((await copies.verify(await copies.getLatest(first.jacsId))).signature === "valid")
console.log(`${report.documents.copied} versions restored elsewhere`)

// Only for an example: documents are moved to an archive, and here that goes as well.
const made = [...await documents.versions(first.jacsId), ...await documents.agents.versions(agent.jacsId)]
await store.removeMany([...made.map(({ key }) => key), `files/${first.jacsFiles?.[0]?.sha256}`])
await rm(folder, { recursive: true })
