import { expect, test } from "bun:test"
import fc from "fast-check"
import { hashOf, SnapshotHash } from "./snapshot-hash.ts"
import { JsonFlaw, JsonNormaliser, maxDepth, normalJson } from "./snapshot-json.ts"
import { normalNumber, persistDouble } from "./snapshot-numbers.ts"

const decoder = new TextDecoder()
const encoder = new TextEncoder()
const normal = (json: string): string => decoder.decode(normalJson(json))

// What serde_json 1.0.145 prints for these literals.
const literals: ReadonlyArray<readonly [literal: string, printed: string]> = [
  ["0", "0"],
  ["-0", "-0.0"],
  ["0.0", "0.0"],
  ["-0.0", "-0.0"],
  ["1", "1"],
  ["1.0", "1.0"],
  ["1e5", "100000.0"],
  ["1E+5", "100000.0"],
  ["1e15", "1000000000000000.0"],
  ["1e16", "1e16"],
  ["1.5e300", "1.5e300"],
  ["1e-5", "0.00001"],
  ["1e-6", "1e-6"],
  ["0.000012345", "0.000012345"],
  ["0.0000012345", "1.2345e-6"],
  ["123.456", "123.456"],
  ["18446744073709551615", "18446744073709551615"],
  ["18446744073709551616", "1.8446744073709552e19"],
  ["-9223372036854775808", "-9223372036854775808"],
  ["-9223372036854775809", "-9.223372036854776e18"],
  ["9007199254740993", "9007199254740993"],
  ["5e-324", "5e-324"],
  ["1e-400", "0.0"],
]

test("numbers are printed as serde_json prints them", () => {
  for (const [literal, printed] of literals) expect([literal, normalNumber(literal)]).toEqual([literal, printed])
  for (const no of ["01", "1.", ".5", "-", "+1", "1e", "1e400", "0x1", "", "NaN"]) {
    expect([no, normalNumber(no)]).toEqual([no, undefined])
  }
})

test("the normal form of a number is a fixed point, and the same double", () => {
  fc.assert(fc.property(fc.double({ noNaN: true, noDefaultInfinity: true }), (value) => {
    const text = Number.isInteger(value) && Math.abs(value) < 2 ** 63 ? `${String(value)}.0` : String(value)
    const printed = normalNumber(Object.is(value, -0) ? "-0.0" : text)!
    expect(Object.is(Number(printed), value)).toBe(true)
    expect(normalNumber(printed)).toBe(printed)
  }))
})

test("doubles are hashed as Persist's parser reads them, a unit beside where that is so", () => {
  const read = [
    ["0.015322196386518173", "0.015322196386518171"],
    ["7.2589993619086135", "7.258999361908613"],
    ["0.0009535379629861125", "0.0009535379629861124"],
    ["0.30000000000000004", "0.30000000000000004"],
    ["1e16", "1e16"],
    ["3e23", "2.9999999999999997e23"],
    ["123456789012345678", "123456789012345678"],
    ["2.2250738585072014e-308", "2.2250738585072014e-308"],
  ] as const
  for (const [written, hashed] of read) expect([written, persistDouble(written)]).toEqual([written, hashed])
})

test("keys are ordered by UTF-8 at every level, the last of equal ones wins, space and escapes go", () => {
  expect(normal(' { "b" : [ 1 , { "d" : null , "c" : true } ] , "a" : "x" } ')).toBe(
    '{"a":"x","b":[1,{"c":true,"d":null}]}',
  )
  expect(normal('{"a":1,"b":2,"a":3}')).toBe('{"a":3,"b":2}')
  expect(normal('{"\\u0061":1,"a":2}')).toBe('{"a":2}')
  // U+FF5E sorts before U+1F600 in UTF-8, and behind it in UTF-16; a quote stands for less than what escapes it.
  expect(normal('{"\\ud83d\\ude00":1,"\\uff5e":2,"a\\"":3,"a!":4,"a":5,"a#":6}')).toBe(
    '{"a":5,"a!":4,"a\\"":3,"a#":6,"～":2,"😀":1}',
  )
  expect(normal('"\\/\\b\\f\\n\\r\\t\\u000b\\u001F\\u007f\\"\\\\é"')).toBe(
    '"/\\b\\f\\n\\r\\t\\u000b\\u001f\u007f\\"\\\\é"',
  )
})

