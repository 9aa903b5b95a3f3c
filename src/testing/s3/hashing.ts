/**
 * The digests that S3 knows: those of the runtime's `node:crypto`, loaded when first needed, and CRC-32C and
 * CRC-64/NVME, which no runtime has.
 *
 * @module
 */
import { crc32 } from "../../streams/crc32.ts"

/** One-shot digests. */
export interface Hashing {
  readonly digest: (algorithm: "md5" | "sha1" | "sha256", bytes: Uint8Array) => Uint8Array
  readonly hmac: (key: Uint8Array, text: string) => Uint8Array
}

/** Loads what the digests need. */
export const loadHashing = async (): Promise<Hashing> => {
  const { createHash, createHmac } = await import("node:crypto")
  return {
    digest: (algorithm, bytes) => new Uint8Array(createHash(algorithm).update(bytes).digest()),
    hmac: (key, text) => new Uint8Array(createHmac("sha256", key).update(text).digest()),
  }
}

/** What `text` encodes, or `undefined` when it is no base64. */
export const fromBase64 = (text: string): Uint8Array | undefined => {
  try {
    return Uint8Array.fromBase64(text, { lastChunkHandling: "strict" })
  } catch {
    return undefined
  }
}

/** Names of the checksums a client can give, as they stand in `x-amz-checksum-…`. */
export const checksumNames = ["crc32", "crc32c", "crc64nvme", "sha1", "sha256"] as const

/** A checksum a client can give. */
export type ChecksumName = typeof checksumNames[number]

/** Whether `name` is a checksum's. */
export const isChecksumName = (name: string): name is ChecksumName =>
  (checksumNames as ReadonlyArray<string>).includes(name)

const bigEndian = (...words: ReadonlyArray<number>): Uint8Array => {
  const bytes = new Uint8Array(words.length * 4)
  const view = new DataView(bytes.buffer)
  words.forEach((word, i) => view.setUint32(i * 4, word))
  return bytes
}

/** For each byte, the register after it, in two halves. Reflected polynomials, as all these are. */
const makeTable = (high: number, low: number): { readonly high: Uint32Array; readonly low: Uint32Array } => {
  const table = { high: new Uint32Array(256), low: new Uint32Array(256) }
  for (let i = 0; i < 256; i++) {
    let h = 0
    let l = i
    for (let bit = 0; bit < 8; bit++) {
      const odd = l & 1
      l = (l >>> 1) | (h << 31)
      h = h >>> 1
      if (odd) {
        h ^= high
        l ^= low
      }
    }
    table.high[i] = h
    table.low[i] = l
  }
  return table
}

let castagnoli: Uint32Array | undefined
let nvme: ReturnType<typeof makeTable> | undefined

const crc32c = (bytes: Uint8Array): number => {
  const table = castagnoli ??= makeTable(0, 0x82f63b78).low
  let c = ~0
  for (let i = 0; i < bytes.length; i++) c = (c >>> 8) ^ table[(c ^ bytes[i]!) & 0xff]!
  return ~c >>> 0
}

const crc64nvme = (bytes: Uint8Array): Uint8Array => {
  const table = nvme ??= makeTable(0x9a6c9329, 0xac4bc9b5)
  let high = ~0
  let low = ~0
  for (let i = 0; i < bytes.length; i++) {
    const index = (low ^ bytes[i]!) & 0xff
    low = ((low >>> 8) | (high << 24)) ^ table.low[index]!
    high = (high >>> 8) ^ table.high[index]!
  }
  return bigEndian(~high >>> 0, ~low >>> 0)
}

/** The checksum of `bytes`, most significant byte first. */
export const checksum = (hashing: Hashing, name: ChecksumName, bytes: Uint8Array): Uint8Array => {
  if (name === "crc32") return bigEndian(crc32(bytes))
  if (name === "crc32c") return bigEndian(crc32c(bytes))
  if (name === "crc64nvme") return crc64nvme(bytes)
  return hashing.digest(name, bytes)
}
