/**
 * JSON in normal form, from bytes to bytes: keys in the order of their UTF-8, the last of equal keys, no space, no escape
 * that is not needed, numbers as `snapshot-numbers.ts` has them. It is the form whose SHA-256 a snapshot carries.
 *
 * No value is ever built, so that nothing JavaScript cannot hold is lost, and an input of any size takes little memory:
 * what is final is given out piece by piece. An object is held until its end, since its first key may come last; of one
 * that takes more than {@link holdBytes} the keys must be in order already, as those of everything in normal form are.
 *
 * @module
 */
import { compareKeys, keyOf } from "./snapshot-keys.ts"
import { normalNumber } from "./snapshot-numbers.ts"

/** Bytes that are held to bring keys in order: of an object that comes in small chunks and is larger, they must be. */
export const holdBytes: number = 8 * 2 ** 20

/** Bytes that are given out at a time, unless the value ends. */
const pieceBytes = 64 * 1024

/** How deep values may be nested. Persist itself reads 126 levels. */
export const maxDepth = 1000

/** Characters of a number. */
const maxDigits = 1000

/** Input that is no JSON, or whose keys cannot be brought in order. */
export class JsonFlaw extends Error {
  override readonly name: string = "JsonFlaw"
}

/** What is awaited, or what is being read. */
const State = {
  /** A value begins here. */
  Value: 0,
  /** A value or the end of an array. */
  FirstElement: 1,
  /** A key or the end of an object. */
  FirstKey: 2,
  /** A key. */
  Key: 3,
  /** A colon. */
  Colon: 4,
  /** A comma or the end of what is open. */
  After: 5,
  /** Inside a string or a key. */
  Text: 6,
  /** Behind a backslash. */
  Escape: 7,
  /** In the four digits of an escape. */
  Hex: 8,
  /** In a number. */
  Number: 9,
  /** In `true`, `false` or `null`. */
  Word: 10,
  /** The value is complete. */
  Done: 11,
} as const
type State = typeof State[keyof typeof State]

/** What is open: an array, or an object and where its members begin that have not been given out. */
interface Frame {
  readonly object: boolean
  starts: Array<number>
  /** Whether the members are in the order of their keys so far, no key twice. */
  ordered: boolean
  /** The key of the last member that has been given out, with its quotes. */
  last: Uint8Array | undefined
  /** Whether there was a member or element. */
  filled: boolean
}

const quote = 0x22
const backslash = 0x5c
const comma = 0x2c

const isSpace = (byte: number): boolean => byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09

/** Bytes that a number is made of. */
const inNumber = (byte: number): boolean =>
  (byte >= 0x30 && byte <= 0x39) || byte === 0x2e || byte === 0x2d || byte === 0x2b || byte === 0x65 || byte === 0x45

const words: Readonly<Record<number, Uint8Array>> = {
  0x74: new TextEncoder().encode("true"),
  0x66: new TextEncoder().encode("false"),
  0x6e: new TextEncoder().encode("null"),
}

/** What stands behind the backslash for a control character that has a letter. */
const letters: Readonly<Record<number, number>> = { 8: 0x62, 9: 0x74, 10: 0x6e, 12: 0x66, 13: 0x72 }

/** What a letter behind a backslash stands for. */
const escapes: Readonly<Record<number, number>> = {
  0x22: 0x22,
  0x5c: 0x5c,
  0x2f: 0x2f,
  0x62: 8,
  0x66: 12,
  0x6e: 10,
  0x72: 13,
  0x74: 9,
}

/** One value on its way into normal form. */
export class JsonNormaliser {
  #out = new Uint8Array(4096)
  #length = 0
  #state: State = State.Value
  readonly #frames: Array<Frame> = []
  /** The innermost frame. */
  #frame: Frame | undefined
  /** Bytes pushed before the current chunk. */
  #offset = 0
  /** Bytes at the start of the output that will not change. */
  #final = 0
  #inKey = false
  #text = ""
  #word: Uint8Array = words[0x74]!
  #matched = 0
  #code = 0
  #digits = 0
  readonly #hold: number
  /** Where members are brought in order. */
  #scratch = new Uint8Array(1024)
  /** The first half of a surrogate pair that was escaped. */
  #high = 0
  /** Bytes of a character that are to come, and the bounds of the next. */
  #rest = 0
  #low = 0x80
  #top = 0xbf

