/** Saves and loads a large snapshot on disk and prints its peak of resident memory, for `snapshots.test.ts`. */
import process from "node:process"
import * as Disk from "../backends/disk/mod.ts"
import { openBackend } from "../store.ts"
import { SnapshotStore } from "./snapshots.ts"

const [root = "", mebibytes = "1"] = process.argv.slice(2)
let peak = 0
const watch = setInterval(() => {
  peak = Math.max(peak, process.memoryUsage().rss)
}, 10)

const encoder = new TextEncoder()
const message = encoder.encode(`,{"content":"${"what was said, and more of it ".repeat(2000)}","role":"user"}`)
const source = () => {
  let left = Math.ceil(Number(mebibytes) * 2 ** 20 / message.length)
  let begun = false
  return new ReadableStream<Uint8Array>({
    pull(controller) {
      if (!begun) controller.enqueue(encoder.encode('{"messages":[0'))
      else if (left-- > 0) controller.enqueue(message.slice())
      else {
        controller.enqueue(encoder.encode("]}"))
        controller.close()
      }
      begun = true
    },
  }, { highWaterMark: 0 })
}

await using store = await openBackend(Disk.make({ root }))
const snapshots = new SnapshotStore(store)
const saved = await snapshots.saveStream("large.json.gz", source)
let length = 0
for await (const chunk of (await snapshots.loadStream("large.json.gz")).body) length += chunk.length
if (length !== saved.metadata.uncompressed_size) throw new Error(`${length} bytes came back`)
clearInterval(watch)
console.log(peak)
