/**
 * zstd (RFC 8878): our own walk over the frames, around decoders that are not trusted.
 *
 * The walk finds every frame border by itself, from the frame header and the block headers, so it is us who notice
 * what is cut short, what follows the end, and what would take too much memory; a decoder sees one whole frame at a
 * time. What it returns is then held against the length and the checksum that the frame declares.
 *
 * A frame without a checksum cannot be checked further than that: its bytes are what the decoder says they are.
 *
 * @module
 */
import { Decompress as PortableStream, decompress as portableDecompress } from "fzstd"
import { Input, type Pull } from "./codec-input.ts"
import {
  bare,
  bunZstd,
  type Implementation,
  promised,
  type PushDecoder,
  pushDecoder,
  sliceSize,
  zlib,
} from "./codec-native.ts"
import { FormatError, type FormatErrorKind } from "./format-error.ts"
import { u16, u24, u32 } from "./little-endian.ts"
import { Xxh64, xxh64Low } from "./xxh64.ts"

const MiB = 2 ** 20

/** The first four bytes of a zstd frame, as a little-endian number (RFC 8878, 3.1.1). */
export const zstdMagic = 0xfd2fb528

/** The first of the sixteen magic numbers of skippable frames (RFC 8878, 3.1.2). */
export const skippableMagic = 0x184d2a50

