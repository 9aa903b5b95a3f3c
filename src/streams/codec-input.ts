/**
 * Stored bytes on their way into a decoder that wants to look before it takes.
 *
 * @module
 */

/** Delivers the next chunk, never empty, or `undefined` at the end. A chunk may be reused at the next call. */
export type Pull = () => Promise<Uint8Array | undefined>

/** A window on the stored bytes. Calls do not overlap. */
export class Input {
  readonly #pull: Pull
  #buffer: Uint8Array<ArrayBuffer> = new Uint8Array(64 * 1024)
  #start = 0
  #end = 0
  #offset = 0
  #ended = false

  constructor(pull: Pull) {
    this.#pull = pull
  }

  /** Bytes taken so far: where {@link Input.view} begins in what is stored. */
  get offset(): number {
    return this.#offset
  }

  /** What has been read and not taken. Valid until the next {@link Input.fill}. */
  get view(): Uint8Array<ArrayBuffer> {
    return this.#buffer.subarray(this.#start, this.#end)
  }

  /** Reads until {@link Input.view} holds `count` bytes; `false` when the stored bytes end before. */
  async fill(count: number): Promise<boolean> {
    while (this.#end - this.#start < count) {
      if (this.#ended) return false
      const chunk = await this.#pull()
      if (chunk === undefined) {
        this.#ended = true
        return false
      }
      this.#append(chunk)
    }
    return true
  }

  /** Drops the first `count` bytes of {@link Input.view}. */
  skip(count: number): void {
    this.#start += count
    this.#offset += count
  }

  /** Takes the first `count` bytes of {@link Input.view} as a copy of their own. */
  take(count: number): Uint8Array<ArrayBuffer> {
    const taken = this.#buffer.slice(this.#start, this.#start + count)
    this.skip(count)
    return taken
  }

  #append(chunk: Uint8Array): void {
    const held = this.#end - this.#start
    if (this.#end + chunk.length > this.#buffer.length) {
      if (held + chunk.length > this.#buffer.length) {
        const grown = new Uint8Array(Math.max(held + chunk.length, this.#buffer.length * 2))
        grown.set(this.view)
        this.#buffer = grown
      } else this.#buffer.copyWithin(0, this.#start, this.#end)
      this.#start = 0
      this.#end = held
    }
    this.#buffer.set(chunk, this.#end)
    this.#end += chunk.length
  }
}
