/**
 * The log of a server: one JSON object a line.
 *
 * What a maintainer must keep: a line holds no token, header, query or body at any level, and below `debug` no name of an
 * object either, since names tell what people keep. There an object is known by a hash with a key that only this
 * process has: lines about one object can be told to belong together, and no name can be guessed and compared.
 *
 * @module
 */
import { createHmac, randomBytes } from "node:crypto"

/** How much is logged: `error` only what failed on this side, `info` each request, `debug` names and details too. */
export const levels = ["debug", "info", "error"] as const

/** One of them. */
export type Level = (typeof levels)[number]

/** What a line says. `key` and `detail` are left out, or replaced, below `debug`. */
export interface Entry {
  readonly event: string
  /** Name of an object, or a prefix. */
  readonly key?: string | undefined
  /** An error's text, which may hold names. */
  readonly detail?: string | undefined
  readonly [field: string]: string | number | boolean | undefined
}

/** Writes a line and says when it has left the process. */
export type WriteLine = (line: string, written: () => void) => void

/** Lines that may wait for whoever reads them; further ones are counted and dropped, so that a reader that stalls
 * neither stops the server nor fills its memory. */
const maxWaiting = 1000

/** A log from `least` on. */
export class Log {
  readonly #least: number
  readonly #write: WriteLine
  readonly #now: () => number
  readonly #secret: Uint8Array = randomBytes(32)
  #waiting = 0
  #dropped = 0

  constructor(least: Level, write: WriteLine, now: () => number = Date.now) {
    this.#least = levels.indexOf(least)
    this.#write = write
    this.#now = now
  }

  /** Whether lines of this level are written. */
  has(level: Level): boolean {
    return levels.indexOf(level) >= this.#least
  }

  /** Writes a line. */
  add(level: Level, { key, detail, ...rest }: Entry): void {
    if (!this.has(level)) return
    if (this.#waiting >= maxWaiting) {
      this.#dropped++
      return
    }
    const open = this.has("debug")
    const fields = {
      time: new Date(this.#now()).toISOString(),
      level,
      ...rest,
      object: key === undefined || key === "" ? undefined : this.#hash(key),
      ...(open ? { key, detail } : {}),
      dropped: this.#dropped === 0 ? undefined : this.#dropped,
    }
    this.#dropped = 0
    this.#waiting++
    this.#write(`${JSON.stringify(fields)}\n`, () => this.#waiting--)
  }

  #hash(key: string): string {
    return createHmac("sha256", this.#secret).update(key).digest("hex").slice(0, 12)
  }
}
