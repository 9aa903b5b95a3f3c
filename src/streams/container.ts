/**
 * The stored form: what Holdfast makes of compressed objects. `docs/format.md` describes it byte by byte.
 *
 * Plaintext is cut into frames of equal size, each compressed by itself, so that they can be encoded and decoded side
 * by side and a range touches only its own. After the last frame comes a trailer that covers everything: the
 * plaintext's length and SHA-256, and the CRC-32 of what is stored. Both parts hide where the codec's own tools pass
 * over them, so `zstd -d` and `gzip -d` give the plaintext.
 *
 * A frame's plaintext is released only after it has been checked. That the frames are the right ones, in the right
 * order, is known at the trailer, or before it to a reader that has the {@link Tail}.
 *
 * @module
 */
import { type Codec, codecLevels } from "./codec.ts"
import { Input, type Pull } from "./codec-input.ts"
import type { Implementation } from "./codec-native.ts"
import { EncodeWorkers } from "./codec-workers.ts"
import { combineCrc32, crc32, formatCrc32 } from "./crc32.ts"
import { sha256 } from "./digest.ts"
import { FormatError } from "./format-error.ts"
import { free } from "./free.ts"
import { deflateRaw, inflateExactly } from "./gzip.ts"
import type { ByteReader } from "./source.ts"
import {
  decodeFrame,
  type EncodedFrame,
  encodeFrame,
  nextFrame,
  parseFrame,
  sealFrame,
  zstdBound,
  type ZstdFrame,
} from "./zstd.ts"

const KiB = 1024
const MiB = KiB * KiB

/** Plaintext bytes of a frame unless told otherwise. */
export const defaultFrameSize: number = 4 * MiB

/** The largest frame. Beyond it a file gets hardly smaller (under 1 % at level 3), and every reader pays in memory. */
export const maxFrameSize: number = 16 * MiB

/** The largest window of a frame of ours: one that says its content is its window needs as much as it holds. */
const maxWindow = maxFrameSize

/** Plaintext bytes of the frames that are worked on at the same time; one frame always is. */
const inFlightBudget = 16 * MiB

/** Version of the form that this code writes, and the only one it reads. */
const version = 1

const magic = new TextEncoder().encode("HOLDFAST")

/** Bytes of a trailer before its list of CRC-32s. */
const headSize = 60

const trailerMagic = 0x184d2a5d
const seekMagic = 0x184d2a5e
const seekFooterMagic = 0x8f92eab1

/** The low 32 bits of XXH64 of nothing. */
const emptyChecksum = 0x51d8e999

/** Header, extra field `HF` with the member's size: what every member with plaintext begins with. */
const memberHead = new Uint8Array([0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 255, 8, 0, 0x48, 0x46, 4, 0, 0, 0, 0, 0])
const memberFixed = 16

/** Bytes of the `HT` field: head, CRC-32 of what is stored before, own CRC-32. */
const gzipTrailerSize = headSize + 8

/** Header and extra field `HT`, before its content. */
const gzipTrailerHead = new Uint8Array([
  ...memberHead.subarray(0, 10),
  gzipTrailerSize + 4,
  0,
  0x48,
  0x54,
  gzipTrailerSize,
  0,
])

/** Deflate's shortest stream, CRC-32 and length of nothing. */
const emptyDeflate = new Uint8Array([3, 0, 0, 0, 0, 0, 0, 0, 0, 0])

/** Stored bytes of gzip's tail. */
const gzipTailSize = gzipTrailerHead.length + gzipTrailerSize + emptyDeflate.length

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

// ---------------------------------------------------------------------------------------------------------- encoding

/** How to make a stored object. */
export interface EncodeOptions {
  readonly codec: Codec
  /** zstd 1 to 19, gzip 1 to 9; the codec's default unless given. */
  readonly level?: number | undefined
  /** Plaintext bytes of a frame, up to {@link maxFrameSize}; {@link defaultFrameSize} unless given. */
  readonly frameSize?: number | undefined
  /** Frames that are encoded at the same time, within 16 MiB of plaintext; 3 unless given, for two cores and a spare. */
  readonly inFlight?: number | undefined
}

