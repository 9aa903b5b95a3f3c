/**
 * Inflate (RFC 1951) in JavaScript, for runtimes without `node:zlib`. It exists because a gzip member does not say
 * where it ends: only an inflater finds out, and the libraries do not tell. It refuses what zlib refuses.
 *
 * @module
 */
import type { PushDecoder } from "./codec-native.ts"

const windowSize = 32 * 1024

/** Codes of up to this many bits are found in one look. */
const fastBits = 10

// RFC 1951, 3.2.5: every four lengths, and every two distances, have one more bit of their own; each begins where the
// one before ends. The longest length has a symbol to itself.
const lengthExtra = Array.from({ length: 29 }, (_, i) => i < 8 || i === 28 ? 0 : (i >> 2) - 1)
const distanceExtra = Array.from({ length: 30 }, (_, i) => i < 4 ? 0 : (i >> 1) - 1)

const basesOf = (first: number, extra: ReadonlyArray<number>): Array<number> => {
  let next = first
  return extra.map((bits) => (next += 1 << bits) - (1 << bits))
}

const lengthBase = basesOf(3, lengthExtra).with(28, 258)
const distanceBase = basesOf(1, distanceExtra)
const codeOrder = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15]

/** A canonical Huffman code. */
interface Code {
  /** `symbol << 4 | length` for the next {@link fastBits} bits of the stream, 0 where the code is longer. */
  readonly fast: Uint16Array
  /** How many codes there are of each length. */
  readonly count: Uint16Array
  /** The symbols, by length and then by value. */
  readonly symbols: Uint16Array
}

const makeCode = (lengths: Uint8Array, mayBeSingle: boolean): Code => {
  const count = new Uint16Array(16)
  for (const length of lengths) count[length]!++
  let left = 1
  let longest = 0
  for (let length = 1; length < 16; length++) {
    left = left * 2 - count[length]!
    if (left < 0) throw new Error("a Huffman code is over-subscribed")
    if (count[length]! > 0) longest = length
  }
  if (left > 0 && longest > 0 && !(mayBeSingle && longest === 1)) throw new Error("a Huffman code is incomplete")
  count[0] = 0
  const offsets = new Uint16Array(16)
  const next = new Uint16Array(16)
  for (let length = 1; length < 15; length++) {
    offsets[length + 1] = offsets[length]! + count[length]!
    next[length + 1] = (next[length]! + count[length]!) << 1
  }
  const symbols = new Uint16Array(lengths.length)
  const fast = new Uint16Array(1 << fastBits)
  for (let symbol = 0; symbol < lengths.length; symbol++) {
    const length = lengths[symbol]!
    if (length === 0) continue
    symbols[offsets[length]!++] = symbol
    const code = next[length]!++
    if (length > fastBits) continue
    // The stream holds a code from its first bit on, tables count from the last.
    let reversed = 0
    for (let bit = 0; bit < length; bit++) reversed |= (code >> bit & 1) << (length - 1 - bit)
    for (let i = reversed; i < fast.length; i += 1 << length) fast[i] = symbol << 4 | length
  }
  return { fast, count, symbols }
}

/** Finds a code that is too long for the fast table, bit by bit. */
const slowLook = (code: Code, bits: number): number => {
  let value = 0
  let first = 0
  let index = 0
  for (let length = 1; length < 16; length++) {
    value |= bits & 1
    bits >>>= 1
    const count = code.count[length]!
    if (value - count < first) return code.symbols[index + value - first]! << 4 | length
    index += count
    first = (first + count) << 1
    value <<= 1
  }
  throw new Error("a code stands for nothing")
}

let fixedCodes: readonly [Code, Code] | undefined

const makeFixed = (): readonly [Code, Code] => {
  const lengths = new Uint8Array(288).fill(8, 0, 144).fill(9, 144, 256).fill(7, 256, 280).fill(8, 280)
  return [makeCode(lengths, false), makeCode(new Uint8Array(32).fill(5), false)]
}

/**
 * The decoder as a generator: it yields when it wants the next slice, and returns how many bytes of the last one it
 * did not need. It may look up to two bytes past the end of the stream, which in gzip are there.
 */
