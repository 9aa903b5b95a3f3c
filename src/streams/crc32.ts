/**
 * CRC-32 (IEEE 802.3, as in gzip, zip and S3), native where the runtime has it.
 *
 * @module
 */

type Crc32 = (bytes: Uint8Array, seed?: number) => number

// Reached through the process object and not by an import, so that a bundle for Workers holds no `node:`.
const native = (): Crc32 | undefined => {
  const host = globalThis as { process?: { getBuiltinModule?: (id: string) => { crc32?: Crc32 } | undefined } }
  return host.process?.getBuiltinModule?.("node:zlib")?.crc32
}

let table: Uint32Array | undefined

const makeTable = (): Uint32Array => {
  const made = new Uint32Array(8 * 256)
  for (let i = 0; i < 256; i++) {
    let c = i
    for (let bit = 0; bit < 8; bit++) c = c & 1 ? (c >>> 1) ^ 0xedb88320 : c >>> 1
    made[i] = c
  }
  for (let i = 256; i < made.length; i++) {
    const before = made[i - 256]!
    made[i] = (before >>> 8) ^ made[before & 0xff]!
  }
  return made
}

/** The portable form, eight bytes a step; exported for the test that compares it with the native one. */
export const portableCrc32: Crc32 = (bytes, seed = 0) => {
  const t = table ??= makeTable()
  let c = ~seed
  let i = 0
  for (const end = bytes.length - 7; i < end; i += 8) {
    const low = c ^ (bytes[i]! | bytes[i + 1]! << 8 | bytes[i + 2]! << 16 | bytes[i + 3]! << 24)
    c = t[1792 + (low & 0xff)]! ^ t[1536 + (low >>> 8 & 0xff)]! ^ t[1280 + (low >>> 16 & 0xff)]! ^
      t[1024 + (low >>> 24)]! ^ t[768 + bytes[i + 4]!]! ^ t[512 + bytes[i + 5]!]! ^ t[256 + bytes[i + 6]!]! ^
      t[bytes[i + 7]!]!
  }
  for (; i < bytes.length; i++) c = (c >>> 8) ^ t[(c ^ bytes[i]!) & 0xff]!
  return ~c >>> 0
}

/** CRC-32 of `bytes`; with `seed`, of what had that CRC-32 followed by `bytes`. */
export const crc32: Crc32 = native() ?? portableCrc32

// A 32 × 32 matrix over GF(2), one column a word: what running zero bytes through the register does to it.
const times = (matrix: Uint32Array, vector: number): number => {
  let sum = 0
  for (let i = 0; vector !== 0; vector >>>= 1, i++) if (vector & 1) sum ^= matrix[i]!
  return sum >>> 0
}

const square = (matrix: Uint32Array): Uint32Array => matrix.map((column) => times(matrix, column))

const zeroBytes: Array<Uint32Array> = []

const zeroBytesOperator = (power: number): Uint32Array => {
  if (zeroBytes.length === 0) {
    const bit = new Uint32Array(32)
    bit[0] = 0xedb88320
    for (let i = 1; i < 32; i++) bit[i] = 2 ** (i - 1)
    zeroBytes.push(square(square(square(bit))))
  }
  while (zeroBytes.length <= power) zeroBytes.push(square(zeroBytes[zeroBytes.length - 1]!))
  return zeroBytes[power]!
}

/** CRC-32 of two byte strings joined, from the CRC-32 of each and the length of the second. */
export const combineCrc32 = (first: number, second: number, secondLength: number): number => {
  let sum = first
  for (let power = 0, rest = secondLength; rest > 0; power++, rest = Math.floor(rest / 2)) {
    if (rest % 2 === 1) sum = times(zeroBytesOperator(power), sum)
  }
  return (sum ^ second) >>> 0
}

/** Eight lower-case hex digits, as messages and tools show a CRC-32. */
export const formatCrc32 = (crc: number): string => crc.toString(16).padStart(8, "0")
