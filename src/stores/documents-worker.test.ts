/** Documents where there is no `node:`, no process and no file system: a Cloudflare Worker. */
import { expect } from "bun:test"
import { fileURLToPath } from "node:url"
import { onlyOn } from "../../scripts/only-on.ts"
import { bundleWorker, workerOptions } from "../../scripts/worker.ts"

const worker = `
import * as Memory from "../backends/memory.ts"
import { openBackend } from "../store.ts"
import { DocumentStore, generateEd25519Keys, makeEd25519Signer, makeEd25519Verifier } from "./documents.ts"
export default { async fetch() {
  const keys = await generateEd25519Keys()
  const signer = await makeEd25519Signer({ ...keys, agentId: "a", agentVersion: "b" })
  await using store = await openBackend(Memory.make())
  const documents = new DocumentStore(store, { signer, verifier: makeEd25519Verifier([keys.publicKey]), cache: {} })
  const attachments = [{ path: "a.txt", bytes: new TextEncoder().encode("attached") }]
  const first = await documents.create({ n: 1 }, { attachments })
  const second = await documents.update(first.jacsId, { n: 2 }, { attachments, embed: true })
  const files = await Promise.all([first, second].map(async (one) => new Response(await documents.file(one, "a.txt")).text()))
  await using other = await openBackend(Memory.make())
  const report = await new DocumentStore(other).importTar(documents.exportTar())
  const { signature } = await documents.verify(await documents.getLatest(first.jacsId))
  return Response.json({ files, signature, copied: report.documents.copied, process: typeof process })
} }`

onlyOn("bun", "the Worker is bundled by Bun")(
  "a Worker keeps documents: signed, with files, in an archive",
  async () => {
    const entry = fileURLToPath(new URL("worker-entry.ts", import.meta.url))
    const script = await bundleWorker(entry, worker)
    expect(script).not.toMatch(/(?:from|import|require)\s*\(?\s*"node:/)
    const { Miniflare } = await import("miniflare")
    const flare = new Miniflare(workerOptions(script))
    try {
      const reply = await flare.dispatchFetch("http://worker.example/")
      expect(await reply.json()).toEqual({
        files: ["attached", "attached"],
        signature: "valid",
        copied: 2,
        process: "undefined",
      })
    } finally {
      await flare.dispose()
    }
  },
  60_000,
)
