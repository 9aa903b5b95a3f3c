/**
 * Everything bytes can come from, behind one pull.
 *
 * @module
 */

/**
 * Where the bytes of a save come from. Each but `Uint8Array`, `ArrayBuffer`, `string` and `Blob` is used up by one
 * save. A `Uint8Array` must not change until the save has ended.
 */
export type Source =
  | ReadableStream<Uint8Array>
  | AsyncIterable<Uint8Array>
  | Blob
  | Uint8Array
  | ArrayBuffer
  | string
  | Response
  | Request

/** A source once opened. Calls do not overlap. */
export interface ByteReader {
  /** Bytes in all, where that is certain before the first read. */
  readonly size: number | undefined
  /** The next chunk, never empty, or `undefined` at the end. The chunk may be reused by the source at the next call. */
  readonly read: () => Promise<Uint8Array | undefined>
  /** Tells the source that no more will be read, and lets it free what it holds. Never rejects. */
  readonly cancel: (reason: unknown) => Promise<void>
}

/** A source that cannot be saved, as opposed to one that failed while it was read. */
export class SourceError extends TypeError {
  override readonly name: string = "SourceError"
}

/** Opens a source. Throws a {@link SourceError} that says what to pass instead when it is none, or has been used. */
export const openSource = (source: Source): ByteReader => {
  if (typeof source === "string") return fromBytes(new TextEncoder().encode(source))
  if (source instanceof Uint8Array) return fromBytes(source)
  if (source instanceof ArrayBuffer) return fromBytes(new Uint8Array(source))
  if (ArrayBuffer.isView(source)) {
    const view = source as ArrayBufferView
    return fromBytes(new Uint8Array(view.buffer, view.byteOffset, view.byteLength))
  }
  if (source instanceof Blob) return fromStream(source.stream() as ReadableStream<Uint8Array>, source.size)
  if (source instanceof ReadableStream) return fromStream(source, undefined)
  if (source instanceof Response || source instanceof Request) {
    if (source instanceof Response && !source.ok && source.type !== "default") {
      throw new SourceError(`the source is a response with status ${source.status}; save only successful responses`)
    }
    if (source.bodyUsed) throw new SourceError("the source's body has been read already; pass one that has not")
    return source.body === null ? fromBytes(new Uint8Array(0)) : fromStream(source.body, undefined)
  }
  if (typeof source === "object" && source !== null && Symbol.asyncIterator in source) {
    return fromIterator((source as AsyncIterable<Uint8Array>)[Symbol.asyncIterator]())
  }
  const kind = source === null ? "null" : typeof source
  throw new SourceError(
    `the source is of type ${kind}; pass a ReadableStream, an async iterable, a Blob, bytes, a string, a Response or a Request`,
  )
}

const fromBytes = (bytes: Uint8Array): ByteReader => {
  let rest: Uint8Array | undefined = bytes.length === 0 ? undefined : bytes
  return {
    size: bytes.length,
    read: () => {
      const chunk = rest
      rest = undefined
      return Promise.resolve(chunk)
    },
    cancel: () => {
      rest = undefined
      return Promise.resolve()
    },
  }
}

const toBytes = (chunk: unknown): Uint8Array => {
  if (chunk instanceof Uint8Array) return chunk
  if (chunk instanceof ArrayBuffer) return new Uint8Array(chunk)
  if (ArrayBuffer.isView(chunk)) return new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength)
  const kind = chunk === null ? "null" : typeof chunk
  const help = kind === "string" ? "; pipe it through a TextEncoderStream" : ""
  throw new SourceError(`the source delivered a chunk of type ${kind} where bytes belong${help}`)
}

const fromStream = (stream: ReadableStream<Uint8Array>, size: number | undefined): ByteReader => {
  if (stream.locked) throw new SourceError("the source stream is locked; pass one that nobody else is reading")
  const bytes = byteReader(stream)
  if (bytes !== undefined) return fromByteStream(bytes, size)
  const reader = stream.getReader()
  return {
    size,
    read: async () => {
      while (true) {
        const { done, value } = await reader.read()
        if (done) return undefined
        const chunk = toBytes(value)
        if (chunk.length > 0) return chunk
      }
    },
    cancel: (reason) => reader.cancel(reason).then(() => undefined, () => undefined),
  }
}

/** The largest buffer that a byte stream is asked to fill. */
const largestRead = 2 ** 20

/**
 * In Deno, a reader with a buffer of its own where the stream takes one, as those of files and responses do: left to
 * itself a file's stream reads 64 KiB at a time into new memory, which takes five times the processor time.
 */
const byteReader = (stream: ReadableStream<Uint8Array>): ReadableStreamBYOBReader | undefined => {
  // wrangler knows the user agent, and leaves this out of a Worker.
  if (!("Deno" in globalThis) || navigator.userAgent === "Cloudflare-Workers") return undefined
  try {
    return stream.getReader({ mode: "byob" })
  } catch {
    // It delivers what it likes.
    return undefined
  }
}

const fromByteStream = (reader: ReadableStreamBYOBReader, size: number | undefined): ByteReader => {
  let buffer = new ArrayBuffer(64 * 1024)
  return {
    size,
    read: async () => {
      while (true) {
        const { done, value } = await reader.read(new Uint8Array(buffer))
        if (done) return undefined
        // Most sources are small; one that fills its buffer gets the large one.
        const grow = value.length === value.buffer.byteLength && value.length < largestRead
        buffer = grow ? new ArrayBuffer(largestRead) : value.buffer
        if (value.length > 0) return value
      }
    },
    cancel: (reason) => reader.cancel(reason).then(() => undefined, () => undefined),
  }
}

const fromIterator = (iterator: AsyncIterator<Uint8Array>): ByteReader => {
  let ended = false
  return {
    size: undefined,
    read: async () => {
      while (!ended) {
        const { done, value } = await iterator.next()
        if (done) {
          ended = true
          break
        }
        const chunk = toBytes(value)
        if (chunk.length > 0) return chunk
      }
      return undefined
    },
    cancel: async () => {
      if (ended) return
      ended = true
      try {
        await iterator.return?.()
      } catch {
        // The save has failed for another reason already, and that reason is the one worth reporting.
      }
    },
  }
}
