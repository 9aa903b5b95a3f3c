import { expect, test } from "bun:test"
import type { BigIntStats } from "node:fs"
import { fileFacts, formatSidecar, matching, parseSidecar, rebind, type WriteRecord } from "./sidecar.ts"

const stat = (ino: number, size: number, mtime: number, born = 5): BigIntStats =>
  ({
    dev: 1n,
    ino: BigInt(ino),
    size: BigInt(size),
    mtimeMs: BigInt(mtime * 1000 + 7),
    birthtimeMs: BigInt(born),
  }) as BigIntStats

const record = (writeId: string, ino: number, size: number, mtime: number, crc32: number): WriteRecord => ({
  writeId,
  crc32,
  ...fileFacts(stat(ino, size, mtime)),
})

const key = "runs/42 \u00e9"
const a = record("a", 10, 5, 100, 1)
const b = record("b", 11, 5, 200, 2)
const unread = () => Promise.reject(new Error("the content was read"))

test("formatSidecar() and parseSidecar() keep everything", () => {
  const next = { ...b, metadata: { author: "Zoë \ud83d\ude00" }, contentType: "text/plain", sha256: "ab" }
  const sidecar = { key, current: a, next }
  expect(parseSidecar(formatSidecar(sidecar), key)).toEqual(sidecar)
  expect(parseSidecar(formatSidecar({ key, next }), key)).toEqual({ key, next })
})

test("parseSidecar() refuses another key's text, and text with any byte changed", () => {
  const text = formatSidecar({ key, current: a, next: b })
  expect(parseSidecar(text, "runs/43")).toBeUndefined()
  for (let at = 0; at < text.length; at++) {
    const damaged = text.slice(0, at) + (text[at] === "7" ? "8" : "7") + text.slice(at + 1)
    const parsed = parseSidecar(damaged, key)
    expect(parsed === undefined || formatSidecar(parsed) === text).toBe(true)
  }
  for (let end = 0; end < text.length; end++) expect(parseSidecar(text.slice(0, end), key)).toBeUndefined()
  for (const odd of ["", "null", "[]", "0", '"x"', "{}"]) expect(parseSidecar(odd, key)).toBeUndefined()
})

test("matching() goes by device, inode, birth, size and second, never by position", () => {
  expect(matching({ key, current: a, next: b }, stat(10, 5, 100))).toBe(a)
  expect(matching({ key, current: b, next: a }, stat(10, 5, 100))).toBe(a)
  expect(matching({ key, next: b }, stat(11, 5, 200))).toBe(b)
  for (const other of [stat(12, 5, 100), stat(10, 6, 100), stat(10, 5, 101), stat(10, 5, 100, 6)]) {
    expect(matching({ key, current: a, next: b }, other)).toBeUndefined()
  }
})

test("rebind() finds a restored file by size and second without reading it", async () => {
  expect(await rebind({ key, current: a, next: b }, stat(90, 5, 100), unread)).toBe(a)
  expect(await rebind({ key, current: a, next: b }, stat(90, 5, 200), unread)).toBe(b)
})

test("rebind() decides by content when the second is lost, or both have it", async () => {
  const crc = (value: number) => () => Promise.resolve(value)
  expect(await rebind({ key, current: a, next: b }, stat(90, 5, 999), crc(1))).toBe(a)
  expect(await rebind({ key, current: a, next: b }, stat(90, 5, 999), crc(2))).toBe(b)
  expect(await rebind({ key, current: a, next: b }, stat(90, 5, 999), crc(3))).toBeUndefined()
  const later = { ...b, mtime: 100 }
  expect(await rebind({ key, current: a, next: later }, stat(90, 5, 100), crc(1))).toBe(a)
  const same = { ...later, crc32: 1 }
  expect(await rebind({ key, current: a, next: same }, stat(90, 5, 100), crc(1))).toBe(same)
  expect(await rebind({ key, current: a, next: b }, stat(90, 6, 100), crc(1))).toBeUndefined()
})

test("rebind() takes a noted foreign file for what it is", async () => {
  const foreign = fileFacts(stat(10, 5, 100))
  expect(await rebind({ key, current: foreign, next: b }, stat(90, 5, 100), unread)).toBe(foreign)
})