  /** Holds back {@link holdBytes} unless told otherwise. */
  constructor(hold: number = holdBytes) {
    this.#hold = hold
  }

  /** Whether the value is complete. A number is complete only when something else follows it, or at {@link end}. */
  get done(): boolean {
    return this.#state === State.Done
  }

  /** Takes bytes up to the end of the value; returns how many of them belong to it. Throws a {@link JsonFlaw}. */
  push(bytes: Uint8Array): number {
    let at = 0
    while (at < bytes.length && this.#state !== State.Done) at = this.#step(bytes, at)
    this.#offset += at
    if (this.#state === State.Done) this.#final = this.#length
    else {
      const settled = this.#settled()
      if (this.#length - settled > this.#hold) this.#release()
      else if (settled >= Math.min(pieceBytes, this.#hold)) this.#final = settled
    }
    return at
  }

  /** There is no more. Throws a {@link JsonFlaw} unless the value is complete. */
  end(): void {
    if (this.#state === State.Number) this.#endNumber(0)
    if (this.#state !== State.Done) throw this.#flaw("it ends in the middle", 0)
    this.#final = this.#length
  }

  /** Takes what will not change any more; empty when there is nothing. */
  take(): Uint8Array<ArrayBuffer> {
    const taken = this.#final
    if (taken === 0) return new Uint8Array(0)
    const kept = this.#length - taken
    const piece = this.#out.subarray(0, taken)
    const next = new Uint8Array(Math.max(4096, 2 * kept, Math.min(this.#out.length, 2 * pieceBytes)))
    next.set(this.#out.subarray(taken, this.#length))
    this.#out = next
    this.#length = kept
    this.#final = 0
    for (const frame of this.#frames) frame.starts = frame.starts.map((start) => start - taken)
    return piece
  }

  #flaw(detail: string, at: number): JsonFlaw {
    return new JsonFlaw(`${detail} (at byte ${this.#offset + at})`)
  }

  /** Handles what is at `at`, and returns where to go on. */
  #step(bytes: Uint8Array, at: number): number {
    switch (this.#state) {
      case State.Text:
        return this.#readText(bytes, at)
      case State.Escape:
        return this.#readEscape(bytes[at]!, at)
      case State.Hex:
        return this.#readHex(bytes[at]!, at)
      case State.Number:
        return this.#readNumber(bytes, at)
      case State.Word:
        if (bytes[at] !== this.#word[this.#matched]) throw this.#flaw("this is no JSON value", at)
        this.#matched++
        if (this.#matched === this.#word.length) {
          this.#append(this.#word)
          this.#endValue()
        }
        return at + 1
      default:
        if (!isSpace(bytes[at]!)) this.#readMark(bytes[at]!, at)
        return at + 1
    }
  }

  #readMark(byte: number, at: number): void {
    switch (this.#state) {
      case State.FirstElement:
        if (byte === 0x5d) return this.#close(0x5d)
        return this.#beginValue(byte, at)
      case State.Value:
        return this.#beginValue(byte, at)
      case State.FirstKey:
      case State.Key:
        if (byte === 0x7d && this.#state === State.FirstKey) return this.#close(0x7d)
        if (byte !== quote) throw this.#flaw("a key was expected", at)
        return this.#beginKey()
      case State.Colon:
        if (byte !== 0x3a) throw this.#flaw('a ":" was expected', at)
        this.#put(0x3a)
        this.#state = State.Value
        return
      default: {
        const frame = this.#frame!
        if (byte === comma) {
          this.#state = frame.object ? State.Key : State.Value
          return
        }
        if (byte !== (frame.object ? 0x7d : 0x5d)) {
          throw this.#flaw(`a "," or "${frame.object ? "}" : "]"}" was expected`, at)
        }
        this.#close(byte)
      }
    }
  }

  #beginValue(byte: number, at: number): void {
    const frame = this.#frame
    if (frame !== undefined && !frame.object) {
      if (frame.filled) this.#put(comma)
      frame.filled = true
    }
    if (byte === quote) {
      this.#put(quote)
      this.#inKey = false
      this.#state = State.Text
    } else if (byte === 0x7b || byte === 0x5b) {
      if (this.#frames.length === maxDepth) throw this.#flaw(`values are nested more than ${maxDepth} deep`, at)
      this.#put(byte)
      const object = byte === 0x7b
      this.#frame = { object, starts: [], ordered: true, last: undefined, filled: false }
      this.#frames.push(this.#frame)
      this.#state = object ? State.FirstKey : State.FirstElement
    } else if (byte === 0x2d || (byte >= 0x30 && byte <= 0x39)) {
      this.#text = String.fromCharCode(byte)
      this.#state = State.Number
    } else {
      const word = words[byte]
      if (word === undefined) throw this.#flaw("a value was expected", at)
      this.#word = word
      this.#matched = 1
      this.#state = State.Word
    }
  }

  #beginKey(): void {
    const frame = this.#frame!
    if (frame.filled) this.#put(comma)
    frame.filled = true
    frame.starts.push(this.#length)
    this.#put(quote)
    this.#inKey = true
    this.#state = State.Text
  }

  #endValue(): void {
    this.#state = this.#frame === undefined ? State.Done : State.After
  }

  #close(byte: number): void {
    const frame = this.#frames.pop()!
    if (!frame.ordered) this.#reorder(frame, frame.starts.length, this.#length)
    this.#frame = this.#frames.at(-1)
    this.#put(byte)
    this.#endValue()
  }

  #readText(bytes: Uint8Array, from: number): number {
    let at = from
    if (this.#rest > 0) return this.#readRest(bytes, at)
    if (this.#high !== 0 && bytes[at] !== backslash) throw this.#flaw("half of a surrogate pair is escaped", at)
    let byte = 0
    if (this.#length + bytes.length - at > this.#out.length) this.#grow(bytes.length - at)
    const out = this.#out
    let length = this.#length
    for (; at < bytes.length; at++) {
      byte = bytes[at]!
      if (byte < 0x20 || byte === quote || byte === backslash || byte >= 0x80) break
      out[length++] = byte
    }
    this.#length = length
    if (at === bytes.length) return at
    if (byte === quote) {
      this.#put(quote)
      if (this.#inKey) this.#endKey(at)
      else this.#endValue()
      return at + 1
    }
    if (byte === backslash) {
      this.#state = State.Escape
      return at + 1
    }
    if (byte < 0x20) throw this.#flaw("a string holds a control character", at)
    // The ranges of well-formed UTF-8, from Unicode's table 3-7.
    if (byte >= 0xc2 && byte <= 0xdf) this.#rest = 1
    else if (byte >= 0xe0 && byte <= 0xef) this.#rest = 2
    else if (byte >= 0xf0 && byte <= 0xf4) this.#rest = 3
    else throw this.#flaw("a string is not UTF-8", at)
    this.#low = byte === 0xe0 ? 0xa0 : byte === 0xf0 ? 0x90 : 0x80
    this.#top = byte === 0xed ? 0x9f : byte === 0xf4 ? 0x8f : 0xbf
    this.#put(byte)
    return at + 1
  }

  #readRest(bytes: Uint8Array, from: number): number {
    let at = from
    for (; at < bytes.length && this.#rest > 0; at++) {
      const byte = bytes[at]!
      if (byte < this.#low || byte > this.#top) throw this.#flaw("a string is not UTF-8", at)
      this.#put(byte)
      this.#rest--
      this.#low = 0x80
      this.#top = 0xbf
    }
    return at
  }

  #readEscape(byte: number, at: number): number {
    if (byte === 0x75) {
      this.#code = 0
      this.#digits = 0
      this.#state = State.Hex
      return at + 1
    }
    const stands = escapes[byte]
    if (stands === undefined || this.#high !== 0) throw this.#flaw("a string holds an escape that there is not", at)
    this.#putCharacter(stands)
    this.#state = State.Text
    return at + 1
  }

  #readHex(byte: number, at: number): number {
    const digit = byte >= 0x30 && byte <= 0x39
      ? byte - 0x30
      : (byte | 0x20) >= 0x61 && (byte | 0x20) <= 0x66
      ? (byte | 0x20) - 0x57
      : -1
    if (digit < 0) throw this.#flaw("a string holds an escape that there is not", at)
    this.#code = this.#code * 16 + digit
    if (++this.#digits < 4) return at + 1
    const code = this.#code
    const isLow = code >= 0xdc00 && code <= 0xdfff
    if (isLow !== (this.#high !== 0)) throw this.#flaw("half of a surrogate pair is escaped", at)
    if (code >= 0xd800 && code <= 0xdbff) this.#high = code
    else {
      this.#putCharacter(isLow ? 0x10000 + ((this.#high - 0xd800) << 10) + (code - 0xdc00) : code)
      this.#high = 0
    }
    this.#state = State.Text
    return at + 1
  }

  /** Writes a character that was escaped, escaped only if it must be. */
  #putCharacter(code: number): void {
    if (code === quote || code === backslash) {
      this.#put(backslash)
      this.#put(code)
    } else if (code < 0x20) {
      this.#put(backslash)
      const letter = letters[code]
      if (letter !== undefined) this.#put(letter)
      else this.#append(new TextEncoder().encode(`u${code.toString(16).padStart(4, "0")}`))
    } else if (code < 0x80) this.#put(code)
    else this.#append(new TextEncoder().encode(String.fromCodePoint(code)))
  }

  #readNumber(bytes: Uint8Array, from: number): number {
    let at = from
    while (at < bytes.length && inNumber(bytes[at]!)) at++
    // Nobody writes a number like that, and a literal without an end must not fill the memory.
    if (this.#text.length + at - from > maxDigits) throw this.#flaw(`a number has more than ${maxDigits} digits`, from)
    for (let i = from; i < at; i++) this.#text += String.fromCharCode(bytes[i]!)
    if (at < bytes.length) this.#endNumber(at)
    return at
  }

  #endNumber(at: number): void {
    const normal = normalNumber(this.#text)
    if (normal === undefined) throw this.#flaw(`${this.#text.slice(0, 40)} is no number, or too large a one`, at)
    for (let i = 0; i < normal.length; i++) this.#put(normal.charCodeAt(i))
    this.#endValue()
  }

  #endKey(at: number): void {
    const frame = this.#frame!
    const { starts, last } = frame
    const start = starts.at(-1)!
    if (last !== undefined && compareKeys(last, 0, this.#out, start) >= 0) throw this.#unordered(at)
    const before = starts.at(-2)
    if (frame.ordered && before !== undefined && compareKeys(this.#out, before, this.#out, start) >= 0) {
      frame.ordered = false
    }
    this.#state = State.Colon
  }

  #unordered(at: number): JsonFlaw {
    return this.#flaw(
      `an object of more than ${this.#hold} bytes has its keys not in the order of their UTF-8, or one twice`,
      at,
    )
  }

  /** Brings the first `count` members of a frame in order, which end at `end`. Returns by how much they shrank. */
  #reorder(frame: Frame, count: number, end: number): number {
    const out = this.#out
    const { starts } = frame
    const first = starts[0]!
    const order = starts.slice(0, count).map((_, index) => index)
    order.sort((a, b) => compareKeys(out, starts[a]!, out, starts[b]!) || a - b)
    if (this.#scratch.length < end - first) this.#scratch = new Uint8Array(2 * (end - first))
    const sorted = this.#scratch
    const moved: Array<number> = []
    let size = 0
    for (let i = 0; i < count; i++) {
      const start = starts[order[i]!]!
      // Of equal keys the last one wins.
      if (i + 1 < count && compareKeys(out, start, out, starts[order[i + 1]!]!) === 0) continue
      if (size > 0) sorted[size++] = comma
      moved.push(first + size)
      const next = order[i]! + 1
      const stop = next < count ? starts[next]! - 1 : end
      for (let at = start; at < stop; at++) sorted[size++] = out[at]!
    }
    out.set(sorted.subarray(0, size), first)
    const shrunk = end - first - size
    if (shrunk > 0) {
      out.copyWithin(end - shrunk, end, this.#length)
      this.#length -= shrunk
    }
    frame.starts = [...moved, ...starts.slice(count).map((start) => start - shrunk)]
    frame.ordered = true
    return shrunk
  }

  /**
   * Gives up holding: what is there is brought in order and becomes final; what comes must come in order. That fails
   * when a member that is still open would have to stand before one that is complete.
   */
  #release(): void {
    this.#final = -1
    for (const [index, frame] of this.#frames.entries()) {
      if (frame.starts.length === 0) continue
      const innermost = index === this.#frames.length - 1
      // Where a comma, a key or the end is awaited, all members are complete; elsewhere the last one is still open.
      const open = innermost && (this.#state === State.After || this.#state === State.Key) ? 0 : 1
      const complete = frame.starts.length - open
      if (!frame.ordered && complete > 0) {
        const shrunk = this.#reorder(frame, complete, open === 0 ? this.#length : frame.starts[complete]! - 1)
        for (const inner of this.#frames.slice(index + 1)) inner.starts = inner.starts.map((start) => start - shrunk)
      }
      const previous = complete > 0 ? frame.starts[frame.starts.length - 1 - open] : undefined
      if (previous !== undefined) frame.last = keyOf(this.#out, previous)
      const current = open === 0 ? undefined : frame.starts.at(-1)!
      if (current !== undefined && innermost && this.#inKey && this.#inText()) {
        frame.starts = [current]
        this.#final = current
        continue
      }
      if (current !== undefined) {
        const key = keyOf(this.#out, current)
        if (previous !== undefined && compareKeys(frame.last!, 0, key, 0) >= 0) throw this.#unordered(0)
        frame.last = key
      }
      frame.starts = []
    }
    if (this.#final < 0) this.#final = this.#length
  }

  /** How much of the output will not change: what stands before the first member that may still get another place. */
  #settled(): number {
    for (const frame of this.#frames) if (frame.starts.length > 0) return frame.starts[0]!
    return this.#length
  }

  #inText(): boolean {
    return this.#state === State.Text || this.#state === State.Escape || this.#state === State.Hex
  }

  #put(byte: number): void {
    if (this.#length === this.#out.length) this.#grow(1)
    this.#out[this.#length++] = byte
  }

  #append(bytes: Uint8Array): void {
    if (this.#length + bytes.length > this.#out.length) this.#grow(bytes.length)
    this.#out.set(bytes, this.#length)
    this.#length += bytes.length
  }

  #grow(more: number): void {
    const larger = new Uint8Array(Math.max(2 * this.#out.length, this.#length + more))
    larger.set(this.#out.subarray(0, this.#length))
    this.#out = larger
  }
}

/** The normal form of JSON that is in memory. Throws a {@link JsonFlaw}. */
export const normalJson = (json: string | Uint8Array): Uint8Array<ArrayBuffer> => {
  const bytes = typeof json === "string" ? new TextEncoder().encode(json) : json
  const normaliser = new JsonNormaliser()
  const used = normaliser.push(bytes)
  passSpace(bytes, used)
  normaliser.end()
  return normaliser.take()
}

/** Nothing but space may follow a value. Throws a {@link JsonFlaw}. */
export const passSpace = (bytes: Uint8Array, from: number): void => {
  for (let at = from; at < bytes.length; at++) {
    if (!isSpace(bytes[at]!)) throw new JsonFlaw("something follows the value")
  }
}
