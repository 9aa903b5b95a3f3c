/**
 * gzip (RFC 1952): our own walk over the members, around inflaters that are not trusted.
 *
 * A member does not say how long it is, so its end is where the inflater says that deflate's last block ended. The
 * header before it is read by us; CRC-32 and length after it are held against what came out.
 *
 * @module
 */
import { deflateSync } from "fflate"
import { Input, type Pull } from "./codec-input.ts"
import { bare, type Implementation, promised, type PushDecoder, pushDecoder, sliceSize, zlib } from "./codec-native.ts"
import { crc32 } from "./crc32.ts"
import { FormatError } from "./format-error.ts"
import { slack } from "./free.ts"
import { portableInflate } from "./gzip-inflate.ts"
import { u16, u32 } from "./little-endian.ts"

const MiB = 2 ** 20

/** The longest header that is read: 64 KiB of extra field and as much of name and comment. */
const maxHeader = 128 * 1024

/** Where a member is, for errors. */
export interface MemberPlace {
  /** Stored bytes before it. */
  readonly offset: number
  /** Its number, from 0. */
  readonly frame: number
}

/** How to decode gzip that somebody else made. */
export interface DecodeGzipOptions {
  /** The most plaintext bytes in all; no limit unless given. */
  readonly maxOutput?: number | undefined
  /** Plaintext bytes of one member that are held until its CRC-32 has been checked; 8 MiB unless given. */
  readonly hold?: number | undefined
  /** Which inflater runs; the runtime's own where it has one. */
  readonly implementation?: Implementation | undefined
}

const makeInflater = (implementation: Implementation | undefined): PushDecoder =>
  zlib !== undefined && implementation !== "portable"
    ? pushDecoder(zlib.createInflateRaw({ chunkSize: 64 * 1024 }))
    : portableInflate()

/**
 * Decodes gzip from anywhere: any number of members, and zero bytes after the last, which tapes and block devices
 * leave and gzip(1) ignores; anything else there is refused. A member of up to `hold` bytes is checked before its
 * plaintext is released; a larger one is released as it is decoded, and what is wrong with it is known at its end.
 * Bytes cut at a member's border are a whole stream.
 */
export async function* decodeGzip(pull: Pull, options: DecodeGzipOptions = {}): AsyncGenerator<Uint8Array, void> {
  const maxOutput = options.maxOutput ?? Infinity
  const hold = options.hold ?? 8 * MiB
  const input = new Input(pull)
  let released = 0
  let members = 0
  for (; await input.fill(1); members++) {
    const place = { offset: input.offset, frame: members }
    if (members > 0 && input.view[0] === 0) {
      await passPadding(input, place)
      break
    }
    await passHeader(input, place)
    for await (const bytes of decodeBody(input, hold, place, options.implementation)) {
      released += bytes.length
      if (released > maxOutput) {
        throw new FormatError("limit", `the bytes decode to more than the ${maxOutput} allowed`, place)
      }
      yield bytes
    }
  }
  if (members === 0) throw new FormatError("truncated", "there is not one gzip member", { offset: 0 })
}

const passPadding = async (input: Input, place: MemberPlace): Promise<void> => {
  do {
    if (input.view.some((byte) => byte !== 0)) {
      throw new FormatError("corrupt", "something that is no gzip member follows the last one", place)
    }
    input.skip(input.view.length)
  } while (await input.fill(1))
}

const passHeader = async (input: Input, place: MemberPlace): Promise<void> => {
  const need = async (count: number): Promise<void> => {
    if (count > maxHeader) {
      throw new FormatError("limit", `the gzip header has more than ${maxHeader} bytes`, place)
    }
    if (!(await input.fill(count))) throw new FormatError("truncated", "the gzip header ends early", place)
  }
  const foreign = (): FormatError =>
    place.offset === 0
      ? new FormatError("mismatch", "no gzip member begins here", place)
      : new FormatError("corrupt", "something that is no gzip member follows the last one", place)
  if (input.view[0] !== 0x1f) throw foreign()
  await need(2)
  if (input.view[1] !== 0x8b) throw foreign()
  await need(10)
  if (input.view[2] !== 8) throw new FormatError("unsupported", "the gzip member is not deflated", place)
  const flags = input.view[3]!
  if ((flags & 0xe0) !== 0) throw new FormatError("unsupported", "a reserved bit of the gzip header is set", place)
  let size = 10
  if ((flags & 4) !== 0) {
    await need(size + 2)
    size += 2 + u16(input.view, size)
    await need(size)
  }
  // A name, then a comment, each up to a zero byte.
  for (const flag of [8, 16]) {
    if ((flags & flag) === 0) continue
    while (true) {
      const end = input.view.indexOf(0, size)
      if (end >= 0) {
        size = end + 1
        break
      }
      await need(input.view.length + 1)
    }
  }
  if ((flags & 2) !== 0) {
    await need(size + 2)
    if ((crc32(input.view.subarray(0, size)) & 0xffff) !== u16(input.view, size)) {
      throw new FormatError("corrupt", "the gzip header's CRC does not match", place)
    }
    size += 2
  }
  input.skip(size)
}

