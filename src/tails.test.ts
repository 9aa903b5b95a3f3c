import { expect, test } from "bun:test"
import type { Tail } from "./streams/container-tail.ts"
import { TailCache } from "./tails.ts"

const tail = (frames: number): Tail => ({
  codec: "zstd",
  frameSize: 1000,
  length: frames * 1000,
  sha256: undefined,
  frames,
  tailSize: 10,
  table: { offsets: new Float64Array(0), crcs: new Uint32Array(0) },
})

test("tails make room for others when they are many frames in all; the ones used last stay", () => {
  const cache = new TailCache()
  for (const key of ["a", "b", "c"]) cache.set(key, "1", tail(20_000))
  expect(cache.get("a")?.etag).toBe("1")
  cache.set("d", "1", tail(20_000))
  expect(["a", "b", "c", "d"].map((key) => cache.get(key) !== undefined)).toEqual([true, false, true, true])
  cache.set("d", "2", tail(60_000))
  expect(["a", "c", "d"].map((key) => cache.get(key)?.etag)).toEqual([undefined, undefined, "2"])
})

test("only what a range can rely on is remembered", () => {
  const cache = new TailCache()
  cache.set("weak", 'W/"1"', tail(1))
  cache.set("huge", "1", tail(70_000))
  cache.set("gzip", "1", { ...tail(1), table: undefined })
  expect(["weak", "huge", "gzip"].map((key) => cache.get(key))).toEqual([undefined, undefined, undefined])
  cache.set("k", "1", tail(1))
  cache.delete("k")
  cache.delete("k")
  expect(cache.get("k")).toBeUndefined()
})
