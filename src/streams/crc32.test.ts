import { expect, test } from "bun:test"
import { combineCrc32, crc32, formatCrc32, portableCrc32 } from "./crc32.ts"

const noise = (seed: number, length: number): Uint8Array => {
  const bytes = new Uint8Array(length)
  let x = seed * 2654435761 + 1
  for (let i = 0; i < length; i++) {
    x = Math.imul(x ^ (x >>> 15), 0x2c1b3c6d) + 0x9e3779b9
    bytes[i] = x >>> 24
  }
  return bytes
}

test("crc32() has the check value of the catalogue", () => {
  const check = new TextEncoder().encode("123456789")
  expect(crc32(check)).toBe(0xcbf43926)
  expect(portableCrc32(check)).toBe(0xcbf43926)
  expect(formatCrc32(1)).toBe("00000001")
})

test("portableCrc32() agrees with the runtime's own, whatever the length and the seed", () => {
  for (let length = 0; length < 70; length++) {
    const bytes = noise(length, length)
    expect(portableCrc32(bytes)).toBe(crc32(bytes))
    expect(portableCrc32(bytes, 0xdeadbeef)).toBe(crc32(bytes, 0xdeadbeef))
  }
})

test("combineCrc32() is the CRC-32 of both parts joined", () => {
  for (const [a, b] of [[0, 0], [0, 5], [5, 0], [1, 1], [3, 1000], [65536, 65537], [1_000_003, 77]] as const) {
    const first = noise(a + 1, a)
    const second = noise(b + 2, b)
    const joined = new Uint8Array(a + b)
    joined.set(first)
    joined.set(second, a)
    expect(combineCrc32(crc32(first), crc32(second), b)).toBe(crc32(joined))
  }
})

test("combineCrc32() takes lengths past 4 GiB", () => {
  // Appending n zero bytes twice is appending 2n of them.
  const n = 5 * 2 ** 30
  const zeros = (length: number, crc: number): number => combineCrc32(crc, zeroCrc(length), length)
  expect(zeros(n, zeros(n, 0x12345678))).toBe(zeros(2 * n, 0x12345678))
})

/** CRC-32 of `length` zero bytes, by doubling. */
const zeroCrc = (length: number): number => {
  let crc = 0
  let have = 0
  for (const bit of length.toString(2)) {
    crc = combineCrc32(crc, crc, have)
    have *= 2
    if (bit === "1") {
      crc = combineCrc32(crc, crc32(new Uint8Array(1)), 1)
      have++
    }
  }
  return crc
}
