/**
 * zstd (RFC 8878), encoded and decoded by whatever the runtime has.
 *
 * Decoders are not trusted: one sees a single whole frame at a time, as our own walk (`zstd-frames.ts`) has found it, and
 * what it returns is held against the length and the checksum that the frame declares.
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
import { FormatError } from "./format-error.ts"
import { u32 } from "./little-endian.ts"
import { Xxh64, xxh64Low } from "./xxh64.ts"
import {
  BlockWalk,
  cutShort,
  type FramePlace,
  FrameWalk,
  type Header,
  maxBlock,
  readHeader,
  refuse,
  skipFrame,
  zstdBound,
  type ZstdFrame,
  type ZstdLimits,
} from "./zstd-frames.ts"

const MiB = 2 ** 20

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
 * Decodes one whole frame, as `parseFrame` or `nextFrame` found it, and holds the outcome against what
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
