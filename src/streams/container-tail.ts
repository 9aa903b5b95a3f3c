/**
 * The end of a stored object: what it says about all of it, how it is written and how it is read. `docs/format.md`
 * describes it byte by byte.
 *
 * @module
 */
import type { Codec } from "./codec.ts"
import { crc32 } from "./crc32.ts"
import { FormatError } from "./format-error.ts"
import { u32 } from "./little-endian.ts"

export const KiB: number = 1024
const MiB = KiB * KiB

/** Plaintext bytes of a frame unless told otherwise. */
export const defaultFrameSize: number = 4 * MiB

/** The largest frame. Beyond it a file gets hardly smaller (under 1 % at level 3), and every reader pays in memory. */
export const maxFrameSize: number = 16 * MiB

/** Plaintext bytes of the frames that are worked on at the same time; one frame always is. */
export const inFlightBudget: number = 16 * MiB

/** Version of the form that this code writes, and the only one it reads. */
const version = 1

const magic = new TextEncoder().encode("HOLDFAST")

/** Bytes of a trailer before its list of CRC-32s. */
export const headSize: number = 60

export const trailerMagic: number = 0x184d2a5d
const seekMagic = 0x184d2a5e
const seekFooterMagic = 0x8f92eab1

/** The low 32 bits of XXH64 of nothing. */
const emptyChecksum = 0x51d8e999

/** Header, extra field `HF` with the member's size: what every member with plaintext begins with. */
export const memberHead: Uint8Array = new Uint8Array([
  0x1f,
  0x8b,
  8,
  4,
  0,
  0,
  0,
  0,
  0,
  255,
  8,
  0,
  0x48,
  0x46,
  4,
  0,
  0,
  0,
  0,
  0,
])
export const memberFixed: number = 16

/** Bytes of the `HT` field: head, CRC-32 of what is stored before, own CRC-32. */
export const gzipTrailerSize: number = headSize + 8

/** Header and extra field `HT`, before its content. */
export const gzipTrailerHead: Uint8Array = new Uint8Array([
  ...memberHead.subarray(0, 10),
  gzipTrailerSize + 4,
  0,
  0x48,
  0x54,
  gzipTrailerSize,
  0,
])

/** Deflate's shortest stream, CRC-32 and length of nothing. */
export const emptyDeflate: Uint8Array = new Uint8Array([3, 0, 0, 0, 0, 0, 0, 0, 0, 0])

/** Stored bytes of gzip's tail. */
export const gzipTailSize: number = gzipTrailerHead.length + gzipTrailerSize + emptyDeflate.length

/** Bytes from the end of an object that hold the whole tail of any up to 15 GiB in frames of 4 MiB. */
export const tailGuess: number = 64 * KiB

/** What the end of a stored object says about all of it. */
export interface Tail {
  readonly codec: Codec
  /** Plaintext bytes of every frame but the last, which may be shorter. */
  readonly frameSize: number
  /** Plaintext bytes. */
  readonly length: number
  /** SHA-256 of the plaintext in lower-case hex; absent when the writer's runtime had none. */
  readonly sha256: string | undefined
  /** How many frames there are. An empty object has one. */
  readonly frames: number
  /** Stored bytes after the last frame. */
  readonly tailSize: number
  /** Where each frame is, for zstd. */
  readonly table: FrameTable | undefined
}

/** Where the frames of a zstd object are and what they must be. */
export interface FrameTable {
  /** Stored bytes before each frame; one more, where the tail begins. */
  readonly offsets: Float64Array
  /** CRC-32 of each stored frame. */
  readonly crcs: Uint32Array
}

/** What a trailer says, wherever it is. */
export type Facts = Omit<Tail, "tailSize" | "table">

