/**
 * What the measurements move, and how: the same bytes from the same source, the same number of things at a time.
 *
 * @module
 */
import { open, rm } from "node:fs/promises"

/** What a source delivers, again and again: 64 KiB that no codec makes much of. */
export const chunk: Uint8Array<ArrayBuffer> = new Uint8Array(64 * 1024).map((_, i) => (i * 2654435761) >>> 13)

/** A small object. */
export const small: Uint8Array<ArrayBuffer> = chunk.subarray(0, 4096)

/** Small objects at a time. */
export const smallInFlight = 32

/** A stream of `total` bytes that says nothing of its length. */
export const sourceOf = (total: number): ReadableStream<Uint8Array> => {
  let sent = 0
  return new ReadableStream({
    pull(controller) {
      if (sent >= total) return controller.close()
      sent += chunk.length
      controller.enqueue(chunk)
    },
  }, { highWaterMark: 0 })
}

/** Runs `task` for 0 … count-1, `inFlight` at a time. */
export const many = async (count: number, inFlight: number, task: (i: number) => Promise<unknown>): Promise<void> => {
  let next = 0
  await Promise.all(Array.from({ length: inFlight }, async () => {
    while (next < count) await task(next++)
  }))
}

/** Reads a stream to its end; throws unless it has `total` bytes. */
export const drain = async (stream: AsyncIterable<Uint8Array>, total: number): Promise<void> => {
  let bytes = 0
  for await (const piece of stream) bytes += piece.length
  if (bytes !== total) throw new Error(`${bytes} of ${total} bytes`)
}

/**
 * Writes a file of `total` bytes and removes it. A virtual machine gives free memory back to its host, and a page that
 * must be fetched again costs more than writing it; after this every variant gets the same pages.
 */
export const warmDisk = async (folder: string, total: number): Promise<void> => {
  const scratch = await open(`${folder}/scratch`, "w")
  for await (const piece of sourceOf(total)) await scratch.write(piece)
  await scratch.close()
  await rm(`${folder}/scratch`)
}
