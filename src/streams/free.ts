/**
 * Giving memory back when it is done with, instead of when a collector gets round to it: the runtimes hardly know
 * about the megabytes behind a small object, and a transfer makes one after the other.
 *
 * @module
 */

/** Below this a detachment costs more than it gives; small `Buffer`s share their memory with others, besides. */
const worthIt = 64 * 1024

/** Bytes by which a decoder's buffer may be larger than what is in it. */
export const slack = 64

/**
 * Frees what is behind `bytes`, which nobody may look at any more. A view of something larger is left alone: what a
 * decoder had no use for at its end may be missing, another's bytes may not.
 */
export const free = (bytes: Uint8Array): void => {
  const { buffer } = bytes
  if (bytes.length < worthIt || bytes.length < buffer.byteLength - slack || !(buffer instanceof ArrayBuffer)) return
  buffer.transfer?.(0)
}
