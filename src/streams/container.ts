/**
 * The stored form back to plaintext: what Holdfast makes of compressed objects, `docs/format.md` describes it byte by byte.
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
import type { Codec } from "./codec.ts"
import { Input, type Pull } from "./codec-input.ts"
import type { Implementation } from "./codec-native.ts"
import {
  emptyDeflate,
  type Entry,
  equal,
  type Facts,
  gzipTailSize,
  gzipTrailerHead,
  gzipTrailerSize,
  headSize,
  inFlightBudget,
  KiB,
  maxFrameSize,
  memberFixed,
  memberHead,
  readTrailer,
  seekTable,
  type Tail,
  trailerMagic,
  zstdTrailerSize,
} from "./container-tail.ts"
import { combineCrc32, crc32, formatCrc32 } from "./crc32.ts"
import { sha256 } from "./digest.ts"
import { FormatError } from "./format-error.ts"
import { free } from "./free.ts"
import { inflateExactly } from "./gzip.ts"
import { u32 } from "./little-endian.ts"
import { decodeFrame } from "./zstd.ts"
import { nextFrame, parseFrame, zstdBound, type ZstdFrame } from "./zstd-frames.ts"

/** The largest window of a frame of ours: one that says its content is its window needs as much as it holds. */
const maxWindow = maxFrameSize

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
    // Copies, so that the frame's memory goes back at once.
    for (let at = skip; at < plain.length && left > 0; at += chunkSize) {
      const part = plain.slice(at, Math.min(at + chunkSize, at + left))
      left -= part.length
      yield part
    }
    skip = 0
    free(plain)
  }
}

/** Bytes of a chunk of a range. */
const chunkSize = 512 * KiB

async function* rangeJobs(
  pull: Pull,
  tail: Tail,
  plan: RangePlan,
  options: Pick<DecodeOptions, "implementation">,
): AsyncGenerator<Job, void> {
  const { offsets, crcs } = tail.table!
  const read = exactly(pull)
  for (let number = plan.firstFrame; number < plan.firstFrame + plan.frames; number++) {
    const place = { offset: offsets[number]!, frame: number }
    const size = offsets[number + 1]! - place.offset
    const stored = await read(size)
    if (stored === undefined) throw new FormatError("truncated", "the range ends inside a frame", place)
    checkStored(crc32(stored), crcs[number]!, place)
    const frame = parseFrame(stored, { maxWindow, maxFrame: maxFrameSize }, place)
    const { plain } = ours(frame, place)
    if (frame.size !== size || plain !== Math.min(tail.frameSize, tail.length - number * tail.frameSize)) {
      throw new FormatError("corrupt", "the frame is not the one of the seek table", place)
    }
    yield { plain, run: () => decodeFrame(stored, frame, place, options.implementation).finally(() => free(stored)) }
  }
}

/** Reads pieces of known sizes into buffers of their own; `undefined` when there are not so many bytes left. */
const exactly = (pull: Pull): (size: number) => Promise<Uint8Array<ArrayBuffer> | undefined> => {
  let rest: Uint8Array = new Uint8Array(0)
  return async (size) => {
    const piece = new Uint8Array(size)
    for (let filled = 0; filled < size;) {
      if (rest.length === 0) {
        const chunk = await pull()
        if (chunk === undefined) return undefined
        rest = chunk
      }
      const part = rest.subarray(0, size - filled)
      piece.set(part, filled)
      filled += part.length
      rest = rest.subarray(part.length)
    }
    return piece
  }
}
