/**
 * The store as an Effect service: the program does not know where its bytes live, the layer decides.
 *
 * Run it: bun examples/effect-layer.ts, or deno run -A examples/effect-layer.ts
 */
import { ObjectStore, type StoreError } from "@holdfast/holdfast"
import * as Disk from "@holdfast/holdfast/disk"
import * as Memory from "@holdfast/holdfast/memory"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"

const program: Effect.Effect<number, StoreError, ObjectStore> = Effect.gen(function* () {
  const store = yield* ObjectStore
  yield* store.save("events/1", "started")
  yield* store.save("events/2", "stopped")
  const sizes = yield* Stream.runCollect(Stream.map(store.list({ prefix: "events/" }), (entry) => entry.size))
  return sizes.reduce((sum, size) => sum + size, 0)
})

const folder = await mkdtemp(`${tmpdir()}/holdfast-example-`)
const layers = { memory: Memory.layer(), disk: Disk.layer({ root: folder, policy: { concurrency: 8 } }) }
for (const [name, layer] of Object.entries(layers)) {
  const bytes = await Effect.runPromise(Effect.provide(program, layer))
  console.log(`${name}: ${bytes} bytes of events`)
}
await rm(folder, { recursive: true })