/** A job under way. */
interface Encoded {
  readonly pieces: ReadonlyArray<Uint8Array>
  readonly plain: number
  readonly crc: number
  readonly checksum: number
}

/**
 * Turns a reader of plaintext into a reader of the stored form. Frames are encoded off the event loop, side by side,
 * and come out in order; memory is bounded by `inFlight` frames.
 */
export class ContainerEncoder implements ByteReader {
  /** Nobody knows before the end. */
  readonly size: undefined = undefined
  readonly #source: ByteReader
  readonly #codec: Codec
  readonly #level: number
  readonly #frameSize: number
  readonly #inFlight: number
  readonly #hasher = sha256()
  readonly #jobs: Array<Promise<Encoded>> = []
  readonly #workers = new EncodeWorkers()
  readonly #free: Array<Uint8Array<ArrayBuffer>> = []
  readonly #frames: Array<{ readonly stored: number; readonly plain: number; readonly checksum: number }> = []
  readonly #crcs: Array<number> = []
  #output: Array<Uint8Array> = []
  /** What the last read gave out; its reader has taken what it wanted when it reads again. */
  #given: Uint8Array | undefined
  #rest: Uint8Array | undefined
  #length = 0
  #storedCrc = 0
  #sourceEnded = false
  #sha256: string | undefined
  #ended = false