function* inflate(emit: (bytes: Uint8Array) => void): Generator<void, number, Uint8Array> {
  let input: Uint8Array = yield
  let at = 0
  let bits = 0
  let held = 0
  // History and what has not been emitted yet.
  const out = new Uint8Array(windowSize * 4)
  let o = 0
  let emitted = 0
  let total = 0
  const flush = (): void => {
    if (o > emitted) emit(out.slice(emitted, o))
    if (o > out.length - windowSize) {
      out.copyWithin(0, o - windowSize, o)
      o = windowSize
    }
    emitted = o
  }
  const lengths = new Uint8Array(320)
  let last = false
  while (!last) {
    while (held < 3) {
      while (at === input.length) {
        flush()
        input = yield
        at = 0
      }
      bits |= input[at++]! << held
      held += 8
    }
    last = (bits & 1) === 1
    const type = bits >> 1 & 3
    bits >>>= 3
    held -= 3
    if (type === 3) throw new Error("a block has the reserved type")
    if (type === 0) {
      bits >>>= held & 7
      held -= held & 7
      while (held < 32) {
        while (at === input.length) {
          flush()
          input = yield
          at = 0
        }
        bits |= input[at++]! << held
        held += 8
      }
      let left = bits & 0xffff
      if (left !== (~bits >>> 16 & 0xffff)) throw new Error("the length of a stored block is wrong")
      bits = held = 0
      while (left > 0) {
        while (at === input.length) {
          flush()
          input = yield
          at = 0
        }
        if (o === out.length) flush()
        const size = Math.min(left, input.length - at, out.length - o)
        out.set(input.subarray(at, at + size), o)
        at += size
        o += size
        total += size
        left -= size
      }
      continue
    }
    let literals: Code
    let distances: Code
    if (type === 1) [literals, distances] = fixedCodes ??= makeFixed()
    else {
      while (held < 14) {
        while (at === input.length) {
          flush()
          input = yield
          at = 0
        }
        bits |= input[at++]! << held
        held += 8
      }
      const literalCount = (bits & 31) + 257
      const distanceCount = (bits >> 5 & 31) + 1
      const codeCount = (bits >> 10 & 15) + 4
      bits >>>= 14
      held -= 14
      if (literalCount > 286 || distanceCount > 30) throw new Error("a block has too many codes")
      lengths.fill(0)
      for (let i = 0; i < codeCount; i++) {
        while (held < 3) {
          while (at === input.length) {
            flush()
            input = yield
            at = 0
          }
          bits |= input[at++]! << held
          held += 8
        }
        lengths[codeOrder[i]!] = bits & 7
        bits >>>= 3
        held -= 3
      }
      const codes = makeCode(lengths.slice(0, 19), false)
      lengths.fill(0)
      for (let i = 0; i < literalCount + distanceCount;) {
        while (held < 14) {
          while (at === input.length) {
            flush()
            input = yield
            at = 0
          }
          bits |= input[at++]! << held
          held += 8
        }
        const found = codes.fast[bits & 1023]! || slowLook(codes, bits)
        bits >>>= found & 15
        held -= found & 15
        const symbol = found >> 4
        if (symbol < 16) {
          lengths[i++] = symbol
          continue
        }
        if (symbol === 16 && i === 0) throw new Error("a code length repeats nothing")
        const width = symbol === 16 ? 2 : symbol === 17 ? 3 : 7
        const times = (symbol === 18 ? 11 : 3) + (bits & (1 << width) - 1)
        bits >>>= width
        held -= width
        if (i + times > literalCount + distanceCount) throw new Error("a block has too many code lengths")
        lengths.fill(symbol === 16 ? lengths[i - 1]! : 0, i, i + times)
        i += times
      }
      if (lengths[256] === 0) throw new Error("a block cannot end")
      literals = makeCode(lengths.slice(0, literalCount), true)
      distances = makeCode(lengths.slice(literalCount, literalCount + distanceCount), true)
    }
    while (true) {
      while (held < 15) {
        while (at === input.length) {
          flush()
          input = yield
          at = 0
        }
        bits |= input[at++]! << held
        held += 8
      }
      let found = literals.fast[bits & 1023]! || slowLook(literals, bits)
      bits >>>= found & 15
      held -= found & 15
      const symbol = found >> 4
      if (symbol < 256) {
        if (o === out.length) flush()
        out[o++] = symbol
        total++
        continue
      }
      if (symbol === 256) break
      if (symbol > 285) throw new Error("a length stands for nothing")
      while (held < 5) {
        while (at === input.length) {
          flush()
          input = yield
          at = 0
        }
        bits |= input[at++]! << held
        held += 8
      }
      const lengthBits = lengthExtra[symbol - 257]!
      let length = lengthBase[symbol - 257]! + (bits & (1 << lengthBits) - 1)
      bits >>>= lengthBits
      held -= lengthBits
      while (held < 15) {
        while (at === input.length) {
          flush()
          input = yield
          at = 0
        }
        bits |= input[at++]! << held
        held += 8
      }
      found = distances.fast[bits & 1023]! || slowLook(distances, bits)
      bits >>>= found & 15
      held -= found & 15
      const index = found >> 4
      if (index > 29) throw new Error("a distance stands for nothing")
      const distanceBits = distanceExtra[index]!
      while (held < distanceBits) {
        while (at === input.length) {
          flush()
          input = yield
          at = 0
        }
        bits |= input[at++]! << held
        held += 8
      }
      const distance = distanceBase[index]! + (bits & (1 << distanceBits) - 1)
      bits >>>= distanceBits
      held -= distanceBits
      if (distance > total) throw new Error("a distance reaches back before the start")
      total += length
      while (length > 0) {
        if (o === out.length) flush()
        const size = Math.min(length, out.length - o)
        for (const end = o + size; o < end; o++) out[o] = out[o - distance]!
        length -= size
      }
    }
  }
  flush()
  return input.length - at + (held >> 3)
}

/** A fresh inflater. */
export const portableInflate = (): PushDecoder => {
  let output: Array<Uint8Array> = []
  let ended = false
  let consumed = 0
  const decoder = inflate((bytes) => void output.push(bytes))
  decoder.next()
  return {
    // It throws what it finds; in a promise, as the native one.
    push: (slice) =>
      new Promise((resolve) => {
        if (!ended && slice.length > 0) {
          const { done, value } = decoder.next(slice)
          ended = done === true
          consumed += slice.length - (done ? value : 0)
        }
        const taken = output
        output = []
        resolve(taken)
      }),
    get ended() {
      return ended
    },
    get consumed() {
      return consumed
    },
    close: () => {},
  }
}
