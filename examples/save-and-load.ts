/**
 * Saves a stream of unknown length to a folder, looks at it, and loads a part of it back.
 *
 * Run it: bun examples/save-and-load.ts, or deno run -A examples/save-and-load.ts
 */
import { open } from "@holdfast/holdfast"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"

const folder = await mkdtemp(`${tmpdir()}/holdfast-example-`)
await using store = await open(`file:${folder}`)

// Any stream or async iterable will do: the output of a program, the body of a request.
async function* measurements(): AsyncGenerator<Uint8Array> {
  for (let hour = 0; hour < 24; hour++) {
    yield new TextEncoder().encode(`${String(hour).padStart(2, "0")}:00 ${20 + (hour % 5)} °C\n`)
  }
}

const info = await store.save("sensors/kitchen/2026-11-21.txt", measurements(), {
  contentType: "text/plain; charset=utf-8",
  metadata: { sensor: "kitchen" },
})
console.log(`saved ${info.size} bytes, CRC-32 ${info.crc32?.toString(16)}`)

for await (const { key, size } of store.list({ prefix: "sensors/" })) console.log(`${size} bytes in ${key}`)

// A range reads only what it needs.
const noon = await store.load(info.key, { offset: 12 * 13, length: 13 })
console.log(`at noon: ${(await noon.text()).trimEnd()}`)

await rm(folder, { recursive: true })