/** A trailer of `size` bytes with its head filled in. */
const trailerHead = (facts: Facts, size: number): { bytes: Uint8Array; view: DataView } => {
  const bytes = new Uint8Array(size)
  const view = new DataView(bytes.buffer)
  bytes.set(magic)
  bytes[8] = version
  bytes[9] = facts.codec === "zstd" ? 1 : 2
  bytes[10] = facts.sha256 === undefined ? 0 : 1
  view.setUint32(12, facts.frameSize, true)
  view.setUint32(16, facts.length % 2 ** 32, true)
  view.setUint32(20, Math.floor(facts.length / 2 ** 32), true)
  if (facts.sha256 !== undefined) {
    for (let i = 0; i < 32; i++) bytes[24 + i] = parseInt(facts.sha256.slice(2 * i, 2 * i + 2), 16)
  }
  view.setUint32(56, facts.frames, true)
  return { bytes, view }
}

export const gzipTail = (facts: Facts, storedCrc: number): Array<Uint8Array> => {
  const { bytes, view } = trailerHead(facts, gzipTrailerSize)
  view.setUint32(headSize, storedCrc, true)
  view.setUint32(headSize + 4, crc32(bytes.subarray(0, headSize + 4)), true)
  return [gzipTrailerHead.slice(), bytes, emptyDeflate.slice()]
}

/** What the seek table says about a frame. */
export interface Entry {
  readonly stored: number
  readonly plain: number
  readonly checksum: number
}

/** The seek table of zstd's seekable format, with an entry for the trailer as the format asks. */
export const seekTable = (frames: ReadonlyArray<Entry>): Uint8Array => {
  const entries = frames.length + 1
  const bytes = new Uint8Array(8 + 12 * entries + 9)
  const view = new DataView(bytes.buffer)
  view.setUint32(0, seekMagic, true)
  view.setUint32(4, bytes.length - 8, true)
  const trailer = { stored: zstdTrailerSize(frames.length) + 8, plain: 0, checksum: emptyChecksum }
  for (let i = 0, at = 8; i < entries; i++, at += 12) {
    const { stored, plain, checksum } = frames[i] ?? trailer
    view.setUint32(at, stored, true)
    view.setUint32(at + 4, plain, true)
    view.setUint32(at + 8, checksum, true)
  }
  view.setUint32(bytes.length - 9, entries, true)
  bytes[bytes.length - 5] = 0x80
  view.setUint32(bytes.length - 4, seekFooterMagic, true)
  return bytes
}

/** Bytes of zstd's trailer without the skippable frame's header. */
export const zstdTrailerSize = (frames: number): number => headSize + 4 * frames + 8

export const zstdTail = (
  facts: Facts,
  frames: ReadonlyArray<Entry>,
  crcs: ReadonlyArray<number>,
): Array<Uint8Array> => {
  const table = seekTable(frames)
  const { bytes, view } = trailerHead(facts, zstdTrailerSize(frames.length))
  let at = headSize
  for (const crc of crcs) {
    view.setUint32(at, crc, true)
    at += 4
  }
  view.setUint32(at, crc32(table), true)
  view.setUint32(at + 4, crc32(bytes.subarray(0, at + 4)), true)
  const head = new Uint8Array(8)
  new DataView(head.buffer).setUint32(0, trailerMagic, true)
  new DataView(head.buffer).setUint32(4, bytes.length, true)
  return [head, bytes, table]
}

export const equal = (a: Uint8Array, b: Uint8Array): boolean =>
  a.length === b.length && a.every((byte, i) => byte === b[i])

/** Reads and checks a trailer, `bytes` long as it must be; `offset` is where it is stored. */
export const readTrailer = (bytes: Uint8Array, codec: Codec, offset: number): Facts => {
  const corrupt = (detail: string): FormatError => new FormatError("corrupt", detail, { offset })
  if (bytes.length < headSize + 8 || !equal(bytes.subarray(0, 8), magic)) {
    throw corrupt("what should be Holdfast's trailer is something else")
  }
  const end = bytes.length - 4
  if (crc32(bytes.subarray(0, end)) !== u32(bytes, end)) throw corrupt("the trailer's CRC-32 does not match")
  if (bytes[8] !== version) {
    throw new FormatError("unsupported", `the trailer has version ${bytes[8]}; this reads version ${version}`, {
      offset,
    })
  }
  const frameSize = u32(bytes, 12)
  const length = u32(bytes, 16) + u32(bytes, 20) * 2 ** 32
  const frames = u32(bytes, 56)
  const flags = bytes[10]!
  const sound = bytes[9] === (codec === "zstd" ? 1 : 2) && flags <= 1 && bytes[11] === 0 && frameSize > 0 &&
    frameSize <= maxFrameSize && frames === Math.max(1, Math.ceil(length / frameSize)) &&
    bytes.length === (codec === "zstd" ? zstdTrailerSize(frames) : gzipTrailerSize)
  if (!sound) throw corrupt("the trailer contradicts itself")
  let hex: string | undefined
  if (flags === 1) {
    hex = ""
    for (const byte of bytes.subarray(24, 56)) hex += byte.toString(16).padStart(2, "0")
  }
  return { codec, frameSize, length, sha256: hex, frames }
}

