/**
 * A backend of one's own, made by wrapping one: every object is read-only after its first save. The conformance
 * suite then says what else this changes.
 *
 * Run it: bun examples/own-backend.ts, or deno run -A examples/own-backend.ts
 */
import { openBackend, StoreError } from "@holdfast/holdfast"
import type { Backend } from "@holdfast/holdfast/backend"
import { conformance } from "@holdfast/holdfast/conformance"
import * as Memory from "@holdfast/holdfast/memory"
import * as Effect from "effect/Effect"

/** Turns every unconditional write into one that creates. */
const writeOnce = (inner: Backend): Backend => ({
  ...inner,
  name: "write-once",
  put: (key, bytes, options) => inner.put(key, bytes, options.ifMatch ? options : { ...options, ifNoneMatch: "*" }),
  completeUpload: (upload, parts, options) =>
    inner.completeUpload(upload, parts, options.ifMatch ? options : { ...options, ifNoneMatch: "*" }),
})

const make = (): Effect.Effect<Backend> => Effect.map(Memory.make(), writeOnce)

await using store = await openBackend(make())
await store.save("contract.pdf", "signed")
const error: unknown = await store.save("contract.pdf", "forged").catch((reason) => reason)
console.assert(StoreError.is(error) && error.reason === "AlreadyExists")

const failed: Array<string> = []
for (const { name, run } of await conformance("write-once", make)) {
  await run().catch(() => failed.push(name))
}
console.log(`the suite finds ${failed.length} cases in which this is not a plain backend, among them:`)
console.log(failed.slice(0, 3).join("\n"))
console.assert(failed.length > 0)
