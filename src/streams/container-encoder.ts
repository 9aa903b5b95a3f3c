/**
 * Plaintext to the stored form. Frames of equal size are compressed each by itself, side by side and off the event loop,
 * and come out in order; the trailer follows the last one.
 *
 * @module
 */
import { type Codec, codecLevels } from "./codec.ts"
import { EncodeWorkers } from "./codec-workers.ts"
import {
  defaultFrameSize,
  gzipTail,
  inFlightBudget,
  KiB,
  maxFrameSize,
  memberFixed,
  memberHead,
  zstdTail,
} from "./container-tail.ts"
import { combineCrc32, crc32 } from "./crc32.ts"
import { sha256 } from "./digest.ts"
import { free } from "./free.ts"
import { deflateRaw } from "./gzip.ts"
import type { ByteReader } from "./source.ts"
import { type EncodedFrame, encodeFrame, sealFrame } from "./zstd.ts"

/** How to make a stored object. */
export interface EncodeOptions {
  readonly codec: Codec
  /** zstd 1 to 19, gzip 1 to 9; the codec's default unless given. */
  readonly level?: number | undefined
  /** Plaintext bytes of a frame, up to {@link maxFrameSize}; {@link defaultFrameSize} unless given. */
  readonly frameSize?: number | undefined
  /**
   * Frames that are encoded at the same time, within 16 MiB of plaintext. Unless given 3, for two cores and a spare; 4
   * in Deno, where threads that wait for the next frame are told of it by the event loop.
   */
  readonly inFlight?: number | undefined
}

/** A job under way. */
interface Encoded {
  readonly pieces: ReadonlyArray<Uint8Array>
  readonly plain: number
  readonly crc: number
  readonly checksum: number
  /** What a thread has encoded into, which is of no more use after the pieces. */
  readonly buffer?: ArrayBuffer
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
  /** For Deno. wrangler knows the user agent, and leaves all of the threads out of a Worker. */
  readonly #workers = "Deno" in globalThis && navigator.userAgent !== "Cloudflare-Workers"
    ? new EncodeWorkers()
    : undefined
  readonly #free: Array<Uint8Array<ArrayBuffer>> = []
  readonly #frames: Array<{ readonly stored: number; readonly plain: number; readonly checksum: number }> = []
  readonly #crcs: Array<number> = []
  #output: Array<Uint8Array> = []
  /** What the last read gave out; its reader has taken what it wanted when it reads again. */
  #given: Uint8Array | undefined
  /** What its frame was encoded into by a thread. */
  #spent: ArrayBuffer | undefined
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
    const inFlight = options.inFlight ?? (this.#workers === undefined ? 3 : 4)
    this.#inFlight = Math.max(1, Math.min(inFlight, Math.floor(inFlightBudget / this.#frameSize)))
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
    if (this.#output.length === 0 && this.#spent !== undefined) {
      if (!this.#spent.detached) this.#spent.transfer(0)
      this.#spent = undefined
    }
    while (true) {
      const piece = this.#output.shift()
      if (piece !== undefined) return this.#given = piece
      while (!this.#sourceEnded && this.#jobs.length < this.#inFlight) await this.#begin()
      const job = this.#jobs.shift()
      if (job === undefined) {
        if (this.#ended) return undefined
        this.#ended = true
        this.#workers?.release()
        this.#output = this.#trailer()
        continue
      }
      const { pieces, plain, crc, checksum, buffer } = await job
      const stored = pieces.reduce((sum, part) => sum + part.length, 0)
      this.#frames.push({ stored, plain, checksum })
      this.#crcs.push(crc)
      this.#storedCrc = combineCrc32(this.#storedCrc, crc, stored)
      this.#output = [...pieces]
      this.#spent = buffer
    }
  }

  /** Tells the source that no more will be read. */
  async cancel(reason: unknown): Promise<void> {
    this.#sourceEnded = true
    this.#workers?.release()
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
    const done = await this.#workers?.encode({ codec, bytes: buffer, length, level: this.#level })
    if (done !== undefined) {
      const { encoded, bytes } = done
      this.#free.push(bytes)
      const frame = codec === "zstd" ? zstdPieces(sealFrame(encoded, length), length) : gzipPieces(encoded, length, crc)
      return { ...frame, buffer: encoded.buffer }
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
