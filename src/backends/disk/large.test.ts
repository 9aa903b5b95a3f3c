/** Objects of more than 2 and 4 GiB: places where 32 bits run out. A sparse file takes no room. */
import { expect, test } from "bun:test"
import { mkdtemp, open as openFile, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { open } from "../../open.ts"

const GiB = 2 ** 30

test("fault 95: ranges around 2 and 4 GiB are exact", async () => {
  const folder = await mkdtemp(`${tmpdir()}/holdfast-large-`)
  try {
    const file = await openFile(`${folder}/large`, "w")
    await file.truncate(5 * GiB + 3)
    for (const at of [2 * GiB, 4 * GiB, 5 * GiB]) await file.write(new TextEncoder().encode(`at${at / GiB}`), 0, 3, at)
    await file.close()
    await using store = await open(`file:${folder}`)
    const info = await store.stat("large")
    expect(info.size).toBe(5 * GiB + 3)
    for (const at of [2 * GiB, 4 * GiB, 5 * GiB]) {
      const loaded = await store.load("large", { offset: at - 2, length: 5 })
      expect(loaded.offset).toBe(at - 2)
      expect(await loaded.text()).toBe(`\0\0at${at / GiB}`)
    }
    const rest = await store.load("large", { offset: 3 })
    expect(rest.length).toBe(5 * GiB)
    await rest.body.cancel()
    for await (const entry of store.list()) expect(entry.size).toBe(5 * GiB + 3)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
})
