/**
 * The order of an object's keys while they stand among other bytes, in normal form and with their quotes.
 *
 * @module
 */

const quote = 0x22
const backslash = 0x5c

/** The key that begins at `start`, with its quotes, as a copy. */
export const keyOf = (bytes: Uint8Array, start: number): Uint8Array => bytes.slice(start, keyEnd(bytes, start) + 1)

/** Where the closing quote of the key is that begins at `start`. */
const keyEnd = (bytes: Uint8Array, start: number): number => {
  let at = start + 1
  for (; bytes[at] !== quote; at++) if (bytes[at] === backslash) at++
  return at
}

/** Compares two keys in normal form that begin at `i` and `j`, by the UTF-8 bytes of what they stand for. */
export const compareKeys = (a: Uint8Array, i: number, b: Uint8Array, j: number): number => {
  for (let at = 1;; at++) {
    const x = a[i + at]!
    const y = b[j + at]!
    // From here on the escaped form does not sort like what it stands for.
    if (x === backslash || y === backslash) return compareBytes(unescaped(a, i), unescaped(b, j))
    if (x === quote || y === quote) return x === y ? 0 : x === quote ? -1 : 1
    if (x !== y) return x - y
  }
}

const unescaped = (bytes: Uint8Array, start: number): Uint8Array =>
  new TextEncoder().encode(JSON.parse(new TextDecoder().decode(keyOf(bytes, start))) as string)

const compareBytes = (a: Uint8Array, b: Uint8Array): number => {
  const length = Math.min(a.length, b.length)
  for (let at = 0; at < length; at++) if (a[at] !== b[at]) return a[at]! - b[at]!
  return a.length - b.length
}
