import { expect, test } from "bun:test"
import {
  all,
  difference,
  implementations,
  join,
  outcome,
  pullOf,
  random,
  rss,
  soak,
  text,
  tool,
  withTool,
} from "./codec-testing.ts"
import { canEncodeZstd, decodeZstd, encodeFrame } from "./zstd.ts"
import { skippableMagic } from "./zstd-frames.ts"

const encode = async (plain: Uint8Array, level = 3): Promise<Uint8Array<ArrayBuffer>> => {
  const { body, tail } = await encodeFrame(plain, level)
  return join(body, tail)
}

const skippable = (length: number, variant = 7): Uint8Array<ArrayBuffer> => {
  const frame = new Uint8Array(8 + length).fill(0xab)
  new DataView(frame.buffer).setUint32(0, skippableMagic + variant, true)
  new DataView(frame.buffer).setUint32(4, length, true)
  return frame
}

const zeros = (length: number): Uint8Array => new Uint8Array(length)

/** A frame by hand: descriptor and what follows it, then blocks as `[type, size, bytes]`, the last marked. */
const frameOf = (
  header: ReadonlyArray<number>,
  blocks: ReadonlyArray<readonly [type: number, size: number, bytes: ReadonlyArray<number>]>,
): Uint8Array => {
  const bytes = [0x28, 0xb5, 0x2f, 0xfd, ...header]
  blocks.forEach(([type, size, content], i) => {
    const word = (i === blocks.length - 1 ? 1 : 0) | type << 1 | size << 3
    bytes.push(word & 255, word >> 8 & 255, word >> 16, ...content)
  })
  return new Uint8Array(bytes)
}

test("this runtime encodes zstd", () => {
  expect(canEncodeZstd).toBe(true)
})

test("a frame declares its length and ends in a checksum, whatever it holds", async () => {
  for (const length of [0, 1, 255, 256, 65_535, 65_792, 300_000]) {
    for (const level of [1, 3, 19]) {
      const frame = await encode(text(length), level)
      expect(frame[4]! & 0x04).toBe(4)
      for (const implementation of implementations) {
        const { plain, error } = await outcome(decodeZstd(pullOf(frame), { implementation }))
        expect(error).toBeUndefined()
        expect(difference(plain, text(length))).toBe(-1)
      }
    }
  }
})