/** Inflates one member after its header, checks it, and passes its trailer. */
async function* decodeBody(
  input: Input,
  hold: number,
  place: MemberPlace,
  implementation: Implementation | undefined,
): AsyncGenerator<Uint8Array, void> {
  const inflater = makeInflater(implementation)
  const short = (): FormatError =>
    new FormatError("truncated", "the gzip member ends early", {
      offset: input.offset + input.view.length,
      frame: place.frame,
    })
  let held: Array<Uint8Array> | undefined = []
  let length = 0
  let crc = 0
  try {
    let consumed = 0
    while (!inflater.ended) {
      if (!(await input.fill(1))) throw short()
      const slice = input.view.subarray(0, sliceSize)
      let output: ReadonlyArray<Uint8Array>
      try {
        output = await inflater.push(slice)
      } catch (cause) {
        throw new FormatError("corrupt", "the gzip member cannot be inflated", {
          offset: input.offset,
          frame: place.frame,
          cause,
        })
      }
      input.skip(inflater.ended ? inflater.consumed - consumed : slice.length)
      consumed += slice.length
      for (const bytes of output) {
        crc = crc32(bytes, crc)
        length += bytes.length
      }
      if (held !== undefined) {
        held.push(...output)
        if (length <= hold) continue
        yield* held
        held = undefined
      } else yield* output
    }
  } finally {
    inflater.close()
  }
  if (!(await input.fill(8))) throw short()
  checkTrailer(input.view, 0, crc, length, place)
  input.skip(8)
  if (held !== undefined) yield* held
}

const checkTrailer = (bytes: Uint8Array, at: number, crc: number, length: number, place: MemberPlace): void => {
  if (u32(bytes, at) !== crc) throw new FormatError("corrupt", "the gzip member's CRC-32 does not match", place)
  if (u32(bytes, at + 4) !== length % 2 ** 32) {
    throw new FormatError(
      "corrupt",
      `the gzip member inflates to ${length} bytes and declares ${u32(bytes, at + 4)} modulo 2^32`,
      place,
    )
  }
}

/**
 * Deflates (RFC 1951), off the event loop where the runtime can. `plain` must not change until it has resolved.
 * Levels: 1 to 9.
 */
export const deflateRaw = (plain: Uint8Array, level: number): Promise<Uint8Array> =>
  zlib !== undefined
    ? promised(zlib.deflateRaw, plain, { level, chunkSize: MiB })
    : Promise.resolve(deflateSync(plain, { level: level as 6 }))

/**
 * Inflates all of `deflated` to exactly `length` bytes, off the event loop where the runtime can, and holds them
 * against `crc`. Rejects with a {@link FormatError}.
 */
export const inflateExactly = async (
  deflated: Uint8Array,
  length: number,
  crc: number,
  place: MemberPlace,
  implementation?: Implementation,
): Promise<Uint8Array> => {
  let plain: Uint8Array
  try {
    plain = zlib !== undefined && implementation !== "portable"
      ? await promised(zlib.inflateRaw, deflated, {
        maxOutputLength: Math.max(length, 1),
        // All of it in one buffer, with room left so that the decoder sees the end without a second one.
        chunkSize: length + slack,
      })
      : await inflatePortably(deflated, length)
  } catch (cause) {
    throw new FormatError("corrupt", "the gzip member cannot be inflated", { ...place, cause })
  }
  if (plain.length !== length) {
    throw new FormatError("corrupt", `the gzip member inflates to ${plain.length} bytes and declares ${length}`, place)
  }
  if (crc32(plain) !== crc) throw new FormatError("corrupt", "the gzip member's CRC-32 does not match", place)
  return bare(plain)
}

const inflatePortably = async (deflated: Uint8Array, length: number): Promise<Uint8Array> => {
  const inflater = portableInflate()
  const plain = new Uint8Array(length)
  let filled = 0
  for (let at = 0; !inflater.ended; at += sliceSize) {
    // What the inflater may look at past the end of the stream.
    const slice = at < deflated.length ? deflated.subarray(at, at + sliceSize) : new Uint8Array(2)
    for (const bytes of await inflater.push(slice)) {
      if (filled + bytes.length > length) throw new Error(`there are more than ${length} bytes`)
      plain.set(bytes, filled)
      filled += bytes.length
    }
    if (at > deflated.length && !inflater.ended) throw new Error("the stream ends early")
  }
  if (inflater.consumed > deflated.length) throw new Error("the stream ends early")
  return plain.subarray(0, filled)
}
