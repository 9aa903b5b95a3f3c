import { expect, test } from "bun:test"
import { onlyOn } from "../../scripts/only-on.ts"
import { portableXxh64, Xxh64, xxh64Low } from "./xxh64.ts"

const noise = (length: number): Uint8Array => {
  const bytes = new Uint8Array(length)
  let x = length * 2654435761 + 1
  for (let i = 0; i < length; i++) {
    x = Math.imul(x ^ (x >>> 15), 0x2c1b3c6d) + 0x9e3779b9
    bytes[i] = x >>> 24
  }
  return bytes
}

const hex = ([low, high]: readonly [number, number]): string =>
  high.toString(16).padStart(8, "0") + low.toString(16).padStart(8, "0")

test("Xxh64 has the published values", () => {
  const of = (text: string): string => hex(portableXxh64(new TextEncoder().encode(text)))
  expect(of("")).toBe("ef46db3751d8e999")
  expect(of("a")).toBe("d24ec4f1a98c6e5b")
  expect(of("abc")).toBe("44bc2cf5ad770999")
  expect(of("Nobody inspects the spammish repetition")).toBe("fbcea83c8a378bf1")
})

test("xxh64Low() is the low half", () => {
  for (const length of [0, 1, 3, 4, 7, 8, 31, 32, 33, 63, 64, 1000, 131_072]) {
    expect(xxh64Low(noise(length))).toBe(portableXxh64(noise(length))[0])
  }
})

test("Xxh64 does not mind how its input is cut", () => {
  const bytes = noise(1000)
  for (let cut = 0; cut < 100; cut++) {
    const hash = new Xxh64()
    hash.update(bytes.subarray(0, cut))
    hash.update(bytes.subarray(cut, cut * 2))
    hash.update(bytes.subarray(cut * 2))
    expect(hash.digest()).toEqual(portableXxh64(bytes))
  }
})

onlyOn("bun", "Deno has no XXH64 of its own")("Xxh64 agrees with the native one", () => {
  const native = (globalThis as unknown as { Bun: { hash: { xxHash64(bytes: Uint8Array, seed: bigint): bigint } } }).Bun
    .hash.xxHash64
  for (let length = 0; length < 300; length++) {
    const expected = native(noise(length), 0n)
    expect(hex(portableXxh64(noise(length)))).toBe(expected.toString(16).padStart(16, "0"))
  }
})
