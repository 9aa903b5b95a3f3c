/**
 * The frames of zstd (RFC 8878), found by walking frame headers and block headers. So it is us who notice what is cut
 * short, what follows the end, and what would take too much memory; nothing here decodes a byte.
 *
 * @module
 */
import type { Input } from "./codec-input.ts"
import { FormatError, type FormatErrorKind } from "./format-error.ts"
import { u16, u24, u32 } from "./little-endian.ts"

/** The first four bytes of a zstd frame, as a little-endian number (RFC 8878, 3.1.1). */
const zstdMagic = 0xfd2fb528

/** The first of the sixteen magic numbers of skippable frames (RFC 8878, 3.1.2). */
export const skippableMagic = 0x184d2a50

/** The most plaintext bytes of one block (RFC 8878, 3.1.1.2.4). */
export const maxBlock: number = 128 * 1024

/** The largest header of a frame: magic number, descriptor, window, dictionary id, content size. */
const maxHeader = 18

/** How much decoding may cost. */
export interface ZstdLimits {
  /**
   * The largest window in bytes, checked before anything is allocated. Foreign frames: 128 MiB, what `zstd -d` takes
   * without `--long`; ours need 8 MiB, which RFC 8878 asks every decoder to support.
   */
  readonly maxWindow: number
  /** The most plaintext bytes of one frame. */
  readonly maxFrame: number
}

/** One frame, found by walking its blocks. */
export interface ZstdFrame {
  /** A skippable frame has no plaintext. */
  readonly kind: "data" | "skippable"
  /** Stored bytes, header and checksum included. */
  readonly size: number
  /** Plaintext bytes that the header declares. */
  readonly contentSize: number | undefined
  /** The most plaintext bytes that the blocks can hold. */
  readonly bound: number
  /** The low 32 bits of XXH64 of the plaintext, where the frame has them. */
  readonly checksum: number | undefined
}

/** A frame header, read. */
export interface Header {
  /** Bytes from the magic number to the first block. */
  readonly size: number
  readonly windowSize: number
  readonly contentSize: number | undefined
  readonly hasChecksum: boolean
}

/** A fault at `at` bytes from the start of what is being walked. */
class Fault {
  readonly kind: FormatErrorKind
  readonly detail: string
  readonly at: number
  constructor(kind: FormatErrorKind, detail: string, at: number) {
    this.kind = kind
    this.detail = detail
    this.at = at
  }
}

/** Whether the first bytes of `bytes` begin a skippable frame. Needs 4 bytes. */
const isSkippable = (bytes: Uint8Array): boolean => (u32(bytes, 0) & 0xfffffff0) >>> 0 === skippableMagic

/** Whether `bytes`, fewer than 4, could be the start of a frame of either kind. */
const couldBegin = (bytes: Uint8Array): boolean => {
  const skippable = bytes.every((byte, i) => i === 0 ? (byte & 0xf0) === 0x50 : byte === [0, 0x2a, 0x4d, 0x18][i])
  return skippable || bytes.every((byte, i) => byte === [0x28, 0xb5, 0x2f, 0xfd][i])
}

