/**
 * Web streams that know what they are made of. Every stream between a socket and a program costs each chunk a few
 * promises, and a load has several layers: one counts, one heals, one joins, one decodes. Each layer gives a stream, as
 * its contract says, and the next one pulls from below that stream.
 *
 * @module
 */

/** Bytes that are pulled. Calls do not overlap. */
export interface Reader {
  /** The next chunk, or `undefined` at the end. */
  readonly read: () => Promise<Uint8Array | undefined>
  /** Tells the source that no more will be read, and lets it free what it holds. */
  readonly cancel: (reason?: unknown) => Promise<void>
}

/** What streams of ours are made of. */
const readers = new WeakMap<ReadableStream<Uint8Array>, Reader>()

/** A stream that pulls from a reader when it is read itself. */
export const streamOf = (reader: Reader): ReadableStream<Uint8Array> => {
  const stream = new ReadableStream<Uint8Array>({
    pull: async (controller) => {
      const chunk = await reader.read()
      if (chunk === undefined) controller.close()
      else controller.enqueue(chunk)
    },
    cancel: (reason) => reader.cancel(reason),
  }, { highWaterMark: 0 })
  readers.set(stream, reader)
  return stream
}

/** Reads a stream, which is locked from then on: from below it where it is one of ours. */
export const readerOf = (stream: ReadableStream<Uint8Array>): Reader => {
  const lock = stream.getReader()
  return readers.get(stream) ?? {
    read: async () => {
      const { done, value } = await lock.read()
      return done ? undefined : value
    },
    cancel: (reason) => lock.cancel(reason),
  }
}

/** Whether two streams deliver the same bytes, however they are cut into chunks. */
export const sameBytes = async (one: Reader, other: Reader): Promise<boolean> => {
  try {
    let a: Uint8Array | undefined = new Uint8Array(0)
    let b: Uint8Array | undefined = new Uint8Array(0)
    while (true) {
      while (a?.length === 0) a = await one.read()
      while (b?.length === 0) b = await other.read()
      if (a === undefined || b === undefined) return a === b
      const length = Math.min(a.length, b.length)
      for (let i = 0; i < length; i++) if (a[i] !== b[i]) return false
      a = a.subarray(length)
      b = b.subarray(length)
    }
  } finally {
    await Promise.all([one.cancel(), other.cancel()])
  }
}
