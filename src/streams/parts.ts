/**
 * Cuts what a source delivers into parts, with one copy into pooled buffers.
 *
 * Fresh 8 MiB buffers for each part cost a gigabyte of resident memory in Bun, since the collector does not see
 * them grow; pooled ones stay flat. The rule that keeps pooling safe: a buffer goes back only when nobody can
 * still read it. Whoever gives up on a call that had a buffer must {@link PartPool.abandon} it, because the
 * runtime may go on sending it after we stopped waiting.
 *
 * @module
 */
import type { Hasher } from "./digest.ts"
import type { ByteReader } from "./source.ts"

const abandoned = new WeakSet<ArrayBufferLike>()

/** Buffers that have served, by size, up to a bound of idle bytes. */
export class PartPool {
  readonly #free = new Map<number, Array<Uint8Array>>()
  readonly #maxIdle: number
  #idle = 0

  /** `maxIdle`: bytes kept for the next save. */
  constructor(maxIdle: number) {
    this.#maxIdle = maxIdle
  }

  /** A buffer of exactly `size` bytes, holding anything. */
  take(size: number): Uint8Array {
    const buffer = this.#free.get(size)?.pop()
    if (buffer === undefined) return new Uint8Array(size)
    this.#idle -= size
    return buffer
  }

  /** Gives a buffer back, unless it was abandoned. */
  release(buffer: Uint8Array): void {
    const size = buffer.length
    if (abandoned.has(buffer.buffer) || this.#idle + size > this.#maxIdle) return
    const list = this.#free.get(size)
    if (list === undefined) this.#free.set(size, [buffer])
    else list.push(buffer)
    this.#idle += size
  }

  /** Marks a buffer as one that somebody may still be reading: it is never used again. */
  static abandon(buffer: Uint8Array): void {
    abandoned.add(buffer.buffer)
  }
}

/** Fills buffers from a source, in order. */
export class PartReader {
  readonly #source: ByteReader
  readonly #hasher: Hasher | undefined
  #pending: Uint8Array | undefined
  #ended = false
  #total = 0

  constructor(source: ByteReader, hasher?: Hasher) {
    this.#source = source
    this.#hasher = hasher
  }

  /** Bytes delivered so far. */
  get total(): number {
    return this.#total
  }

  /** Whether the source has ended; reads ahead by at most one chunk to find out. */
  async atEnd(): Promise<boolean> {
    if (this.#pending === undefined && !this.#ended) {
      this.#pending = await this.#source.read()
      if (this.#pending === undefined) this.#ended = true
    }
    return this.#pending === undefined
  }

  /** Fills `buffer` from `from` on; returns how many bytes it holds then: fewer than its length only at the end. */
  async fill(buffer: Uint8Array, from = 0): Promise<number> {
    let filled = from
    while (filled < buffer.length && !(await this.atEnd())) {
      const chunk = this.#pending!
      const taken = Math.min(chunk.length, buffer.length - filled)
      buffer.set(taken === chunk.length ? chunk : chunk.subarray(0, taken), filled)
      this.#pending = taken === chunk.length ? undefined : chunk.subarray(taken)
      this.#hasher?.update(buffer.subarray(filled, filled + taken))
      filled += taken
      this.#total += taken
    }
    return filled
  }
}