/** Reads a frame header, or says how many bytes it needs to see. */
export const readHeader = (bytes: Uint8Array, limits: ZstdLimits): Header | number => {
  if (bytes.length < 5) return 5
  const descriptor = bytes[4]!
  if ((descriptor & 0x08) !== 0) throw new Fault("unsupported", "a reserved bit of the frame header is set", 4)
  const single = (descriptor & 0x20) !== 0
  const dictionaryBytes = [0, 1, 2, 4][descriptor & 3]!
  const contentBytes = [single ? 1 : 0, 2, 4, 8][descriptor >> 6]!
  const size = 5 + (single ? 0 : 1) + dictionaryBytes + contentBytes
  if (bytes.length < size) return size
  let at = 5
  let windowSize = 0
  if (!single) {
    const base = 2 ** (10 + (bytes[at]! >> 3))
    windowSize = base + base / 8 * (bytes[at]! & 7)
    at++
  }
  if (bytes.subarray(at, at + dictionaryBytes).some((byte) => byte !== 0)) {
    throw new Fault("unsupported", "the frame needs a dictionary", at)
  }
  at += dictionaryBytes
  let contentSize: number | undefined
  if (contentBytes === 1) contentSize = bytes[at]!
  else if (contentBytes === 2) contentSize = u16(bytes, at) + 256
  else if (contentBytes === 4) contentSize = u32(bytes, at)
  else if (contentBytes === 8) contentSize = u32(bytes, at) + u32(bytes, at + 4) * 2 ** 32
  if (single) windowSize = contentSize!
  if (windowSize > limits.maxWindow) {
    throw new Fault("limit", `the frame needs a window of ${windowSize} bytes; the most is ${limits.maxWindow}`, 4)
  }
  if (contentSize !== undefined && contentSize > limits.maxFrame) {
    throw new Fault("limit", `the frame declares ${contentSize} bytes; the most is ${limits.maxFrame}`, 4)
  }
  return { size, windowSize, contentSize, hasChecksum: (descriptor & 0x04) !== 0 }
}

/** The blocks of one frame, walked as far as they are there. */
export class BlockWalk {
  readonly header: Header
  /** Plaintext bytes at most, of the blocks passed. */
  bound = 0
  /** Plaintext bytes at least. */
  least = 0
  /** Whether the last block has been passed. */
  done = false

  constructor(header: Header) {
    this.header = header
  }

  /** Passes the block whose 3-byte header is at `at`; returns its stored size, header included. */
  pass(bytes: Uint8Array, at: number): number {
    const word = u24(bytes, at)
    const type = word >> 1 & 3
    const size = word >> 3
    if (type === 3) throw new Fault("corrupt", "a block has the reserved type", at)
    const most = Math.min(this.header.windowSize, maxBlock)
    if (size > most) throw new Fault("corrupt", `a block has ${size} bytes where at most ${most} may be`, at)
    // A compressed block holds two section headers at least.
    if (type === 2 && size < 2) throw new Fault("corrupt", "a compressed block is too short", at)
    this.bound += type === 2 ? most : size
    if (type !== 2) this.least += size
    this.done = (word & 1) === 1
    const { contentSize } = this.header
    if (contentSize !== undefined && (this.least > contentSize || (this.done && this.bound < contentSize))) {
      throw new Fault("corrupt", `the blocks do not make the ${contentSize} bytes that the frame declares`, at)
    }
    return 3 + (type === 1 ? 1 : size)
  }
}

/** Walks one frame as far as the bytes go. */
export class FrameWalk {
  readonly #limits: ZstdLimits
  #blocks: BlockWalk | undefined
  #at = 0

  constructor(limits: ZstdLimits) {
    this.#limits = limits
  }

  /** Blocks and header, once the header has been seen. */
  get blocks(): BlockWalk | undefined {
    return this.#blocks
  }