for (const implementation of implementations) {
  const decode = (bytes: Uint8Array, options: Parameters<typeof decodeZstd>[1] = {}, chunk?: number) =>
    outcome(decodeZstd(pullOf(bytes, chunk), { implementation, ...options }))

  test(`fault 98: zstd cut at every offset, ${implementation}`, async () => {
    const plain = [text(3000, 1), text(0), text(500, 2)]
    const frames = await Promise.all(plain.map((bytes) => encode(bytes)))
    const borders = [frames[0]!.length, frames[0]!.length + frames[1]!.length]
    const whole = join(...frames)
    for (const hold of [8 << 20, 0]) {
      for (let cut = 0; cut < whole.length; cut++) {
        const { error } = await decode(whole.subarray(0, cut), { hold })
        // Cut at a frame's border, foreign zstd is whole: nobody can tell.
        if (borders.includes(cut)) expect(error).toBeUndefined()
        else expect([cut, error?.kind]).toEqual([cut, "truncated"])
      }
    }
  }, 120_000)

  test(`fault 100: many frames, skippable ones first, between and last, ${implementation}`, async () => {
    const parts = [text(70_000, 1), text(10, 2), text(200_000, 3)]
    const [a, b, c] = await Promise.all(parts.map((bytes) => encode(bytes))) as [Uint8Array, Uint8Array, Uint8Array]
    const stored = join(skippable(100), a, skippable(0, 0), skippable(70_000, 15), b, c, skippable(3))
    for (const hold of [8 << 20, 0]) {
      for (const chunk of [1 << 20, 997]) {
        const { plain, error } = await decode(stored, { hold }, chunk)
        expect(error).toBeUndefined()
        expect(difference(plain, join(...parts))).toBe(-1)
      }
    }
    const cut = await decode(join(a, skippable(100).subarray(0, 50)))
    expect(cut.error?.kind).toBe("truncated")
  })

  test(`fault 101: rubbish after the last zstd frame, ${implementation}`, async () => {
    const frame = await encode(text(1000))
    for (const rubbish of [[0], [0, 0, 0, 0, 0, 0, 0, 0], [1, 2, 3, 4, 5], [0x1f, 0x8b, 8, 0], [0x28, 0xb5, 0]]) {
      const { plain, error } = await decode(join(frame, new Uint8Array(rubbish)))
      expect(error?.kind).toBe("corrupt")
      expect(error?.offset).toBe(frame.length)
      expect(plain.length).toBe(1000)
    }
  })

  test(`fault 102: a wrong zstd checksum or length, ${implementation}`, async () => {
    const frame = await encode(text(100_000))
    for (const hold of [8 << 20, 0]) {
      for (let bit = 0; bit < 32; bit++) {
        const bad = frame.slice()
        bad[bad.length - 1 - (bit >> 3)]! ^= 1 << (bit & 7)
        const { plain, error } = await decode(bad, { hold })
        expect(error?.kind).toBe("corrupt")
        if (hold > 0) expect(plain.length).toBe(0)
      }
    }
    // Declares 5 bytes, holds 4; declares 3, holds 4.
    for (const declared of [5, 3]) {
      const { error } = await decode(frameOf([0x20, declared], [[0, 4, [1, 2, 3, 4]]]))
      expect(error?.kind).toBe("corrupt")
    }
  })

  test(`fault 103: a zstd bomb ends at the limit, ${implementation}`, async () => {
    const bomb = await encode(zeros(64 << 20))
    // RLE blocks: 4 stored bytes make 128 KiB, and the frame does not say how many there are.
    const dense = frameOf([0x00, 0x68], Array.from({ length: 8192 }, () => [1, 131_072, [0]] as const))
    const before = rss()
    for (const stored of [bomb, dense, join(bomb, dense)]) {
      const { plain, error } = await decode(stored, { maxOutput: 1 << 20 })
      expect(error?.kind).toBe("limit")
      expect(plain.length).toBeLessThanOrEqual(1 << 20)
    }
    expect(rss() - before).toBeLessThan(64 << 20)
  }, 30_000)

  test(`fault 103: a few stored bytes that hold a lot come out piece by piece, ${implementation}`, async () => {
    const bomb = await encode(zeros(256 << 20))
    expect(bomb.length).toBeLessThan(32 << 10)
    let length = 0
    for await (const piece of decodeZstd(pullOf(bomb), { implementation })) {
      expect(piece.length).toBeLessThanOrEqual(1 << 20)
      length += piece.length
    }
    expect(length).toBe(256 << 20)
  }, 60_000)

  test(`fault 104: a window of 2^41 in a header of 9 bytes, ${implementation}`, async () => {
    const before = rss()
    for (const descriptor of [27 - 10 + 1, 30, 31]) {
      const { error } = await decode(frameOf([0x00, descriptor << 3 | 7], [[1, 10, [0]]]))
      expect(error?.kind).toBe("limit")
    }
    // A single segment of 2^62 bytes is a window of as many.
    const { error } = await decode(frameOf([0xe0, 0, 0, 0, 0, 0, 0, 0, 0x40], [[1, 10, [0]]]))
    expect(error?.kind).toBe("limit")
    expect(rss() - before).toBeLessThan(8 << 20)
  })

  test(`fault 105: what is no zstd, ${implementation}`, async () => {
    for (const bytes of [[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0], [104, 101, 108, 108, 111], [0], [0x50, 0x4b]]) {
      expect((await decode(new Uint8Array(bytes))).error?.kind).toBe("mismatch")
    }
    expect((await decode(new Uint8Array(0))).error?.kind).toBe("truncated")
    // zstd before 1.0, and a frame that needs a dictionary.
    expect((await decode(new Uint8Array([0x27, 0xb5, 0x2f, 0xfd, 0, 0, 0, 0]))).error?.kind).toBe("unsupported")
    expect((await decode(frameOf([0x21, 7, 1], [[0, 1, [0]]]))).error?.kind).toBe("unsupported")
    expect((await decode(frameOf([0x28, 1], [[0, 1, [0]]]))).error?.kind).toBe("unsupported")
    expect((await decode(frameOf([0x20, 1], [[3, 1, [0]]]))).error?.kind).toBe("corrupt")
    expect((await decode(frameOf([0x20, 1], [[0, 2, [0, 0]]]))).error?.kind).toBe("corrupt")
  })
}

test("fault 106: flipped bits in foreign zstd give no wrong byte of a frame that is held", async () => {
  const plain = join(text(40_000, 5), text(20_000, 6))
  const stored = join(await encode(plain.subarray(0, 40_000)), await encode(plain.subarray(40_000), 9))
  const next = random(106)
  for (let i = 0; i < (soak ? 100_000 : 400); i++) {
    const bad = stored.slice()
    bad[next(bad.length)]! ^= 1 << next(8)
    for (const implementation of implementations) {
      const found = await outcome(decodeZstd(pullOf(bad), { implementation }))
      expect(difference(found.plain, plain.subarray(0, found.plain.length))).toBe(-1)
    }
  }
}, 600_000)

withTool("zstd")("what zstd(1) makes is decoded, whole and in pieces", async () => {
  const plain = text(3_000_000, 4)
  const made = [
    ["-1"],
    ["-3", "--no-check"],
    ["-19"],
    ["--long=27", "-3"],
    ["-T0", "-3"],
    ["--fast=5"],
    ["-3", "--no-content-size"],
  ].map((args) => tool("zstd", ["-q", "-c", ...args], plain))
  for (const stored of [...made, join(...made)]) {
    const expected = stored.length > made[0]!.length * 2 ? join(...made.map(() => plain)) : plain
    for (const implementation of implementations) {
      for (const [hold, chunk] of [[8 << 20, 65_536], [0, 10_007]] as const) {
        const got = await all(decodeZstd(pullOf(stored, chunk), { implementation, hold }))
        expect(difference(got, expected)).toBe(-1)
      }
    }
  }
}, 120_000)

withTool("zstd")("a window larger than zstd(1) takes without --long is refused unless allowed", async () => {
  const plain = text(100_000)
  const stored = tool("zstd", ["-q", "-c", "--long=28"], plain)
  const { error } = await outcome(decodeZstd(pullOf(stored)))
  expect(error?.kind).toBe("limit")
  const portable = decodeZstd(pullOf(stored), { maxWindow: 2 ** 28, implementation: "portable" })
  expect(difference(await all(portable), plain)).toBe(-1)
})
