/**
 * Objects, or ranges of them, as streams over one open file: whatever happens to the key meanwhile, a reader gets
 * the version it opened.
 *
 * @module
 */
import { Buffer } from "node:buffer"
import type { FileHandle } from "node:fs/promises"
import type { GetOptions, GetResult, ObjectInfo, StatOptions } from "../../backend.ts"
import { streamOf } from "../../streams/reader.ts"
import { refuse } from "./errors.ts"
import { demandEtag, openObject, refuseWeak } from "./object.ts"
import type { Root } from "./root.ts"

/** Bytes of one chunk: measured, see docs/architecture.md. A call costs more in Deno. */
const chunkSize = ("Deno" in globalThis ? 1024 : 512) * 1024

/** Facts of an object. */
export const stat = async (
  root: Root,
  key: string,
  { damaged }: StatOptions,
  signal: AbortSignal,
): Promise<ObjectInfo> => {
  const { handle, info } = await openObject(root, key, signal, damaged)
  await handle.close()
  return info
}

/** Facts and bytes of an object. `fail` makes the error of a body that breaks later. */
export const get = async (
  root: Root,
  key: string,
  { offset = 0, length, ifMatch, ifNoneMatch, damaged }: GetOptions,
  signal: AbortSignal,
  fail: (error: unknown) => unknown,
): Promise<GetResult> => {
  refuseWeak(ifMatch)
  const { handle, info } = await openObject(root, key, signal, damaged)
  try {
    if (ifMatch !== undefined) demandEtag(info.etag, ifMatch)
    if (ifNoneMatch === info.etag) throw refuse("NotModified", `its etag is still "${ifNoneMatch}"`)
    const rest = info.size - offset
    // Nothing left to give is an answer when nothing, or everything, was asked for.
    const wanted = length ?? (offset === 0 ? rest : Infinity)
    if (rest < 0 || (rest === 0 && wanted > 0)) {
      throw refuse("RangeNotSatisfiable", `the object has ${info.size} bytes, the range starts at ${offset}`)
    }
    const promised = Math.min(wanted, rest)
    signal.throwIfAborted()
    if (promised > 0) return { info, offset, length: promised, body: bodyOf(handle, offset, promised, fail) }
    await handle.close()
    return { info, offset, length: 0, body: empty() }
  } catch (error) {
    await handle.close()
    throw error
  }
}

/**
 * The `length` bytes from `offset` on. Closes the file at the end, on an error and when cancelled. Nothing is read
 * before the first chunk is asked for; from then on the next one is read while the last is being used.
 */
const bodyOf = (
  handle: FileHandle,
  offset: number,
  length: number,
  fail: (error: unknown) => unknown,
): ReadableStream<Uint8Array> => {
  let left = length
  let reading: Promise<Uint8Array> | undefined
  let cancelled = false
  const readChunk = async (): Promise<Uint8Array> => {
    // Not zeroed: only what has been read is handed out.
    const buffer = Buffer.allocUnsafeSlow(Math.min(left, chunkSize))
    const { bytesRead } = await handle.read(buffer, 0, buffer.length, offset + length - left)
    if (bytesRead === 0) {
      throw refuse("Truncated", `the file ended ${left} bytes early: something else shortened it`, { transient: false })
    }
    left -= bytesRead
    return new Uint8Array(buffer.buffer, 0, bytesRead)
  }
  return streamOf({
    read: async () => {
      if (cancelled || (reading === undefined && left === 0)) return undefined
      try {
        const chunk = await (reading ??= readChunk())
        if (cancelled) return undefined
        reading = left > 0 ? readChunk() : undefined
        // Looked at with the next read; until then nobody has to.
        reading?.catch(() => {})
        // Before the last bytes are out: who has them all need not read on to free the file.
        if (reading === undefined) await handle.close()
        return chunk
      } catch (error) {
        await handle.close()
        throw fail(error)
      }
    },
    // A descriptor that is closed while it is read from may be another file's by then.
    cancel: async () => {
      cancelled = true
      await reading?.catch(() => {})
      await handle.close()
    },
  })
}

const empty = (): ReadableStream<Uint8Array> =>
  new ReadableStream({ start: (controller) => controller.close() }, { highWaterMark: 0 })
