/**
 * The body of an HTTP answer as the contract of backends wants it: exactly the bytes that were promised, or an error. Runtimes differ in
 * what they let pass (a missing last chunk, a body without a length, an answer decoded on the way), so the count is kept
 * here.
 *
 * @module
 */
import { streamOf } from "./reader.ts"

/** What a body is to deliver. */
export interface BodyShape {
  /** Bytes to be left out at its start, where the service has sent more than was asked for. Default 0. */
  readonly skip?: number | undefined
  /** Bytes to deliver. */
  readonly length: number
  /** The source may go on after those. Default: then it is too long. */
  readonly more?: boolean | undefined
  /** The error for a body that ended too early. */
  readonly truncated: (delivered: number) => Error
  /** The error for a body that has more bytes than its length. */
  readonly excess: () => Error
  /** The error for a body that broke. */
  readonly broken: (delivered: number, cause: unknown) => Error
}

/** `source`, held to its shape. Pulled on demand; `cancel` reaches the source. */
export const exactBody = (source: ReadableStream<Uint8Array>, shape: BodyShape): ReadableStream<Uint8Array> => {
  const reader = source.getReader()
  let { skip = 0, length: left } = shape
  /** The next chunk that has bytes in it, or `undefined` at the end. */
  const next = async (): Promise<Uint8Array | undefined> => {
    while (true) {
      let read: Awaited<ReturnType<typeof reader.read>>
      try {
        read = await reader.read()
      } catch (cause) {
        throw shape.broken(shape.length - left, cause)
      }
      if (read.done) return undefined
      const chunk = skip === 0 ? read.value : read.value.subarray(skip)
      skip = Math.max(0, skip - read.value.length)
      if (chunk.length > 0) return chunk
    }
  }
  const fail = async (error: Error): Promise<never> => {
    await reader.cancel(error).catch(() => undefined)
    throw error
  }
  /** To the end, so that the connection can be used again, and so that bytes too many are noticed. */
  const finish = async (): Promise<void> => {
    if (shape.more === true) await reader.cancel().catch(() => undefined)
    else if (await next() !== undefined) await fail(shape.excess())
  }
  return streamOf({
    read: async () => {
      if (left === 0) {
        if (shape.length === 0) await finish()
        return undefined
      }
      const chunk = await next()
      if (chunk === undefined) return await fail(shape.truncated(shape.length - left))
      if (chunk.length > left && shape.more !== true) return await fail(shape.excess())
      const wanted = chunk.length > left ? chunk.subarray(0, left) : chunk
      left -= wanted.length
      // Whoever has all that was promised need not ask for the end.
      if (left === 0) await finish()
      return wanted
    },
    cancel: (reason) => reader.cancel(reason),
  })
}

/** A body as text, up to `most` bytes; the rest is given up. `undefined`: it has more, or broke. */
export const boundedText = async (response: Response, most: number): Promise<string | undefined> => {
  if (response.body === null) return ""
  const reader = response.body.getReader()
  const decoder = new TextDecoder()
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