  /** Throws a `RangeError` for a level or frame size that there is not. */
  constructor(source: ByteReader, options: EncodeOptions) {
    const levels = codecLevels[options.codec]
    this.#source = source
    this.#codec = options.codec
    this.#level = options.level ?? levels.default
    this.#frameSize = options.frameSize ?? defaultFrameSize
    if (!Number.isInteger(this.#level) || this.#level < levels.min || this.#level > levels.max) {
      throw new RangeError(`level is ${this.#level}; ${options.codec} has levels ${levels.min} to ${levels.max}`)
    }
    if (!Number.isInteger(this.#frameSize) || this.#frameSize < 1 || this.#frameSize > maxFrameSize) {
      throw new RangeError(`frameSize is ${this.#frameSize}; it must be from 1 to ${maxFrameSize} bytes`)
    }
    this.#inFlight = Math.max(1, Math.min(options.inFlight ?? 3, Math.floor(inFlightBudget / this.#frameSize)))
  }

  /** Plaintext bytes read so far; of the whole object at the end. */
  get length(): number {
    return this.#length
  }

  /** SHA-256 of the plaintext in hex, once everything has been read, where the runtime has one. */
  get sha256(): string | undefined {
    return this.#sha256
  }

  /** The next stored bytes, good until the next call, or `undefined` after the trailer. */
  async read(): Promise<Uint8Array | undefined> {
    if (this.#given !== undefined) free(this.#given)
    this.#given = undefined
    while (true) {
      const piece = this.#output.shift()
      if (piece !== undefined) return this.#given = piece
      while (!this.#sourceEnded && this.#jobs.length < this.#inFlight) await this.#begin()
      const job = this.#jobs.shift()
      if (job === undefined) {
        if (this.#ended) return undefined
        this.#ended = true
        this.#workers.release()
        this.#output = this.#trailer()
        continue
      }
      const { pieces, plain, crc, checksum } = await job
      const stored = pieces.reduce((sum, part) => sum + part.length, 0)
      this.#frames.push({ stored, plain, checksum })
      this.#crcs.push(crc)
      this.#storedCrc = combineCrc32(this.#storedCrc, crc, stored)
      this.#output = [...pieces]
    }
  }

  /** Tells the source that no more will be read. */
  async cancel(reason: unknown): Promise<void> {
    this.#sourceEnded = true
    this.#workers.release()
    await this.#source.cancel(reason)
  }

  /** Fills a frame and starts on it. An object's first frame exists even when it is empty. */
  async #begin(): Promise<void> {
    const first = this.#length === 0
    let buffer = this.#free.pop() ?? this.#firstBuffer()
    let filled = 0
    while (filled < this.#frameSize) {
      this.#rest ??= await this.#source.read()
      const chunk = this.#rest
      if (chunk === undefined) {
        this.#sourceEnded = true
        break
      }
      const taken = Math.min(chunk.length, this.#frameSize - filled)
      if (filled + taken > buffer.length) {
        const grown = new Uint8Array(Math.min(this.#frameSize, Math.max(buffer.length * 4, filled + taken)))
        grown.set(buffer.subarray(0, filled))
        buffer = grown
      }
      buffer.set(taken === chunk.length ? chunk : chunk.subarray(0, taken), filled)
      this.#rest = taken === chunk.length ? undefined : chunk.subarray(taken)
      this.#hasher?.update(buffer.subarray(filled, filled + taken))
      filled += taken
      this.#length += taken
    }
    if (filled === 0 && !first) {
      this.#free.push(buffer)
      return
    }
    const job = this.#encode(buffer, filled)
    // Whoever reads gets the error; until then it must not count as unhandled.
    job.catch(() => {})
    this.#jobs.push(job)
  }

  /** Most objects are small and of unknown length. */
  #firstBuffer(): Uint8Array<ArrayBuffer> {
    const likely = this.#length > 0 ? this.#frameSize : this.#source.size ?? 64 * KiB
    return new Uint8Array(Math.min(this.#frameSize, Math.max(likely, 1)))
  }

  /** Encodes the first `length` bytes of a buffer, which is free again when it is done. */
  async #encode(buffer: Uint8Array<ArrayBuffer>, length: number): Promise<Encoded> {
    const plain = buffer.subarray(0, length)
    const codec = this.#codec
    const crc = codec === "gzip" ? crc32(plain) : 0
    const done = await this.#workers.encode({ codec, bytes: buffer, length, level: this.#level })
    if (done !== undefined) {
      const { encoded, bytes } = done
      this.#free.push(bytes)
      return codec === "zstd" ? zstdPieces(sealFrame(encoded, length), length) : gzipPieces(encoded, length, crc)
    }
    try {
      return codec === "zstd"
        ? zstdPieces(await encodeFrame(plain, this.#level), length)
        : gzipPieces(await deflateRaw(plain, this.#level), length, crc)
    } finally {
      this.#free.push(buffer)
    }
  }

  #trailer(): Array<Uint8Array> {
    this.#sha256 = this.#hasher?.hex()
    const facts = {
      codec: this.#codec,
      frameSize: this.#frameSize,
      length: this.#length,
      sha256: this.#sha256,
      frames: this.#frames.length,
    }
    return this.#codec === "zstd" ? zstdTail(facts, this.#frames, this.#crcs) : gzipTail(facts, this.#storedCrc)
  }
}

const zstdPieces = ({ body, tail, checksum }: EncodedFrame, plain: number): Encoded => ({
  pieces: [body, tail],
  plain,
  crc: crc32(tail, crc32(body)),
  checksum,
})

const gzipPieces = (body: Uint8Array, plain: number, checksum: number): Encoded => {
  const head = memberHead.slice()
  new DataView(head.buffer).setUint32(memberFixed, head.length + body.length + 8, true)
  const tail = new Uint8Array(8)
  new DataView(tail.buffer).setUint32(0, checksum, true)
  new DataView(tail.buffer).setUint32(4, plain, true)
  return { pieces: [head, body, tail], plain, crc: crc32(tail, crc32(body, crc32(head))), checksum }
}

type Facts = Omit<Tail, "tailSize" | "table">

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

const gzipTail = (facts: Facts, storedCrc: number): Array<Uint8Array> => {
  const { bytes, view } = trailerHead(facts, gzipTrailerSize)
  view.setUint32(headSize, storedCrc, true)
  view.setUint32(headSize + 4, crc32(bytes.subarray(0, headSize + 4)), true)
  return [gzipTrailerHead.slice(), bytes, emptyDeflate.slice()]
}

/** What the seek table says about a frame. */
interface Entry {
  readonly stored: number
  readonly plain: number
  readonly checksum: number
}

/** The seek table of zstd's seekable format, with an entry for the trailer as the format asks. */
const seekTable = (frames: ReadonlyArray<Entry>): Uint8Array => {
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
const zstdTrailerSize = (frames: number): number => headSize + 4 * frames + 8

const zstdTail = (facts: Facts, frames: ReadonlyArray<Entry>, crcs: ReadonlyArray<number>): Array<Uint8Array> => {
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

// -------------------------------------------------------------------------------------------------------- the trailer

const u32 = (bytes: Uint8Array, at: number): number =>
  (bytes[at]! | bytes[at + 1]! << 8 | bytes[at + 2]! << 16 | bytes[at + 3]! << 24) >>> 0

const equal = (a: Uint8Array, b: Uint8Array): boolean => a.length === b.length && a.every((byte, i) => byte === b[i])

/** Reads and checks a trailer, `bytes` long as it must be; `offset` is where it is stored. */
const readTrailer = (bytes: Uint8Array, codec: Codec, offset: number): Facts => {
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

// ---------------------------------------------------------------------------------------------------------- decoding

/** How to decode a stored object. */
export interface DecodeOptions {
  /** Frames that are decoded at the same time, within 16 MiB of plaintext; 3 unless given. */
  readonly inFlight?: number | undefined
  /** The most plaintext bytes in all; no limit unless given. What the object's metadata says is a good one. */
  readonly maxOutput?: number | undefined
  /** The object's tail, read before; then a frame that is not the one in its place is refused before its bytes go. */
  readonly tail?: Tail | undefined
  /** Which decoder runs; the runtime's own where it has one. */
  readonly implementation?: Implementation | undefined
}

/** A frame cut out of the stored bytes, ready to be decoded. */
interface Job {
  readonly plain: number
  readonly run: () => Promise<Uint8Array>
}

/** Runs jobs side by side and hands their outcomes out in order; an error comes where it belongs. */
async function* inOrder(jobs: AsyncIterator<Job, void>, inFlight: number): AsyncGenerator<Uint8Array, void> {
  const running: Array<{ readonly outcome: Promise<Uint8Array>; readonly plain: number }> = []
  let waiting: Job | undefined
  let ended = false
  let bytes = 0
  while (true) {
    while (running.length < inFlight && (waiting !== undefined || !ended)) {
      if (waiting === undefined) {
        try {
          const { done, value } = await jobs.next()
          if (done) {
            ended = true
            break
          }
          waiting = value
        } catch (error) {
          // The frames before it are sound and go first.
          ended = true
          const outcome = Promise.reject(error)
          outcome.catch(() => {})
          running.push({ outcome, plain: 0 })
          break
        }
      }
      if (running.length > 0 && bytes + waiting.plain > inFlightBudget) break
      const outcome = waiting.run()
      outcome.catch(() => {})
      running.push({ outcome, plain: waiting.plain })
      bytes += waiting.plain
      waiting = undefined
    }
    const first = running.shift()
    if (first === undefined) return
    const plain = await first.outcome
    bytes -= first.plain
    yield plain
  }
}

/** The frames passed so far, and the rules they keep. */
class Passed {
  readonly #options: DecodeOptions
  readonly entries: Array<Entry> = []
  readonly crcs: Array<number> = []
  length = 0

  constructor(options: DecodeOptions) {
    this.#options = options
  }

  /** Counts a frame, or refuses it. */
  add(entry: Entry, crc: number, offset: number): void {
    const place = { offset, frame: this.entries.length }
    const first = this.entries[0]?.plain ?? entry.plain
    const before = this.entries.at(-1)?.plain ?? entry.plain
    if (entry.plain > first || before < first || (entry.plain === 0 && place.frame > 0)) {
      throw new FormatError("corrupt", `the frame has ${entry.plain} bytes, which does not fit those before`, place)
    }
    const { tail, maxOutput } = this.#options
    if (tail !== undefined) {
      const expected = Math.min(tail.frameSize, tail.length - place.frame * tail.frameSize)
      if (entry.plain !== expected) {
        throw new FormatError("corrupt", `the frame has ${entry.plain} bytes where ${expected} belong`, place)
      }
      if (tail.table !== undefined) checkStored(crc, tail.table.crcs[place.frame]!, place)
    }
    this.entries.push(entry)
    this.crcs.push(crc)
    this.length += entry.plain
    if (maxOutput !== undefined && this.length > maxOutput) {
      throw new FormatError("limit", `the bytes decode to more than the ${maxOutput} allowed`, place)
    }
  }

  /** Holds the trailer against what was seen. */
  check(facts: Facts, offset: number): void {
    const first = this.entries[0]!.plain
    if (
      facts.frames !== this.entries.length || facts.length !== this.length ||
      (facts.frames > 1 ? facts.frameSize !== first : facts.frameSize < first)
    ) {
      throw new FormatError(
        "corrupt",
        `the trailer promises ${facts.length} bytes in ${facts.frames} frames, but there are ${this.length} bytes in ` +
          `${this.entries.length}`,
        { offset },
      )
    }
  }
}

const checkStored = (crc: number, expected: number, place: { offset: number; frame: number }): void => {
  if (crc === expected) return
  throw new FormatError(
    "corrupt",
    `the stored frame has CRC-32 ${formatCrc32(crc)} where the trailer says ${formatCrc32(expected)}`,
    place,
  )
}

/**
 * Decodes a whole stored object and checks every byte of it: each frame before its plaintext is released, and at the
 * end the trailer, the seek table, the length and the SHA-256. An object without a trailer is `truncated`.
 */
export async function* decodeContainer(
  pull: Pull,
  codec: Codec,
  options: DecodeOptions = {},
): AsyncGenerator<Uint8Array, void> {
  const input = new Input(pull)
  const seen: { facts?: Facts } = {}
  const jobs = codec === "zstd" ? zstdJobs(input, options, seen) : gzipJobs(input, options, seen)
  const hasher = sha256()
  for await (const plain of inOrder(jobs, options.inFlight ?? 3)) {
    hasher?.update(plain)
    if (plain.length > 0) yield plain
  }
  const { facts } = seen
  if (await input.fill(1)) {
    throw new FormatError("corrupt", "something follows the end of the stored object", { offset: input.offset })
  }
  if (facts?.sha256 !== undefined && hasher !== undefined && hasher.hex() !== facts.sha256) {
    throw new FormatError("corrupt", "the plaintext's SHA-256 is not the one in the trailer", { offset: input.offset })
  }
}

/** A frame of ours declares its length and carries a checksum. */
const ours = (frame: ZstdFrame, place: { offset: number; frame: number }): { plain: number; checksum: number } => {
  if (frame.contentSize === undefined || frame.checksum === undefined || frame.size > zstdBound(frame.contentSize)) {
    throw new FormatError("corrupt", "the zstd frame is not one that Holdfast has made", place)
  }
  return { plain: frame.contentSize, checksum: frame.checksum }
}

const missingTrailer = (offset: number): FormatError =>
  new FormatError("truncated", "the stored object ends without its trailer", { offset })

async function* zstdJobs(input: Input, options: DecodeOptions, seen: { facts?: Facts }): AsyncGenerator<Job, void> {
  const passed = new Passed(options)
  const limits = { maxWindow, maxFrame: maxFrameSize }
  const offsets: Array<number> = []
  while (true) {
    const place = { offset: input.offset, frame: passed.entries.length }
    const frame = await nextFrame(input, limits, place.frame, zstdBound(maxFrameSize))
    if (frame === undefined) throw missingTrailer(input.offset)
    if (frame.kind === "skippable") break
    const { plain, checksum } = ours(frame, place)
    const stored = input.take(frame.size)
    passed.add({ stored: frame.size, plain, checksum }, crc32(stored), place.offset)
    offsets.push(place.offset)
    yield { plain, run: () => decodeFrame(stored, frame, place, options.implementation).finally(() => free(stored)) }
  }
  const offset = input.offset
  const frames = passed.entries.length
  const size = zstdTrailerSize(frames)
  if (frames === 0 || u32(input.view, 0) !== trailerMagic || u32(input.view, 4) !== size) {
    throw new FormatError("corrupt", "a skippable frame that is not the trailer", { offset })
  }
  if (!(await input.fill(8 + size))) throw missingTrailer(offset)
  const trailer = input.take(8 + size).subarray(8)
  const facts = readTrailer(trailer, "zstd", offset)
  for (let frame = 0; frame < frames; frame++) {
    checkStored(passed.crcs[frame]!, u32(trailer, headSize + 4 * frame), { offset: offsets[frame]!, frame })
  }
  passed.check(facts, offset)
  const table = seekTable(passed.entries)
  const tableOffset = input.offset
  if (!(await input.fill(table.length))) {
    throw new FormatError("truncated", "the stored object ends without its seek table", { offset: tableOffset })
  }
  const storedTable = input.take(table.length)
  if (!equal(storedTable, table) || crc32(table) !== u32(trailer, headSize + 4 * frames)) {
    throw new FormatError("corrupt", "the seek table does not match the frames", { offset: tableOffset })
  }
  seen.facts = facts
}

async function* gzipJobs(input: Input, options: DecodeOptions, seen: { facts?: Facts }): AsyncGenerator<Job, void> {
  const passed = new Passed(options)
  let storedCrc = 0
  while (true) {
    const place = { offset: input.offset, frame: passed.entries.length }
    if (!(await input.fill(memberFixed))) {
      const known = Math.min(input.view.length, 10)
      if (known > 0 && !equal(input.view.subarray(0, known), memberHead.subarray(0, known))) throw notAMember(place)
      throw missingTrailer(input.offset)
    }
    if (equal(input.view.subarray(0, gzipTrailerHead.length), gzipTrailerHead)) break
    if (!equal(input.view.subarray(0, memberFixed), memberHead.subarray(0, memberFixed))) throw notAMember(place)
    if (!(await input.fill(memberHead.length))) throw missingTrailer(input.offset)
    const size = u32(input.view, memberFixed)
    const headAndTail = memberHead.length + 8
    // Deflate's stored blocks: 5 bytes for each 65,535 at worst, and zlib may make them as short as 16 KiB.
    if (size < headAndTail + 2 || size > headAndTail + maxFrameSize + maxFrameSize / KiB + 64) {
      throw new FormatError("corrupt", `the member declares ${size} stored bytes`, place)
    }
    if (!(await input.fill(size))) {
      throw new FormatError("truncated", `the member ends after ${input.view.length} of ${size} bytes`, place)
    }
    const stored = input.take(size)
    const crc = crc32(stored)
    const checksum = u32(stored, size - 8)
    const plain = u32(stored, size - 4)
    if (plain > maxFrameSize) throw new FormatError("corrupt", `the member declares ${plain} bytes`, place)
    passed.add({ stored: size, plain, checksum }, crc, place.offset)
    storedCrc = combineCrc32(storedCrc, crc, size)
    const body = stored.subarray(memberHead.length, size - 8)
    yield {
      plain,
      run: () => inflateExactly(body, plain, checksum, place, options.implementation).finally(() => free(stored)),
    }
  }
  const offset = input.offset
  if (passed.entries.length === 0) throw new FormatError("corrupt", "there is no member before the trailer", { offset })
  if (!(await input.fill(gzipTailSize))) throw missingTrailer(offset)
  const tail = input.take(gzipTailSize)
  const head = gzipTrailerHead.length
  const facts = readTrailer(tail.subarray(head, head + gzipTrailerSize), "gzip", offset)
  passed.check(facts, offset)
  if (u32(tail, head + headSize) !== storedCrc) {
    throw new FormatError("corrupt", "the CRC-32 of what is stored before the trailer does not match", { offset })
  }
  if (!equal(tail.subarray(head + gzipTrailerSize), emptyDeflate)) {
    throw new FormatError("corrupt", "the trailer's member is not empty", { offset })
  }
  seen.facts = facts
}

const notAMember = (place: { offset: number; frame: number }): FormatError =>
  place.offset === 0
    ? new FormatError("mismatch", "no gzip member of Holdfast's begins here", place)
    : new FormatError("corrupt", "what follows is no gzip member of Holdfast's", place)

// ------------------------------------------------------------------------------------------------------------ ranges

/** Which stored bytes a range of plaintext needs. */
export interface RangePlan {
  /** The first frame needed. */
  readonly firstFrame: number
  /** How many frames are needed; 0 for an empty range. */
  readonly frames: number
  /** First stored byte to read. */
  readonly offset: number
  /** Stored bytes to read. */
  readonly length: number
  /** Plaintext bytes of the first frame that come before the range. */
  readonly skip: number
  /** Plaintext bytes of the range. */
  readonly plain: number
}

/**
 * Finds the frames that hold `length` bytes of plaintext from `offset` on; what lies past the end is left out. Only
 * for zstd: gzip members do not say where they are, so its ranges decode from the start.
 */
export const planRange = (tail: Tail, offset: number, length: number): RangePlan => {
  if (tail.table === undefined) throw new TypeError("a range plan needs the tail of a zstd object")
  const end = Math.min(offset + length, tail.length)
  if (offset >= end) return { firstFrame: 0, frames: 0, offset: 0, length: 0, skip: 0, plain: 0 }
  const first = Math.floor(offset / tail.frameSize)
  const after = Math.ceil(end / tail.frameSize)
  const { offsets } = tail.table
  return {
    firstFrame: first,
    frames: after - first,
    offset: offsets[first]!,
    length: offsets[after]! - offsets[first]!,
    skip: offset - first * tail.frameSize,
    plain: end - offset,
  }
}

/** Decodes the stored bytes of a {@link RangePlan} to the range, checking each frame against the tail. */
export async function* decodeRange(
  pull: Pull,
  tail: Tail,
  plan: RangePlan,
  options: Pick<DecodeOptions, "inFlight" | "implementation"> = {},
): AsyncGenerator<Uint8Array, void> {
  let skip = plan.skip
  let left = plan.plain
  for await (const plain of inOrder(rangeJobs(pull, tail, plan, options), options.inFlight ?? 3)) {
    const part = plain.subarray(skip, skip + left)
    skip = 0
    left -= part.length
    yield part
  }
}

async function* rangeJobs(
  pull: Pull,
  tail: Tail,
  plan: RangePlan,
  options: Pick<DecodeOptions, "implementation">,
): AsyncGenerator<Job, void> {
  const input = new Input(pull)
  const { offsets, crcs } = tail.table!
  for (let number = plan.firstFrame; number < plan.firstFrame + plan.frames; number++) {
    const place = { offset: offsets[number]!, frame: number }
    const size = offsets[number + 1]! - place.offset
    if (!(await input.fill(size))) throw new FormatError("truncated", "the range ends inside a frame", place)
    const stored = input.take(size)
    checkStored(crc32(stored), crcs[number]!, place)
    const frame = parseFrame(stored, { maxWindow, maxFrame: maxFrameSize }, place)
    const { plain } = ours(frame, place)
    if (frame.size !== size || plain !== Math.min(tail.frameSize, tail.length - number * tail.frameSize)) {
      throw new FormatError("corrupt", "the frame is not the one of the seek table", place)
    }
    yield { plain, run: () => decodeFrame(stored, frame, place, options.implementation).finally(() => free(stored)) }
  }
}
