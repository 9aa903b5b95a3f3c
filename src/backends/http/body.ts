/**
 * The body of an answer as the contract wants it: exactly the bytes that were promised, or an error. Runtimes differ in
 * what they let pass, so the count is kept here.
 *
 * @module
 */
import type { StoreError } from "../../error.ts"

/** The errors for a body that is not what was promised. */
export interface BodyErrors {
  /** It ended too early. */
  readonly truncated: (delivered: number) => StoreError
  /** It goes on after its end. */
  readonly excess: () => StoreError
  /** It broke. */
  readonly broken: (delivered: number, cause: unknown) => StoreError
}

/** The `length` bytes of `source`. Pulled on demand; `cancel` reaches the source. */
export const exactBody = (
  source: ReadableStream<Uint8Array>,
  length: number,
  errors: BodyErrors,
): ReadableStream<Uint8Array> => {
  const reader = source.getReader()
  let delivered = 0
  const next = async (): Promise<Uint8Array | undefined> => {
    while (true) {
      const { done, value } = await reader.read().catch((cause: unknown) => {
        throw errors.broken(delivered, cause)
      })
      if (done) return undefined
      if (value.length > 0) return value
    }
  }
  return new ReadableStream<Uint8Array>({
    pull: async (controller) => {
      const chunk = await next()
      if (chunk === undefined) {
        if (delivered < length) throw errors.truncated(delivered)
        return controller.close()
      }
      delivered += chunk.length
      if (delivered > length) {
        const error = errors.excess()
        await reader.cancel(error).catch(() => undefined)
        throw error
      }
      controller.enqueue(chunk)
    },
    cancel: (reason) => reader.cancel(reason),
  }, { highWaterMark: 0 })
}

/** A body as text, up to `most` bytes; the rest is given up. `undefined`: it has more, or broke. */
export const boundedText = async (response: Response, most: number): Promise<string | undefined> => {
  if (response.body === null) return ""
  const decoder = new TextDecoder()
  const reader = response.body.getReader()
  let text = ""
  let size = 0
  try {
    while (true) {
      const { done, value } = await reader.read()
      if (done) return text + decoder.decode()
      size += value.length
      if (size > most) {
        await reader.cancel().catch(() => undefined)
        return undefined
      }
      text += decoder.decode(value, { stream: true })
    }
  } catch {
    return undefined
  }
}
