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
import { crc32 } from "./crc32.ts"
import { decodeGzip, deflateRaw, inflateExactly } from "./gzip.ts"

const word = (value: number): Array<number> => [value & 255, value >>> 8 & 255, value >>> 16 & 255, value >>> 24]

const member = async (plain: Uint8Array, level = 6, header: ReadonlyArray<number> = []): Promise<Uint8Array> => {
  const head = header.length > 0 ? header : [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255]
  const tail = [...word(crc32(plain)), ...word(plain.length)]
  return join(new Uint8Array(head), await deflateRaw(plain, level), new Uint8Array(tail))
}

for (const implementation of implementations) {
  const decode = (bytes: Uint8Array, options: Parameters<typeof decodeGzip>[1] = {}, chunk?: number) =>
    outcome(decodeGzip(pullOf(bytes, chunk), { implementation, ...options }))

  test(`every kind of deflate block is inflated, ${implementation}`, async () => {
    const next = random(9)
    const noise = Uint8Array.from({ length: 100_000 }, () => next(256))
    for (const plain of [text(0), text(1), text(9000), text(300_000), noise, new Uint8Array(500_000)]) {
      for (const level of [1, 6, 9]) {
        for (const chunk of [1 << 20, 1000, 7]) {
          if (chunk === 7 && plain.length > 9000) continue
          const { plain: got, error } = await decode(await member(plain, level), {}, chunk)
          expect(error).toBeUndefined()
          expect(difference(got, plain)).toBe(-1)
        }
        const deflated = await deflateRaw(plain, level)
        const got = await inflateExactly(deflated, plain.length, crc32(plain), { offset: 0, frame: 0 }, implementation)
        expect(difference(got, plain)).toBe(-1)
      }
    }
  }, 30_000)

  test(`fault 97: gzip cut at every offset, ${implementation}`, async () => {
    const members = [await member(text(2000)), await member(text(0)), await member(text(300, 2))]
    const borders = [members[0]!.length, members[0]!.length + members[1]!.length]
    const whole = join(...members)
    for (let cut = 0; cut < whole.length; cut++) {
      const { error } = await decode(whole.subarray(0, cut))
      // Cut at a member's border, foreign gzip is whole: nobody can tell.
      if (borders.includes(cut)) expect(error).toBeUndefined()
      else expect([cut, error?.kind]).toEqual([cut, "truncated"])
    }
  }, 60_000)

  test(`fault 99: many members and every header field, ${implementation}`, async () => {
    const head = [0x1f, 0x8b, 8, 0x1e, 1, 2, 3, 4, 2, 3, 5, 0, 0x58, 0x59, 1, 0, 9, 110, 0, 99, 99, 0]
    const checked = [...head, ...word(crc32(new Uint8Array(head))).slice(0, 2)]
    const parts = [text(100_000, 1), text(5, 2), text(70_000, 3)]
    const stored = join(await member(parts[0]!, 6, checked), await member(parts[1]!), await member(parts[2]!, 1))
    for (const [hold, chunk] of [[8 << 20, 65_536], [0, 501], [0, 1]] as const) {
      const { plain, error } = await decode(stored, { hold }, chunk)
      expect(error).toBeUndefined()
      expect(difference(plain, join(...parts))).toBe(-1)
    }
    const bad = stored.slice()
    bad[checked.length - 1]! ^= 1
    expect((await decode(bad)).error?.kind).toBe("corrupt")
  })

  test(`fault 101: zero bytes after gzip are padding, anything else is not, ${implementation}`, async () => {
    const stored = await member(text(1000))
    for (const padding of [1, 511, 100_000]) {
      const { plain, error } = await decode(join(stored, new Uint8Array(padding)))
      expect(error).toBeUndefined()
      expect(plain.length).toBe(1000)
    }
    for (const rubbish of [[1], [0, 0, 1], [0, 0x1f, 0x8b], [0x1f, 0x8c], [0x1f, 0x00], [104, 105]]) {
      const { error } = await decode(join(stored, new Uint8Array(rubbish)))
      expect(error?.kind).toBe("corrupt")
      expect(error?.offset).toBe(stored.length)
    }
    expect((await decode(new Uint8Array(10))).error?.kind).toBe("mismatch")
  })

  test(`fault 102: a wrong CRC-32 or length of a gzip member, ${implementation}`, async () => {
    const stored = await member(text(50_000))
    for (let bit = 0; bit < 64; bit++) {
      const bad = stored.slice()
      bad[bad.length - 1 - (bit >> 3)]! ^= 1 << (bit & 7)
      const { plain, error } = await decode(bad)
      expect(error?.kind).toBe("corrupt")
      expect(plain.length).toBe(0)
    }
  })

  test(`fault 103: a gzip bomb ends at the limit, ${implementation}`, async () => {
    const bomb = await member(new Uint8Array(64 << 20))
    const nested = await member(bomb)
    const before = rss()
    for (const stored of [bomb, join(bomb, bomb)]) {
      const { plain, error } = await decode(stored, { maxOutput: 1 << 20, hold: 1 << 19 })
      expect(error?.kind).toBe("limit")
      expect(plain.length).toBeLessThanOrEqual(1 << 20)
    }
    const inner = await all(decodeGzip(pullOf(nested), { implementation }))
    expect((await decode(inner, { maxOutput: 1000 })).error?.kind).toBe("limit")
    expect(rss() - before).toBeLessThan(64 << 20)
  }, 30_000)

  test(`fault 105: what is no gzip, ${implementation}`, async () => {
    expect((await decode(new Uint8Array([0x28, 0xb5, 0x2f, 0xfd, 0]))).error?.kind).toBe("mismatch")
    expect((await decode(new Uint8Array(0))).error?.kind).toBe("truncated")
    for (const [at, value] of [[2, 7], [3, 0x20], [3, 0x80]] as const) {
      const bad = (await member(text(10))).slice()
      bad[at] = value
      expect((await decode(bad)).error?.kind).toBe("unsupported")
    }
    const endless = join(new Uint8Array([0x1f, 0x8b, 8, 8, 0, 0, 0, 0, 0, 0]), text(300_000))
    expect((await decode(endless)).error?.kind).toBe("limit")
  })
}

