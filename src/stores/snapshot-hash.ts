/**
 * The SHA-256 that a snapshot carries: of its state in normal form, each number as Persist has read it.
 *
 * @module
 */
import { type Hasher, sha256 } from "../streams/digest.ts"
import { persistDouble } from "./snapshot-numbers.ts"

/**
 * Which form of the numbers was hashed.
 *
 * - `persist`: what Persist reads and prints; what is written here.
 * - `exact`: the doubles that are written. A Persist built with an exact parser.
 * - `persist+`, `exact+`: the same where exponents above zero have a sign, as newer versions of `serde_json` print
 *   them (1.0.154 does, 1.0.145 does not).
 */
export type NumberForm = "persist" | "exact" | "persist+" | "exact+"

/** Every form, the one that is written first. */
export const numberForms: ReadonlyArray<NumberForm> = ["persist", "exact", "persist+", "exact+"]

const quote = 0x22
const backslash = 0x5c

/** Whether a byte begins a number, where no string is open. */
const beginsNumber = (byte: number): boolean => byte === 0x2d || (byte >= 0x30 && byte <= 0x39)

const inNumber = (byte: number): boolean =>
  beginsNumber(byte) || byte === 0x2e || byte === 0x2b || byte === 0x65 || byte === 0x45

/** The digest of JSON in normal form, fed piece by piece. */
export class SnapshotHash {
  readonly #digest: Digest = makeDigest()
  readonly #form: NumberForm
  #inText = false
  #escaped = false
  /** A number that the last piece ended in. */
  #number = ""
  #length = 0

  constructor(form: NumberForm = "persist") {
    this.#form = form
  }

  /** Bytes fed so far. */
  get length(): number {
    return this.#length
  }

  /** Feeds the next bytes of the normal form. */
  update(bytes: Uint8Array): void {
    this.#length += bytes.length
    let from = 0
    let at = 0
    while (at < bytes.length) {
      if (this.#inText) {
        at = this.#passText(bytes, at)
        continue
      }
      const byte = bytes[at]!
      if (this.#number !== "" || beginsNumber(byte)) {
        const start = at
        while (at < bytes.length && inNumber(bytes[at]!)) at++
        const text = this.#number + ascii(bytes, start, at)
        if (at === bytes.length) {
          this.#feed(bytes.subarray(from, start))
          this.#number = text
          return
        }
        const hashed = this.#hashed(text)
        if (hashed !== text || this.#number !== "") {
          this.#feed(bytes.subarray(from, start))
          this.#feed(new TextEncoder().encode(hashed))
          from = at
        }
        this.#number = ""
        continue
      }
      if (byte === quote) this.#inText = true
      at++
    }
    this.#feed(bytes.subarray(from))
  }

  /** The digest in lower-case hex. Call it once. */
  hex(): Promise<string> {
    if (this.#number !== "") this.#feed(new TextEncoder().encode(this.#hashed(this.#number)))
    return this.#digest.hex()
  }

  /** Passes what is left of a string, of which most snapshots are made. */
  #passText(bytes: Uint8Array, from: number): number {
    let at = from
    if (this.#escaped) {
      this.#escaped = false
      at++
    }
    for (; at < bytes.length; at++) {
      const byte = bytes[at]!
      if (byte === backslash) {
        if (++at === bytes.length) this.#escaped = true
      } else if (byte === quote) {
        this.#inText = false
        return at + 1
      }
    }
    return bytes.length
  }

  #hashed(normal: string): string {
    const form = this.#form
    const read = form === "persist" || form === "persist+" ? persistDouble(normal) : normal
    return form.endsWith("+") ? read.replace(/e(?=[0-9])/, "e+") : read
  }

  #feed(bytes: Uint8Array): void {
    if (bytes.length > 0) this.#digest.update(bytes)
  }
}

const ascii = (bytes: Uint8Array, from: number, to: number): string => {
  let text = ""
  for (let at = from; at < to; at++) text += String.fromCharCode(bytes[at]!)
  return text
}

/** The digest of a state that is in memory. */
export const hashOf = (normal: Uint8Array, form?: NumberForm): Promise<string> => {
  const hash = new SnapshotHash(form)
  hash.update(normal)
  return hash.hex()
}

interface Digest {
  readonly update: (bytes: Uint8Array) => void
  readonly hex: () => Promise<string>
}

const makeDigest = (): Digest => {
  const hasher: Hasher | undefined = sha256()
  return hasher === undefined ? heldDigest() : { update: hasher.update, hex: () => Promise.resolve(hasher.hex()) }
}

/** WebCrypto's, which wants all bytes at once. Snapshots have to fit into memory twice on runtimes with nothing better. */
const heldDigest = (): Digest => {
  const pieces: Array<Uint8Array<ArrayBuffer>> = []
  return {
    update: (bytes) => void pieces.push(new Uint8Array(bytes)),
    hex: async () => {
      const all = await new Blob(pieces).arrayBuffer()
      const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", all))
      return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("")
    },
  }
}
