/**
 * The codecs of the runtime, as they are: `node:zlib` in Bun, Deno and Node, and Bun's own zstd. Nothing here may be
 * trusted to notice bad input (Bun and Deno accept a zstd frame cut short, Bun decodes some flipped ones to other
 * bytes); `zstd.ts` and `gzip.ts` check what comes out.
 *
 * @module
 */

import { free } from "./free.ts"

/** Which decoder runs: the runtime's, or the one written in JavaScript that runs everywhere. */
export type Implementation = "native" | "portable"

/** What is used of a `node:zlib` transform. */
interface ZlibStream {
  readonly bytesWritten: number
  write(bytes: Uint8Array, done: () => void): unknown
  on(event: "data", listener: (bytes: Uint8Array) => void): unknown
  on(event: "end", listener: () => void): unknown
  on(event: "error", listener: (error: Error) => void): unknown
  destroy(): unknown
}

interface ZlibOptions {
  readonly level?: number
  readonly chunkSize?: number
  readonly maxOutputLength?: number
  readonly params?: Readonly<Record<number, number>>
}

type ZlibCall = (
  bytes: Uint8Array,
  options: ZlibOptions,
  done: (error: Error | null, result: Uint8Array) => void,
) => void

/** What is used of `node:zlib`. The zstd functions are missing in Node before 22.15. */
interface Zlib {
  readonly constants: { readonly ZSTD_c_compressionLevel?: number; readonly ZSTD_c_checksumFlag?: number }
  readonly deflateRaw: ZlibCall
  readonly inflateRaw: ZlibCall
  readonly createInflateRaw: (options: ZlibOptions) => ZlibStream
  readonly zstdCompress?: ZlibCall
  readonly zstdDecompressSync?: (bytes: Uint8Array, options: ZlibOptions) => Uint8Array
  readonly createZstdDecompress?: (options: ZlibOptions) => ZlibStream
}

/** What is used of `Bun`. */
interface BunZstd {
  readonly zstdCompress: (bytes: Uint8Array, options: { level: number }) => Promise<Uint8Array>
  readonly zstdDecompress: (bytes: Uint8Array) => Promise<Uint8Array>
}

// Reached through the process object and not by an import, so that a bundle for Workers holds no `node:`.
const host = globalThis as {
  process?: { getBuiltinModule?: (id: string) => Zlib | undefined }
  Bun?: Partial<BunZstd>
}

/** `node:zlib`, where there is one that can do what we need. */
export const zlib: Zlib | undefined = (() => {
  const found = host.process?.getBuiltinModule?.("node:zlib")
  return typeof found?.createInflateRaw === "function" && typeof found.deflateRaw === "function" ? found : undefined
})()

/** Bun's own zstd, whose calls run on its thread pool and are 1.6 times as fast as its `node:zlib`. */
export const bunZstd: BunZstd | undefined = host.Bun?.zstdCompress === undefined ? undefined : host.Bun as BunZstd

/** A `Buffer` as the plain `Uint8Array` it is made of: its `slice` would share memory, and callers expect a copy. */
export const bare = (bytes: Uint8Array): Uint8Array =>
  bytes.constructor === Uint8Array ? bytes : new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length)

/** Turns a call of `node:zlib` into a promise of plain bytes. */
export const promised = (call: ZlibCall, bytes: Uint8Array, options: ZlibOptions): Promise<Uint8Array> =>
  new Promise((resolve, reject) => {
    call(
      bytes,
      options,
      (error, result) => error === null || error === undefined ? resolve(bare(result)) : reject(error),
    )
  })

/** Bytes fed to a decoder at a time. A deflate stream can grow 1,032-fold, so that makes 16 MiB at most. */
export const sliceSize: number = 16 * 1024

/** A decoder that is fed a slice at a time and whose output is taken after each. */
export interface PushDecoder {
  /** Decodes the next at most {@link sliceSize} bytes; rejects when they make no sense. */
  readonly push: (slice: Uint8Array) => Promise<ReadonlyArray<Uint8Array>>
  /** Whether the stream inside has ended. It may be known only once bytes after its end were pushed. */
  readonly ended: boolean
  /** Bytes of the stream so far; less than what was pushed only when it has ended. */
  readonly consumed: number
  /** Frees the native memory. */
  readonly close: () => void
}

/**
 * A `node:zlib` transform as a {@link PushDecoder}. `end()` is never called on it: Deno throws what the last flush
 * finds as an uncaught exception, and a write's own callback says as well that all its output is there.
 */
export const pushDecoder = (stream: ZlibStream): PushDecoder => {
  let output: Array<Uint8Array> = []
  let failed: Error | undefined
  let ended = false
  let wake: () => void = () => {}
  stream.on("data", (bytes) => {
    // A copy, since Bun's collector does not see what the stream allocates: a gigabyte decoded left two behind. A
    // buffer that is full is not the stream's any more.
    output.push(new Uint8Array(bytes))
    if (bytes.length === bytes.buffer.byteLength) free(bytes)
  })
  stream.on("end", () => {
    ended = true
    wake()
  })
  stream.on("error", (error) => {
    failed = error
    wake()
  })
  return {
    push: async (slice) => {
      if (failed === undefined && !ended) {
        await new Promise<void>((resolve) => {
          wake = resolve
          stream.write(slice, resolve)
        })
      }
      if (failed !== undefined) throw failed
      const taken = output
      output = []
      return taken
    },
    get ended() {
      return ended
    },
    get consumed() {
      return stream.bytesWritten
    },
    close: () => void stream.destroy(),
  }
}