  /**
   * The frame that `bytes` begins with, or how many bytes must be there before it pays to ask again. Always call it
   * with the same bytes, and more of them. Throws a {@link Fault}.
   */
  next(bytes: Uint8Array): ZstdFrame | number {
    if (bytes.length < 4) return 4
    if (isSkippable(bytes)) {
      if (bytes.length < 8) return 8
      return { kind: "skippable", size: 8 + u32(bytes, 4), contentSize: 0, bound: 0, checksum: undefined }
    }
    if (this.#blocks === undefined) {
      const magic = u32(bytes, 0)
      if (magic !== zstdMagic) {
        // The formats before 1.0 numbered their magic numbers 22 to 27.
        if (magic >= 0xfd2fb522 && magic < zstdMagic) throw new Fault("unsupported", "a frame of zstd before 1.0", 0)
        throw new Fault("mismatch", "no zstd frame begins here", 0)
      }
      const header = readHeader(bytes, this.#limits)
      if (typeof header === "number") return header
      this.#blocks = new BlockWalk(header)
      this.#at = header.size
    }
    const walk = this.#blocks
    while (!walk.done) {
      if (bytes.length < this.#at + 3) return this.#at + 3
      this.#at += walk.pass(bytes, this.#at)
      if (walk.least > this.#limits.maxFrame) {
        throw new Fault("limit", `the frame has more than ${this.#limits.maxFrame} bytes`, 0)
      }
    }
    const size = this.#at + (walk.header.hasChecksum ? 4 : 0)
    if (bytes.length < size) return size
    return {
      kind: "data",
      size,
      contentSize: walk.header.contentSize,
      bound: walk.header.contentSize ?? walk.bound,
      checksum: walk.header.hasChecksum ? u32(bytes, this.#at) : undefined,
    }
  }
}

/** Where a frame is, for errors. */
export interface FramePlace {
  /** Stored bytes before it. */
  readonly offset: number
  /** Its number, from 0. */
  readonly frame: number
}

export const refuse = (fault: unknown, place: FramePlace): never => {
  if (!(fault instanceof Fault)) throw fault
  // What does not begin like a frame is another format at the start, and rubbish anywhere else.
  const later = fault.kind === "mismatch" && place.offset > 0
  const detail = later ? "something that is no zstd frame follows the last one" : fault.detail
  throw new FormatError(later ? "corrupt" : fault.kind, detail, {
    offset: place.offset + fault.at,
    frame: place.frame,
  })
}

/** The error of an input that ended inside a frame, of which `rest` is there. */
export const cutShort = (rest: Uint8Array, place: FramePlace): FormatError => {
  if (rest.length >= 4 || couldBegin(rest)) {
    return new FormatError("truncated", `the zstd frame ends after ${rest.length} bytes`, place)
  }
  return place.offset === 0
    ? new FormatError("mismatch", "no zstd frame begins here", place)
    : new FormatError("corrupt", "something that is no zstd frame follows the last one", place)
}

/** The frame that `bytes` begins with; throws a {@link FormatError} unless it is all there. */
export const parseFrame = (bytes: Uint8Array, limits: ZstdLimits, place: FramePlace): ZstdFrame => {
  let found: ZstdFrame | number
  try {
    found = new FrameWalk(limits).next(bytes)
  } catch (fault) {
    return refuse(fault, place)
  }
  if (typeof found === "number" || found.size > bytes.length) throw cutShort(bytes, place)
  return found
}

/**
 * Reads until the next frame is in the input's view as a whole. A skippable frame is returned once its header is
 * there, since nobody needs to hold it. `undefined` at the end of the input.
 */
export const nextFrame = async (
  input: Input,
  limits: ZstdLimits,
  number: number,
  maxStored: number,
): Promise<ZstdFrame | undefined> => {
  if (!(await input.fill(1))) return undefined
  const place = { offset: input.offset, frame: number }
  const walk = new FrameWalk(limits)
  while (true) {
    let found: ZstdFrame | number
    try {
      found = walk.next(input.view)
    } catch (fault) {
      return refuse(fault, place)
    }
    if (typeof found !== "number") return found
    if (found > maxStored) {
      throw new FormatError("corrupt", `the frame takes more than the ${maxStored} bytes it may`, place)
    }
    if (!(await input.fill(found))) throw cutShort(input.view, place)
  }
}

/** Passes the bytes of a skippable frame. */
export const skipFrame = async (input: Input, frame: ZstdFrame, number: number): Promise<void> => {
  const place = { offset: input.offset, frame: number }
  for (let left = frame.size; left > 0;) {
    if (!(await input.fill(1))) {
      throw new FormatError("truncated", `the skippable frame ends ${left} bytes early`, place)
    }
    const passed = Math.min(left, input.view.length)
    input.skip(passed)
    left -= passed
  }
}

/** The most stored bytes of a sound frame of `plain` bytes: zstd's own bound, and the largest header and checksum. */
export const zstdBound = (plain: number): number =>
  plain + (plain >> 8) + (plain < maxBlock ? (maxBlock - plain) >> 11 : 0) + maxHeader + 3 + 4