test("fault 106: flipped bits in gzip give no wrong byte, and both inflaters the same verdict", async () => {
  const plain = join(text(30_000, 5), text(3000, 6))
  const stored = join(await member(plain.subarray(0, 30_000)), await member(plain.subarray(30_000), 1))
  const next = random(106)
  for (let i = 0; i < (soak ? 100_000 : 600); i++) {
    const bad = stored.slice()
    const at = next(bad.length)
    const bit = next(8)
    bad[at]! ^= 1 << bit
    const found = []
    for (const implementation of implementations) {
      found.push(await outcome(decodeGzip(pullOf(bad), { implementation })))
      const { plain: got } = found.at(-1)!
      expect(difference(got, plain.subarray(0, got.length))).toBe(-1)
    }
    const [native, portable] = found
    // How much was read when it turned out to be wrong is each one's own affair.
    expect([at, bit, portable!.error === undefined]).toEqual([at, bit, native!.error === undefined])
    expect(difference(portable!.plain, native!.plain)).toBe(-1)
  }
}, 600_000)

for (
  const [command, args] of [["gzip", ["-c"]], ["gzip", ["-1c"]], ["gzip", ["-9c"]], ["pigz", ["-c", "-p2"]], ["bgzip", [
    "-c",
  ]]] as const
) {
  withTool(command)(`what ${command} ${args.join(" ")} makes is decoded`, async () => {
    const plain = text(1_000_000, 4)
    const stored = tool(command, args, plain)
    for (const implementation of implementations) {
      for (const bytes of [stored, join(stored, stored)]) {
        const got = await all(decodeGzip(pullOf(bytes, 10_007), { implementation }))
        expect(difference(got, bytes === stored ? plain : join(plain, plain))).toBe(-1)
      }
    }
  })
}
