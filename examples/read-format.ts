/**
 * Reads what Holdfast stored with zstd, without Holdfast: what docs/format.md says, as a program. It checks the
 * tail and each frame as a reader should, then decodes it all, and one range of it.
 *
 * Run it: bun examples/read-format.ts, or deno run -A examples/read-format.ts; with a file of yours as an argument
 * (its bytes, as they are in the store), it writes the plaintext to standard output.
 */
import { Buffer } from "node:buffer"
import { createHash } from "node:crypto"
import { readFile } from "node:fs/promises"
import process from "node:process"
import { crc32, zstdDecompressSync } from "node:zlib"

// "one frame, " 7 times and "the last." in frames of 32 bytes, as Holdfast stored it.
const sample = "KLUv/SQgjQAAWG9uZSBmcmFtZSwgAQD+ihcLBvenKLUv/SQgjQAAWCBvbmUgZnJhbWUsAQD+ihfUVon5KLUv/SQWsQAALCBvbmUg" +
  "ZnJhbWUsIHRoZSBsYXN0LjB7K0JdKk0YUAAAAEhPTERGQVNUAQEBACAAAABWAAAAAAAAANg7Jr8TEAYD4SjSdcmwtOOgLOwlsE6a" +
  "wuu4Qoul1wv5AwAAAI5BH2RnMOwDafOFXazzbT2AsNeZXipNGDkAAAAeAAAAIAAAAAsG96ceAAAAIAAAANRWifkjAAAAFgAAADB7" +
  "K0JYAAAAAAAAAJnp2FEEAAAAgLHqko8="

interface Frame {
  readonly offset: number
  readonly size: number
  readonly plainSize: number
  readonly crc: number
}

interface Tail {
  readonly length: number
  readonly frameSize: number
  readonly sha256: string | undefined
  readonly frames: ReadonlyArray<Frame>
}

const demand = (holds: boolean, what: string): void => {
  if (!holds) throw new Error(`not what Holdfast stored: ${what}`)
}

/** Reads the seek table at the end and the trailer before it. */
const readTail = (stored: Uint8Array): Tail => {
  const view = new DataView(stored.buffer, stored.byteOffset, stored.length)
  const u32 = (at: number): number => view.getUint32(at, true)
  const end = stored.length
  demand(end >= 121 && u32(end - 4) === 0x8f92eab1, "no seek table")
  const n = u32(end - 9) - 1
  const table = end - (8 + 12 * (n + 1) + 9)
  const trailer = table - (68 + 4 * n)
  demand(n >= 1 && trailer > 8 && u32(trailer - 8) === 0x184d2a5d, "no trailer")
  const text = new TextDecoder().decode(stored.subarray(trailer, trailer + 8))
  demand(text === "HOLDFAST" && stored[trailer + 8] === 1 && stored[trailer + 9] === 1, "another version")
  demand(crc32(stored.subarray(trailer, table - 4)) === u32(table - 4), "the trailer is damaged")
  demand(crc32(stored.subarray(table)) === u32(table - 8), "the seek table is damaged")
  demand(u32(trailer + 56) === n, "the number of frames")
  const frames: Array<Frame> = []
  let offset = 0
  for (let i = 0; i < n; i++) {
    const entry = table + 8 + 12 * i
    frames.push({ offset, size: u32(entry), plainSize: u32(entry + 4), crc: u32(trailer + 60 + 4 * i) })
    offset += u32(entry)
  }
  demand(offset === trailer - 8, "the frames do not fill the object")
  return {
    length: Number(view.getBigUint64(trailer + 16, true)),
    frameSize: u32(trailer + 12),
    sha256: stored[trailer + 10] === 1
      ? Buffer.from(stored.subarray(trailer + 24, trailer + 56)).toString("hex")
      : undefined,
    frames,
  }
}

/** One frame's plaintext. Its CRC-32 covers every stored byte, so the decoder's own checks do not matter. */
const readFrame = (stored: Uint8Array, frame: Frame): Uint8Array => {
  const bytes = stored.subarray(frame.offset, frame.offset + frame.size)
  demand(crc32(bytes) === frame.crc, `the frame at ${frame.offset} is damaged`)
  const plain = zstdDecompressSync(bytes)
  demand(plain.length === frame.plainSize, `the frame at ${frame.offset} has another length`)
  return plain
}

const readAll = (stored: Uint8Array, tail: Tail): Uint8Array => {
  const plain = Buffer.concat(tail.frames.map((frame) => readFrame(stored, frame)))
  demand(plain.length === tail.length, "the length")
  const sha256 = createHash("sha256").update(plain).digest("hex")
  demand(tail.sha256 === undefined || sha256 === tail.sha256, "the SHA-256")
  return plain
}

/** `length` bytes of plaintext from `offset` on, from the frames that hold some of them and no others. */
const readRange = (stored: Uint8Array, tail: Tail, offset: number, length: number): Uint8Array => {
  const first = Math.floor(offset / tail.frameSize)
  const frames = tail.frames.slice(first, Math.ceil((offset + length) / tail.frameSize))
  const plain = Buffer.concat(frames.map((frame) => readFrame(stored, frame)))
  return plain.subarray(offset - first * tail.frameSize).subarray(0, length)
}

const file = process.argv[2]
const stored: Uint8Array = file === undefined ? Buffer.from(sample, "base64") : await readFile(file)
const tail = readTail(stored)
const plain = readAll(stored, tail)
if (file === undefined) {
  const range = new TextDecoder().decode(readRange(stored, tail, 30, 20))
  console.log(`${tail.frames.length} frames, ${plain.length} bytes: ${new TextDecoder().decode(plain)}`)
  console.log(`bytes 30 to 49: ${range}`)
  console.assert(range === new TextDecoder().decode(plain.subarray(30, 50)))
} else process.stdout.write(plain)
