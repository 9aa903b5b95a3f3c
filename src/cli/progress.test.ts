import { expect, test } from "bun:test"
import { parseBytes } from "./flags.ts"
import { printable } from "./output.ts"
import { formatProgress, formatSeconds, Rate } from "./progress.ts"

const MiB = 2 ** 20

test("Rate looks back a few seconds, so that a stall shows", () => {
  const rate = new Rate()
  expect(rate.perSecond).toBe(0)
  rate.add(0, 0)
  expect(rate.perSecond).toBe(0)
  for (let second = 1; second <= 10; second++) rate.add(second * 1000, second * MiB)
  expect(rate.perSecond).toBe(MiB)
  for (let second = 11; second <= 20; second++) rate.add(second * 1000, 10 * MiB)
  expect(rate.perSecond).toBe(0)
})

test("formatProgress() shows what is known", () => {
  expect(formatProgress({ bytes: 12.5 * MiB, total: 50 * MiB }, 2 * MiB)).toBe(
    "12.5 MiB of 50 MiB (25 %)  2 MiB/s  ETA 0:19",
  )
  expect(formatProgress({ bytes: 0, total: 50 * MiB }, 0)).toBe("0 B of 50 MiB (0 %)  0 B/s  ETA -:--")
  expect(formatProgress({ bytes: 1536, total: undefined }, 512)).toBe("1.5 KiB  512 B/s")
  expect(formatProgress({ bytes: 0, total: 0 }, 0)).toBe("0 B  0 B/s")
})

test("formatSeconds() writes m:ss and h:mm:ss", () => {
  expect([0, 0.2, 59.5, 61, 3600, 36_005].map(formatSeconds)).toEqual([
    "0:00",
    "0:01",
    "1:00",
    "1:01",
    "1:00:00",
    "10:00:05",
  ])
})

test("parseBytes() reads plain numbers and units", () => {
  expect(["0", " 1234\n", "1kB", "1KiB", "1.5 MiB"].map(parseBytes)).toEqual([0, 1234, 1000, 1024, 1.5 * MiB])
  for (const bad of ["", "-1", "1e3", "0x10", "1kb", "1.0001KiB", "9007199254740992", "ten"]) {
    expect(() => parseBytes(bad)).toThrow()
  }
})

test("printable() shows what a terminal would obey", () => {
  expect(printable("a\u009b2Jb\u202ec\u001b[1m")).toBe("a\\u{9b}2Jb\\u{202e}c\\u{1b}[1m")
  expect(printable("für 日本 👍\tx\n")).toBe("für 日本 👍\tx\n")
})