/** The tail needs more bytes from the end of the object than were given. */
export interface TailNeed {
  /** Bytes from the end that hold all of it. */
  readonly need: number
}

/**
 * Reads the tail from the last bytes of a stored object of `storedSize` bytes: {@link tailGuess} of them, or all if
 * there are fewer, are a good first try. `undefined` when the object does not end in a tail of Holdfast's. Throws a
 * {@link FormatError} when the tail is damaged.
 */
export const readTail = (last: Uint8Array, storedSize: number): Tail | TailNeed | undefined => {
  const more = (need: number): TailNeed | undefined => need > storedSize ? undefined : { need }
  if (last.length < 17) return more(17)
  return u32(last, last.length - 4) === seekFooterMagic
    ? readZstdTail(last, storedSize, more)
    : readGzipTail(last, storedSize, more)
}

const readGzipTail = (
  last: Uint8Array,
  storedSize: number,
  more: (need: number) => TailNeed | undefined,
): Tail | TailNeed | undefined => {
  if (last.length < gzipTailSize) return more(gzipTailSize)
  const tail = last.subarray(last.length - gzipTailSize)
  const head = gzipTrailerHead.length
  if (!equal(tail.subarray(0, head), gzipTrailerHead)) return undefined
  const offset = storedSize - gzipTailSize
  const facts = readTrailer(tail.subarray(head, head + gzipTrailerSize), "gzip", offset)
  if (!equal(tail.subarray(head + gzipTrailerSize), emptyDeflate)) {
    throw new FormatError("corrupt", "the trailer's member is not empty", { offset })
  }
  return { ...facts, tailSize: gzipTailSize, table: undefined }
}

const readZstdTail = (
  last: Uint8Array,
  storedSize: number,
  more: (need: number) => TailNeed | undefined,
): Tail | TailNeed | undefined => {
  const frames = u32(last, last.length - 9) - 1
  const tableSize = 8 + 12 * (frames + 1) + 9
  const tailSize = 8 + zstdTrailerSize(frames) + tableSize
  if (frames < 1) return undefined
  if (last.length < tailSize) return more(tailSize)
  const tail = last.subarray(last.length - tailSize)
  if (u32(tail, 0) !== trailerMagic || !equal(tail.subarray(8, 16), magic)) return undefined
  const offset = storedSize - tailSize
  const corrupt = (detail: string): FormatError => new FormatError("corrupt", detail, { offset })
  if (u32(tail, 4) !== zstdTrailerSize(frames)) throw corrupt("the trailer's length is wrong")
  const trailer = tail.subarray(8, tailSize - tableSize)
  const facts = readTrailer(trailer, "zstd", offset)
  const table = tail.subarray(tailSize - tableSize)
  if (crc32(table) !== u32(trailer, headSize + 4 * frames)) throw corrupt("the seek table's CRC-32 does not match")
  const offsets = new Float64Array(frames + 1)
  const crcs = new Uint32Array(frames)
  for (let i = 0; i < frames; i++) {
    offsets[i + 1] = offsets[i]! + u32(table, 8 + 12 * i)
    crcs[i] = u32(trailer, headSize + 4 * i)
  }
  if (offsets[frames] !== offset) throw corrupt("the frames of the seek table do not fill the object")
  return { ...facts, tailSize, table: { offsets, crcs } }
}
