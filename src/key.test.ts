import { expect, test } from "bun:test"
import fc from "fast-check"
import { compareKeys, keyFlaw, maxKeyBytes, metadataFlaw, prefixFlaw } from "./key.ts"
import { sortUtf8 } from "./streams/utf8.ts"
import { utf8Length } from "./streams/utf8.ts"

const bad: ReadonlyArray<readonly [string, string, RegExp]> = [
  ["the empty key", "", /empty/],
  ["NUL", "a\0b", /U\+0000/],
  ["a line feed", "a\nb", /U\+000A/],
  ["a carriage return", "a\rb", /U\+000D/],
  ["DEL", "a\x7fb", /U\+007F/],
  ["a lone high surrogate", "a\ud800", /surrogate/],
  ["a lone low surrogate", "\udc00a", /surrogate/],
  ["a backslash", "a\\b", /backslash.*"\/"/],
  ["a Windows drive", "C:/x", /drive/],
  ["a . segment", "a/./b", /"\."/],
  ["a .. segment", "../a", /"\.\."/],
  ["a trailing ..", "a/..", /"\.\."/],
  ["1,025 bytes", "é".repeat(512) + "a", /1025 bytes.*1024/],
]

for (const [name, key, message] of bad) {
  test(`fault 140: a key with ${name} is refused with a reason`, () => {
    expect(keyFlaw(key)).toMatch(message)
  })
}

test("fault 140: keys that look odd but are fine are accepted as they are", () => {
  for (
    const key of ["a", "a//b", "/a", "a/", "...", "a..b", "a b", "%2e%2e", "é", "é", "😀", "a:b", "x".repeat(1024)]
  ) {
    expect(keyFlaw(key)).toBeUndefined()
  }
  expect(maxKeyBytes).toBe(1024)
})

test("prefixFlaw() takes the empty prefix and a cut-off segment, and refuses what no key can start with", () => {
  expect(prefixFlaw("")).toBeUndefined()
  expect(prefixFlaw("a/b")).toBeUndefined()
  expect(prefixFlaw("a/..")).toBeUndefined()
  expect(prefixFlaw("../")).toMatch(/"\.\."/)
})

test("fault 141: metadata that a header cannot carry is refused with a reason, the rest is accepted", () => {
  expect(metadataFlaw({ author: "Zoë  with  spaces ", "x-1": "", tab: "a\tb" })).toBeUndefined()
  expect(metadataFlaw({ Author: "x" })).toMatch(/lower-case/)
  expect(metadataFlaw(JSON.parse('{"__proto__":"x"}'))).toMatch(/__proto__/)
  expect(metadataFlaw({ "holdfast-crc32": "x" })).toMatch(/reserved/)
  expect(metadataFlaw({ a: "x\r\ny" })).toMatch(/control character/)
  expect(metadataFlaw({ a: "\ud800" })).toMatch(/Unicode/)
  expect(metadataFlaw({ a: 1 as unknown as string })).toMatch(/number/)
  expect(metadataFlaw({ a: "x".repeat(1791) })).toBeUndefined()
  expect(metadataFlaw({ a: "x".repeat(1792) })).toMatch(/1793 bytes.*1792/)
  // 667 letters of two bytes are 1,780 of base64, with twelve around them and one for the name.
  expect(metadataFlaw({ a: "é".repeat(666) })).toBeUndefined()
  expect(metadataFlaw({ a: "é".repeat(667) })).toMatch(/1793 bytes.*1792/)
})

test("sortUtf8() sorts as the UTF-8 bytes do, with and without characters beyond U+D7FF", () => {
  const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)
  for (const unit of [fc.string({ unit: "grapheme-ascii" }), fc.string({ unit: "binary" })]) {
    fc.assert(fc.property(fc.array(unit), (texts) => {
      const sorted = sortUtf8(texts.map((text) => ({ text })), ({ text }) => text).map(({ text }) => text)
      expect(sorted).toEqual([...texts].sort((a, b) => Buffer.compare(bytes(a), bytes(b))))
    }))
  }
})

test("compareKeys() orders as the UTF-8 bytes do", () => {
  const unit = fc.string({ unit: "grapheme", maxLength: 8 })
  fc.assert(fc.property(unit, unit, (a, b) => {
    const bytes = Buffer.compare(Buffer.from(a), Buffer.from(b))
    expect(Math.sign(compareKeys(a, b))).toBe(bytes)
    expect(utf8Length(a)).toBe(Buffer.byteLength(a))
  }))
  expect(compareKeys("\uff5e", "😀")).toBeLessThan(0)
})