test("what is no JSON is refused, at the place where it stops to be", () => {
  const no = [
    ["", "ends"],
    ["{", "ends"],
    ['{"a"}', '":"'],
    ['{"a":1,}', "key"],
    ["[1,]", "value"],
    ["[1 2]", '","'],
    ["{1:2}", "key"],
    ["tru", "ends"],
    ["trie", "no JSON value"],
    ['"\n"', "control"],
    ['"\\x"', "escape"],
    ['"\\u12g4"', "escape"],
    ['"\\ud800"', "surrogate"],
    ['"\\udc00"', "surrogate"],
    ['"\\ud800\\u0041"', "surrogate"],
    ['"a', "ends"],
    ["1 2", "follows"],
    ["[1e999]", "number"],
    ["\ufeff1", "value"],
    [`${"1".repeat(2000)}`, "digits"],
    ["[".repeat(maxDepth + 1), "deep"],
  ] as const
  for (const [json, words] of no) {
    expect(() => normal(json)).toThrow(JsonFlaw)
    expect(() => normal(json)).toThrow(words)
  }
  expect(() => normal('{"a": x}')).toThrow("at byte 6")
  for (
    const bytes of [[0x22, 0xff, 0x22], [0x22, 0xc0, 0x80, 0x22], [0x22, 0xed, 0xa0, 0x80, 0x22], [0x22, 0xe2, 0x22]]
  ) {
    expect(() => normalJson(Uint8Array.from(bytes))).toThrow("UTF-8")
  }
})

/** Normalises in pieces of random size, and takes the output as it comes. */
const inPieces = (json: string, sizes: ReadonlyArray<number>, hold?: number): string => {
  const bytes = encoder.encode(json)
  const normaliser = new JsonNormaliser(hold)
  let out = ""
  const utf8 = new TextDecoder("utf-8", { fatal: true })
  for (let at = 0, i = 0; at < bytes.length; i++) {
    const size = sizes[i % sizes.length]!
    normaliser.push(bytes.subarray(at, at + size))
    out += utf8.decode(normaliser.take(), { stream: true })
    at += size
  }
  normaliser.end()
  return out + utf8.decode(normaliser.take())
}

const sizes = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 10 })

test("pieces of any size give the same, and the value is the one that JSON.parse reads", () => {
  fc.assert(fc.property(fc.json({ maxDepth: 5, stringUnit: "binary" }), sizes, (json, sizes) => {
    const printed = normal(json)
    expect(JSON.parse(printed)).toEqual(JSON.parse(json))
    expect(inPieces(json, sizes)).toBe(printed)
    expect(normal(printed)).toBe(printed)
  }))
})

test("what is in order already needs next to no memory: nothing is held, and the output is the same", () => {
  fc.assert(fc.property(fc.json({ maxDepth: 5 }), sizes, fc.integer({ min: 1, max: 50 }), (json, sizes, hold) => {
    const printed = normal(json)
    expect(inPieces(printed, sizes, hold)).toBe(printed)
    // What is not in order comes out right, or is refused.
    try {
      expect(inPieces(json, sizes, hold)).toBe(printed)
    } catch (error) {
      if (!(error instanceof JsonFlaw)) throw error
      expect(error.message).toContain("not in the order")
    }
  }))
})

test("the hash does not depend on how the bytes come", async () => {
  const json = normal(
    '{"a":[0.015322196386518173,-7.2589993619086135,1e16,"0.015322196386518173\\\\\\"",123],"b":-2.5e-7}',
  )
  const whole = await hashOf(encoder.encode(json))
  const read = json.replace("[0.015322196386518173,-7.2589993619086135", "[0.015322196386518171,-7.258999361908613")
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", encoder.encode(read)))
  expect(whole).toBe(Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join(""))
  for (const size of [1, 2, 3, 7, 19, 50]) {
    const hash = new SnapshotHash()
    for (let at = 0; at < json.length; at += size) hash.update(encoder.encode(json.slice(at, at + size)))
    expect(await hash.hex()).toBe(whole)
    expect(hash.length).toBe(json.length)
  }
  for (const number of ["0.015322196386518173", "5"]) {
    const hash = new SnapshotHash()
    for (const character of number) hash.update(encoder.encode(character))
    expect(await hash.hex()).toBe(await hashOf(encoder.encode(number)))
  }
})

test("a runtime that hashes only what is whole gives the same", async () => {
  const { process } = globalThis as { process: { getBuiltinModule: unknown } }
  const json = encoder.encode('{"a":0.015322196386518173}')
  const expected = await hashOf(json)
  const { getBuiltinModule } = process
  process.getBuiltinModule = undefined
  try {
    expect(await hashOf(json)).toBe(expected)
  } finally {
    process.getBuiltinModule = getBuiltinModule
  }
})
