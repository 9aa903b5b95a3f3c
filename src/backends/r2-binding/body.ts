/**
 * The bytes of a get, counted: a body that ends early or goes on too long is an error, never an end.
 *
 * @module
 */
import { streamOf } from "../../streams/reader.ts"
import type { R2Body } from "./bucket.ts"
import { fail, r2Error } from "./errors.ts"

/** Bytes read at a time: what workerd has ready at once, measured with miniflare 4.20260730. */
const chunkSize = 64 * 1024

/** The `length` bytes that R2 has promised of an object. */
export const bodyOf = (source: R2Body, key: string, length: number): ReadableStream<Uint8Array> => {
  const reader = source.getReader({ mode: "byob" })
  let left = length
  return streamOf({
    read: async () => {
      const { done, value } = await reader.read(new Uint8Array(chunkSize)).catch((cause: unknown) => {
        throw r2Error("get", key, cause)
      })
      if (done || value === undefined || value.length === 0) {
        if (left > 0) throw fail("Truncated", "get", key, `the body ended ${left} bytes before its end`)
        return undefined
      }
      left -= value.length
      if (left < 0) {
        await reader.cancel()
        throw fail("Protocol", "get", key, `the body has more than the ${length} bytes promised`)
      }
      return value
    },
    cancel: (reason) => reader.cancel(reason),
  })
}

/** No bytes. */
export const emptyBody = (): ReadableStream<Uint8Array> =>
  new ReadableStream({ start: (controller) => controller.close() })
