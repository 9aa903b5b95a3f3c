/**
 * The tails of objects whose ranges were loaded lately, so that the next range of one costs a single request: it is
 * pinned to the etag that the tail belongs to, and where the store refuses that, the tail is forgotten.
 *
 * @module
 */
import type { Tail } from "./streams/container-tail.ts"

/** Frames in all that are remembered, at 12 bytes each: tails of 256 GiB at the default frame size. */
const maxFrames = 65_536

/** A tail, and the object it is the end of. */
export interface KnownTail {
  /** Strong. */
  readonly etag: string
  readonly tail: Tail
}

/** The tails used last, by key. */
export class TailCache {
  readonly #tails = new Map<string, KnownTail>()
  #frames = 0

  /** The tail of an object as it was when somebody looked. */
  get(key: string): KnownTail | undefined {
    const known = this.#tails.get(key)
    if (known === undefined) return undefined
    this.#tails.delete(key)
    this.#tails.set(key, known)
    return known
  }

  /** Remembers a tail that ranges can be found with; the ones not used for longest make room. */
  set(key: string, etag: string, tail: Tail): void {
    this.delete(key)
    if (tail.table === undefined || etag.startsWith("W/") || tail.frames > maxFrames) return
    this.#tails.set(key, { etag, tail })
    this.#frames += tail.frames
    for (const oldest of this.#tails.keys()) {
      if (this.#frames <= maxFrames) break
      this.delete(oldest)
    }
  }

  /** Forgets a tail that is no more the object's. */
  delete(key: string): void {
    const known = this.#tails.get(key)
    if (known === undefined) return
    this.#tails.delete(key)
    this.#frames -= known.tail.frames
  }
}
