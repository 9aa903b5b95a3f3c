/**
 * XXH64 with seed 0, of which zstd keeps the low 32 bits as a frame's content checksum: native in Bun, and in
 * 32-bit halves elsewhere (BigInt would be a hundred times slower).
 *
 * @module
 */

/** The native function, of which zstd needs the low half. */
type NativeHash = (bytes: Uint8Array, seed?: bigint) => bigint

const native = (globalThis as { Bun?: { hash?: { xxHash64?: NativeHash } } }).Bun?.hash?.xxHash64

/** The low 32 bits of XXH64 of `bytes`, as an unsigned number. */
export const xxh64Low: (bytes: Uint8Array) => number = native === undefined
  ? (bytes) => portableXxh64(bytes)[0]
  : (bytes) => Number(BigInt.asUintN(32, native(bytes, 0n)))

/** XXH64 of `bytes` as `[low, high]`, both unsigned; exported for the test that compares it with the native one. */
export const portableXxh64 = (bytes: Uint8Array): readonly [low: number, high: number] => {
  const hash = new Xxh64()
  hash.update(bytes)
  return hash.digest()
}

// The primes of the XXH64 specification, high and low halves; the products below also want 16-bit quarters.
const p1h = 0x9e3779b1, p1l = 0x85ebca87
const p2h = 0xc2b2ae3d, p2l = 0x27d4eb4f
const p3h = 0x165667b1, p3l = 0x9e3779f9
const p4h = 0x85ebca77, p4l = 0xc2b2ae63
const p5h = 0x27d4eb2f, p5l = 0x165667c5

/** The high half of the 64-bit product of two unsigned 32-bit numbers. */
const mulHigh = (a: number, b: number): number => {
  const a0 = a & 0xffff, a1 = a >>> 16, b0 = b & 0xffff, b1 = b >>> 16
  const low = Math.imul(a0, b0) >>> 0
  const middle = (Math.imul(a1, b0) >>> 0) + (low >>> 16)
  const cross = (Math.imul(a0, b1) >>> 0) + (middle & 0xffff)
  return (Math.imul(a1, b1) + (middle >>> 16) + (cross >>> 16)) | 0
}

/** XXH64 fed piece by piece. */
export class Xxh64 {
  // Four accumulators of 64 bits: low half, high half, and so on.
  readonly #acc: Int32Array = new Int32Array([
    p1l + p2l,
    p1h + p2h + (p1l + p2l > 0xffffffff ? 1 : 0),
    p2l,
    p2h,
    0,
    0,
    -p1l,
    ~p1h,
  ])
  readonly #stripe: Uint8Array = new Uint8Array(32)
  #filled = 0
  #length = 0

  /** Feeds the next bytes; they are read before the call returns. */
  update(bytes: Uint8Array): void {
    this.#length += bytes.length
    let at = 0
    if (this.#filled > 0) {
      at = Math.min(32 - this.#filled, bytes.length)
      this.#stripe.set(bytes.subarray(0, at), this.#filled)
      this.#filled += at
      if (this.#filled < 32) return
      stripes(this.#acc, this.#stripe, 0, 32)
      this.#filled = 0
    }
    const end = bytes.length - (bytes.length - at) % 32
    stripes(this.#acc, bytes, at, end)
    this.#stripe.set(bytes.subarray(end))
    this.#filled = bytes.length - end
  }

  /** The hash of all bytes so far as `[low, high]`, both unsigned. */
  digest(): readonly [low: number, high: number] {
    // Once an object, so clarity wins over speed here: the tail in BigInt.
    const mask = 0xffffffffffffffffn
    const wide = (high: number, low: number): bigint => BigInt(high >>> 0) << 32n | BigInt(low >>> 0)
    const rotate = (x: bigint, by: bigint): bigint => (x << by | x >> (64n - by)) & mask
    const p1 = wide(p1h, p1l), p2 = wide(p2h, p2l), p3 = wide(p3h, p3l), p4 = wide(p4h, p4l), p5 = wide(p5h, p5l)
    const round = (acc: bigint, lane: bigint): bigint => rotate((acc + lane * p2) & mask, 31n) * p1 & mask
    let hash = p5
    if (this.#length >= 32) {
      const [a, b, c, d] = [0, 2, 4, 6].map((i) => wide(this.#acc[i + 1]!, this.#acc[i]!)) as [
        bigint,
        bigint,
        bigint,
        bigint,
      ]
      hash = (rotate(a, 1n) + rotate(b, 7n) + rotate(c, 12n) + rotate(d, 18n)) & mask
      for (const acc of [a, b, c, d]) hash = ((hash ^ round(0n, acc)) * p1 + p4) & mask
    }
    hash = (hash + BigInt(this.#length)) & mask
    const tail = new DataView(this.#stripe.buffer, 0, this.#filled)
    let at = 0
    for (; at + 8 <= tail.byteLength; at += 8) {
      hash = (rotate(hash ^ round(0n, tail.getBigUint64(at, true)), 27n) * p1 + p4) & mask
    }
    if (at + 4 <= tail.byteLength) {
      hash = (rotate(hash ^ BigInt(tail.getUint32(at, true)) * p1 & mask, 23n) * p2 + p3) & mask
      at += 4
    }
    for (; at < tail.byteLength; at++) hash = rotate(hash ^ BigInt(tail.getUint8(at)) * p5 & mask, 11n) * p1 & mask
    hash = (hash ^ hash >> 33n) * p2 & mask
    hash = (hash ^ hash >> 29n) * p3 & mask
    hash ^= hash >> 32n
    return [Number(hash & 0xffffffffn), Number(hash >> 32n)]
  }
}

/** Runs whole stripes of 32 bytes through the accumulators: each lane is `rotl(acc + lane × p2, 31) × p1`. */
const stripes = (acc: Int32Array, bytes: Uint8Array, from: number, to: number): void => {
  for (let at = from; at < to; at += 32) {
    for (let lane = 0; lane < 4; lane++) {
      const i = at + lane * 8
      const low = bytes[i]! | bytes[i + 1]! << 8 | bytes[i + 2]! << 16 | bytes[i + 3]! << 24
      const high = bytes[i + 4]! | bytes[i + 5]! << 8 | bytes[i + 6]! << 16 | bytes[i + 7]! << 24
      const productLow = Math.imul(low, p2l)
      const productHigh = (mulHigh(low, p2l) + Math.imul(low, p2h) + Math.imul(high, p2l)) | 0
      const sumLow = (acc[lane * 2]! + productLow) | 0
      const carry = (sumLow >>> 0) < (productLow >>> 0) ? 1 : 0
      const sumHigh = (acc[lane * 2 + 1]! + productHigh + carry) | 0
      const turnedLow = sumLow << 31 | sumHigh >>> 1
      const turnedHigh = sumHigh << 31 | sumLow >>> 1
      acc[lane * 2] = Math.imul(turnedLow, p1l)
      acc[lane * 2 + 1] = mulHigh(turnedLow, p1l) + Math.imul(turnedLow, p1h) + Math.imul(turnedHigh, p1l)
    }
  }
}
