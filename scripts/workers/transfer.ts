/**
 * One transfer in a process of its own, so that its memory can be measured:
 * `transfer.ts save|load URL BYTES zstd|gzip|none`. Half of the bytes compress. Prints one JSON line with the peak
 * resident memory, the time and what was moved.
 *
 * @module
 */
import { randomFillSync } from "node:crypto"
import { readFileSync } from "node:fs"
import process from "node:process"
import { open } from "../../mod.ts"

const [verb, url, size, compression] = process.argv.slice(2) as [string, string, string, "zstd" | "gzip" | "none"]
const total = Number(size)
const chunk = new Uint8Array(64 * 1024).map((_, i) => (i * 2654435761) >>> 13)

async function* source(): AsyncGenerator<Uint8Array> {
  for (let sent = 0; sent < total; sent += chunk.length) {
    if (compression !== "none") randomFillSync(chunk, 0, chunk.length / 2)
    yield chunk.subarray(0, Math.min(chunk.length, total - sent))
  }
}

await using store = await open(url, { compression })
const start = performance.now()
let bytes = 0
if (verb === "save") bytes = (await store.save("snapshot", source())).length!
else for await (const part of (await store.load("snapshot")).body) bytes += part.length

const high = /VmHWM:\s+(\d+) kB/.exec(readFileSync("/proc/self/status", "utf8"))
console.log(JSON.stringify({ bytes, ms: performance.now() - start, peak: Number(high![1]) * 1024 }))
