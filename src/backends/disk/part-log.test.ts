import { expect, test } from "bun:test"
import { open } from "node:fs/promises"
import { PartLog } from "./part-log.ts"
import type { StoredPart } from "./parts.ts"
import { withFolder } from "./testing.ts"

const part = (number: number, offset: number, size: number, crc32 = number): StoredPart => ({
  number,
  offset,
  size,
  crc32,
})
const three = [part(1, 0, 10), part(2, 10, 10), part(3, 20, 5)]

const withLog = (use: (handle: Awaited<ReturnType<typeof open>>) => Promise<void>): Promise<void> =>
  withFolder(async (folder) => {
    const handle = await open(`${folder}/parts`, "w+")
    await use(handle).finally(() => handle.close())
  })

const readBack = async (handle: Awaited<ReturnType<typeof open>>): Promise<ReadonlyArray<StoredPart>> => {
  const log = new PartLog()
  await log.follow(handle)
  return [...log.parts.values()]
}

test("PartLog keeps parts; one that is stored again replaces the first, wherever it is", () =>
  withLog(async (handle) => {
    const log = new PartLog()
    for (const each of three) await log.append(handle, each)
    expect(await readBack(handle)).toEqual(three)
    await log.append(handle, part(2, 100, 7))
    expect([...log.parts.values()]).toEqual([three[0]!, part(2, 100, 7), three[2]!])
    expect(await readBack(handle)).toEqual([...log.parts.values()])
  }))

test("PartLog forgets the parts with bytes in a range that is lost, and no others", () =>
  withLog(async (handle) => {
    for (
      const [from, to, left] of [[0, 0, [1, 2, 3]], [9, 10, [2, 3]], [10, 20, [1, 3]], [5, 21, []], [25, 99, [
        1,
        2,
        3,
      ]]] as const
    ) {
      await handle.truncate(0)
      const log = new PartLog()
      for (const each of three) await log.append(handle, each)
      await log.append(handle, { from, to })
      expect([...log.parts.keys()]).toEqual([...left])
      expect((await readBack(handle)).map(({ number }) => number)).toEqual([...left])
    }
  }))

test("PartLog follows what another has added, and reads none of it twice", () =>
  withLog(async (handle) => {
    const [one, other] = [new PartLog(), new PartLog()]
    await one.append(handle, three[0]!)
    await other.follow(handle)
    await other.append(handle, three[1]!)
    // Only what is new is read: what one has read before may change under it.
    await handle.write("x", 3)
    await one.follow(handle)
    expect([...one.parts.keys()]).toEqual([1, 2])
    expect(await readBack(handle)).toEqual([three[1]!])
  }))

test("PartLog: wherever the last line was torn, the ones before it count and the next one takes its place", () =>
  withLog(async (handle) => {
    const log = new PartLog()
    await log.append(handle, three[0]!)
    const whole = (await handle.stat()).size
    await log.append(handle, three[1]!)
    const { size } = await handle.stat()
    const text = Buffer.alloc(size)
    await handle.read(text, 0, size, 0)
    for (let end = whole; end < size; end++) {
      for (const tail of [text.subarray(whole, end), Buffer.alloc(end - whole)]) {
        await handle.truncate(whole)
        await handle.write(tail, 0, tail.length, whole)
        expect(await readBack(handle)).toEqual([three[0]!])
        const next = new PartLog()
        await next.follow(handle)
        await next.append(handle, three[2]!)
        expect(await readBack(handle)).toEqual([three[0]!, three[2]!])
      }
    }
  }))

test("PartLog: a damaged line counts for nothing, and nor does what it may have said is lost", () =>
  withLog(async (handle) => {
    const log = new PartLog()
    const ends: Array<number> = []
    for (const each of three) {
      await log.append(handle, each)
      ends.push((await handle.stat()).size)
    }
    for (let at = ends[0]!; at < ends[1]! - 1; at++) {
      const byte = Buffer.alloc(1)
      await handle.read(byte, 0, 1, at)
      await handle.write(Uint8Array.of(byte[0]! ^ 0x81), 0, 1, at)
      expect(await readBack(handle)).toEqual([three[2]!])
      await handle.write(byte, 0, 1, at)
    }
    expect(await readBack(handle)).toEqual(three)
  }))
