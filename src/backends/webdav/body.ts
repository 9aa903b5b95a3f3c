/**
 * The body of an answer as the contract wants it: exactly the bytes that were promised, or an error.
 *
 * @module
 */
import type { StoreError } from "../../error.ts"
import { streamOf } from "../../streams/reader.ts"

/** The error for a body that delivered so many bytes, and then ended, went on or broke. */
export type BodyError = (what: "ended" | "exceeds" | "broke", delivered: number, cause?: unknown) => StoreError

/** The `length` bytes of `source`. Pulled on demand; `cancel` reaches the source. */
export const exactBody = (
  source: ReadableStream<Uint8Array>,
  length: number,
  error: BodyError,
): ReadableStream<Uint8Array> => {
  const reader = source.getReader()
  let delivered = 0
  return streamOf({
    read: async () => {
      while (true) {
        const { done, value } = await reader.read().catch((cause: unknown) => {
          throw error("broke", delivered, cause)
        })
        if (done) {
          if (delivered < length) throw error("ended", delivered)
          return undefined
        }
        delivered += value.length
        if (delivered > length) {
          await reader.cancel().catch(() => undefined)
          throw error("exceeds", delivered)
        }
        if (value.length > 0) return value
      }
    },
    cancel: (reason) => reader.cancel(reason),
  })
}