/** The most plaintext bytes of one block (RFC 8878, 3.1.1.2.4). */
const maxBlock = 128 * 1024

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
interface Header {
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
const readHeader = (bytes: Uint8Array, limits: ZstdLimits): Header | number => {
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
class BlockWalk {
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
class FrameWalk {
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

const refuse = (fault: unknown, place: FramePlace): never => {
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
const cutShort = (rest: Uint8Array, place: FramePlace): FormatError => {
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

/** Whether this runtime can decode zstd by itself. */
export const hasNativeZstd: boolean = bunZstd !== undefined || zlib?.zstdDecompressSync !== undefined

/** Whether this runtime can encode zstd: Bun, Deno, and Node from 22.15 on. */
export const canEncodeZstd: boolean = bunZstd !== undefined || zlib?.zstdCompress !== undefined

const nativeOr = (implementation: Implementation | undefined): Implementation =>
  implementation ?? (hasNativeZstd ? "native" : "portable")

/** Plaintext bytes that take longer to decode than a turn of the event loop. */
const worthATurn = MiB

/** When the frame before has been decoded, and others have had their turn. */
let turn: Promise<void> = Promise.resolve()

const run = async (bytes: Uint8Array, frame: ZstdFrame, implementation: Implementation): Promise<Uint8Array> => {
  if (implementation === "portable") return portableDecompress(bytes)
  if (bunZstd !== undefined) return await bunZstd.zstdDecompress(bytes)
  // Not the asynchronous call: in Deno its error is thrown at nobody, and its callback never comes. So frames take
  // turns, and the event loop one between each two.
  if (frame.bound > worthATurn) await (turn = turn.then(() => new Promise((resolve) => setTimeout(resolve, 0))))
  return zlib!.zstdDecompressSync!(bytes, {
    maxOutputLength: Math.max(frame.bound, 1),
    chunkSize: Math.max(Math.min(frame.bound, MiB), 64),
  })
}

/**
 * Decodes one whole frame, as {@link parseFrame} or {@link nextFrame} found it, and holds the outcome against what
 * the frame declares. Rejects with a {@link FormatError}; no wrong plaintext of a frame with a checksum comes out.
 */
export const decodeFrame = async (
  bytes: Uint8Array,
  frame: ZstdFrame,
  place: FramePlace,
  implementation?: Implementation,
): Promise<Uint8Array> => {
  let plain: Uint8Array
  try {
    plain = await run(bytes, frame, nativeOr(implementation))
  } catch (cause) {
    throw new FormatError("corrupt", "the zstd frame cannot be decoded", { ...place, cause })
  }
  const wrong = mismatch(frame, plain.length, () => xxh64Low(plain))
  if (wrong !== undefined) throw new FormatError("corrupt", wrong, place)
  return bare(plain)
}

/** What is wrong with a decoded frame, if anything. */
const mismatch = (
  frame: { readonly contentSize: number | undefined; readonly bound: number; readonly checksum: number | undefined },
  length: number,
  hash: () => number,
): string | undefined => {
  if (frame.contentSize !== undefined && length !== frame.contentSize) {
    return `the frame decodes to ${length} bytes and declares ${frame.contentSize}`
  }
  if (length > frame.bound) return `the frame decodes to ${length} bytes where its blocks hold ${frame.bound} at most`
  if (frame.checksum !== undefined && hash() !== frame.checksum) return "the frame's content checksum does not match"
  return undefined
}

/** A frame as stored, in two pieces so that nothing need be copied, and the low 32 bits of its plaintext's XXH64. */
export interface EncodedFrame {
  readonly body: Uint8Array
  readonly tail: Uint8Array
  readonly checksum: number
}

/**
 * Encodes one frame, off the event loop where the runtime can: one that declares its length and ends in a content
 * checksum. `plain` must not change until it has resolved. Levels: 1 to 19.
 */
export const encodeFrame = async (plain: Uint8Array, level: number): Promise<EncodedFrame> => {
  if (bunZstd !== undefined) {
    const body = bare(await bunZstd.zstdCompress(plain, { level }))
    // Bun cannot be asked for a checksum; bit 2 of the descriptor announces the one we append.
    body[4]! |= 0x04
    const checksum = xxh64Low(plain)
    const tail = new Uint8Array(4)
    new DataView(tail.buffer).setUint32(0, checksum, true)
    return { body, tail, checksum }
  }
  if (zlib?.zstdCompress === undefined) {
    throw new FormatError("unsupported", "this runtime cannot encode zstd", { offset: 0 })
  }
  const { ZSTD_c_compressionLevel: levelKey, ZSTD_c_checksumFlag: checksumKey } = zlib.constants
  const params = { [levelKey!]: level, [checksumKey!]: 1 }
  return sealFrame(await promised(zlib.zstdCompress, plain, { params, chunkSize: MiB }), plain.length)
}

/** What `node:zlib` made of `length` bytes, as a frame that declares its length. */
export const sealFrame = (encoded: Uint8Array, length: number): EncodedFrame => {
  const whole = withContentSize(encoded, length)
  const end = whole.length - 4
  // A copy, so that whoever frees the body has not freed this.
  return { body: whole.subarray(0, end), tail: new Uint8Array(whole.subarray(end)), checksum: u32(whole, end) }
}

/** Gives a frame whose header lacks it the content size: Deno's and Node's encoders do not know it when they start. */
const withContentSize = (frame: Uint8Array, length: number): Uint8Array => {
  const descriptor = frame[4]!
  if ((descriptor & 0xe0) !== 0) return frame
  const made = new Uint8Array(frame.length + 4)
  made.set(frame.subarray(0, 6))
  made[4] = descriptor | 0x80
  new DataView(made.buffer).setUint32(6, length, true)
  made.set(frame.subarray(6), 10)
  return made
}

/** How to decode zstd that somebody else made. */
export interface DecodeZstdOptions {
  /** The largest window in bytes; 128 MiB unless given, as `zstd -d` has it. */
  readonly maxWindow?: number | undefined
  /** The most plaintext bytes in all; no limit unless given. */
  readonly maxOutput?: number | undefined
  /** Plaintext bytes of one frame that are held until its checksum has been checked; 8 MiB unless given. */
  readonly hold?: number | undefined
  /** Which decoder runs; the runtime's own where it has one. */
  readonly implementation?: Implementation | undefined
}

/**
 * Decodes zstd from anywhere: any number of frames, skippable ones between them. A frame of up to `hold` bytes is
 * checked before its plaintext is released; a larger one (`zstd` makes one frame of any file) is released as it is
 * decoded, and what is wrong with it is known at its end. Bytes cut at a frame border are a whole stream.
 */
export async function* decodeZstd(pull: Pull, options: DecodeZstdOptions = {}): AsyncGenerator<Uint8Array, void> {
  const implementation = nativeOr(options.implementation)
  const maxOutput = options.maxOutput ?? Infinity
  const hold = options.hold ?? 8 * MiB
  const input = new Input(pull)
  let released = 0
  let frames = 0
  for (;; frames++) {
    if (!(await input.fill(1))) break
    const place = { offset: input.offset, frame: frames }
    const left = maxOutput - released
    const limits = { maxWindow: options.maxWindow ?? 128 * MiB, maxFrame: left }
    const found = await smallFrame(input, limits, hold, place)
    if (found.kind === "skippable") {
      await skipFrame(input, found, frames)
      continue
    }
    const output = found.kind === "large"
      ? decodeLarge(input, limits, place, implementation)
      : [await decodeFrame(input.take(found.size), found, place, implementation)]
    for await (const bytes of output) {
      released += bytes.length
      if (released > maxOutput) {
        throw new FormatError("limit", `the bytes decode to more than the ${maxOutput} allowed`, place)
      }
      if (bytes.length > 0) yield bytes
    }
  }
  if (frames === 0) throw new FormatError("truncated", "there is not one zstd frame", { offset: 0 })
}

/** Reads a frame whole unless its blocks can hold more than `hold` bytes; then it is "large" and still in the input. */
const smallFrame = async (
  input: Input,
  limits: ZstdLimits,
  hold: number,
  place: FramePlace,
): Promise<ZstdFrame | { readonly kind: "large" }> => {
  const walk = new FrameWalk(limits)
  while (true) {
    let found: ZstdFrame | number
    try {
      found = walk.next(input.view)
    } catch (fault) {
      return refuse(fault, place)
    }
    if (typeof found !== "number") {
      // Few stored bytes may hold much: 33 KB of zstd are a gigabyte of zeros.
      return found.kind === "skippable" || (found.contentSize ?? found.bound) <= hold ? found : { kind: "large" }
    }
    const bound = Math.max(walk.blocks?.bound ?? 0, walk.blocks?.header.contentSize ?? 0)
    // A legal frame may also consist of any number of blocks that hold nothing.
    if (bound > hold || found > zstdBound(hold)) return { kind: "large" }
    if (!(await input.fill(found))) throw cutShort(input.view, place)
  }
}

/** Decodes a frame of any size in bounded memory, block by block. */
async function* decodeLarge(
  input: Input,
  limits: ZstdLimits,
  place: FramePlace,
  implementation: Implementation,
): AsyncGenerator<Uint8Array, void> {
  const at = (): FramePlace => ({ offset: input.offset, frame: place.frame })
  const need = async (count: number): Promise<void> => {
    if (await input.fill(count)) return
    throw new FormatError("truncated", "the zstd frame ends early", {
      offset: input.offset + input.view.length,
      frame: place.frame,
    })
  }
  // The caller has seen the header.
  const header = readHeader(input.view, limits) as Header
  const walk = new BlockWalk(header)
  const hash = header.hasChecksum ? new Xxh64() : undefined
  const decoder = implementation === "native" && zlib?.createZstdDecompress !== undefined
    ? pushDecoder(zlib.createZstdDecompress({ chunkSize: maxBlock }))
    : portableStream()
  try {
    let length = 0
    const push = async (bytes: Uint8Array): Promise<ReadonlyArray<Uint8Array>> => {
      let output: ReadonlyArray<Uint8Array>
      try {
        output = await decoder.push(bytes)
      } catch (cause) {
        throw new FormatError("corrupt", "the zstd frame cannot be decoded", { ...at(), cause })
      }
      for (const piece of output) {
        length += piece.length
        hash?.update(piece)
      }
      return output
    }
    const first = input.take(header.size)
    // The decoder is told that there is no checksum: we check it, and Deno's would throw past us.
    first[4]! &= ~0x04
    yield* await push(first)
    while (!walk.done) {
      await need(3)
      let size: number
      try {
        size = walk.pass(input.view, 0)
      } catch (fault) {
        return refuse(fault, at())
      }
      for (let left = size; left > 0;) {
        const slice = Math.min(left, sliceSize)
        await need(slice)
        yield* await push(input.take(slice))
        left -= slice
      }
    }
    let checksum: number | undefined
    if (hash !== undefined) {
      await need(4)
      checksum = u32(input.take(4), 0)
    }
    const bound = header.contentSize ?? walk.bound
    const wrong = mismatch({ contentSize: header.contentSize, bound, checksum }, length, () => hash!.digest()[0])
    if (wrong !== undefined) throw new FormatError("corrupt", wrong, place)
  } finally {
    decoder.close()
  }
}

/** `fzstd`'s stream as a {@link PushDecoder}. */
const portableStream = (): PushDecoder => {
  let output: Array<Uint8Array> = []
  let consumed = 0
  const stream = new PortableStream((bytes) => {
    if (bytes.length > 0) output.push(bytes)
  })
  return {
    push: (slice) => {
      consumed += slice.length
      // It throws what it finds; in a promise, as the native one.
      return new Promise((resolve) => {
        stream.push(slice)
        const taken = output
        output = []
        resolve(taken)
      })
    },
    ended: false,
    get consumed() {
      return consumed
    },
    close: () => {},
  }
}
