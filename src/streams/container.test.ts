import { expect, test } from "bun:test"
import fc from "fast-check"
import { onlyOn } from "../../scripts/only-on.ts"
import { type Codec, sniff } from "./codec.ts"
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
import { decodeContainer, decodeRange, planRange } from "./container.ts"
import { ContainerEncoder, type EncodeOptions } from "./container-encoder.ts"
import { readTail, type Tail, tailGuess } from "./container-tail.ts"
import { workersRunning } from "./codec-workers.ts"
import { sha256 } from "./digest.ts"
import { decodeGzip } from "./gzip.ts"
import { decodeZstd } from "./zstd.ts"

const codecs: ReadonlyArray<Codec> = ["zstd", "gzip"]

const workersGone = async (): Promise<void> => {
  while (workersRunning()) await new Promise((resolve) => setTimeout(resolve, 20))
}

const encode = async (plain: Uint8Array, options: EncodeOptions, chunk?: number): Promise<Uint8Array<ArrayBuffer>> => {
  const encoder = new ContainerEncoder({ size: undefined, read: pullOf(plain, chunk), cancel: async () => {} }, options)
  const pieces: Array<Uint8Array> = []
  for (let piece = await encoder.read(); piece !== undefined; piece = await encoder.read()) {
    pieces.push(new Uint8Array(piece))
  }
  expect(await encoder.read()).toBeUndefined()
  expect(encoder.length).toBe(plain.length)
  // Deno's workers outlive a large object for a moment, and its test runner wants to see them go.
  await workersGone()
  return join(...pieces)
}

const tailOf = (stored: Uint8Array, first = tailGuess): Tail => {
  let tail = readTail(stored.subarray(-Math.min(first, stored.length)), stored.length)
  for (let round = 0; tail !== undefined && "need" in tail && round < 3; round++) {
    tail = readTail(stored.subarray(-tail.need), stored.length)
  }
  if (tail === undefined || "need" in tail) throw new Error("no tail")
  return tail
}

const hash = (bytes: Uint8Array): string => {
  const hasher = sha256()!
  hasher.update(bytes)
  return hasher.hex()
}

const shapes = fc.record({
  length: fc.integer({ min: 0, max: 40_000 }),
  frameSize: fc.integer({ min: 500, max: 30_000 }),
  chunk: fc.integer({ min: 1, max: 20_000 }),
  level: fc.integer({ min: 1, max: 9 }),
  inFlight: fc.integer({ min: 1, max: 5 }),
  seed: fc.nat(),
})

for (const codec of codecs) {
  test(`${codec}: a tiny frame at the end of a large object is encoded wherever its neighbours are`, async () => {
    // 8 MiB are what it takes for workers to start; the last frame's result is small enough for a shared buffer.
    const plain = new Uint8Array(20 * 2 ** 20 + 1)
    const stored = await encode(plain, { codec, frameSize: 4 * 2 ** 20, level: 1, inFlight: 2 }, 2 ** 20)
    expect(tailOf(stored).length).toBe(plain.length)
  })

  test(`${codec}: what is encoded is decoded, for any length, frame size, chunks and level`, async () => {
    await fc.assert(
      fc.asyncProperty(shapes, async ({ length, frameSize, chunk, level, inFlight, seed }) => {
        const plain = text(length, seed)
        const stored = await encode(plain, { codec, frameSize, level, inFlight }, chunk)
        for (const implementation of implementations) {
          const got = await all(decodeContainer(pullOf(stored, chunk), codec, { implementation, inFlight }))
          expect(difference(got, plain)).toBe(-1)
        }
        const tail = tailOf(stored, 20)
        const frames = Math.max(1, Math.ceil(length / frameSize))
        expect(tail).toMatchObject({ codec, frameSize, length, frames, sha256: hash(plain) })
        expect(difference(await all(decodeContainer(pullOf(stored), codec, { tail })), plain)).toBe(-1)
        const foreign = codec === "zstd" ? decodeZstd(pullOf(stored)) : decodeGzip(pullOf(stored))
        expect(difference(await all(foreign), plain)).toBe(-1)
      }),
      { numRuns: soak ? 2000 : 40 },
    )
  }, 300_000)

  test(`fault ${codec === "gzip" ? 97 : 98}: a stored ${codec} object cut at every offset`, async () => {
    const next = random(97)
    for (let file = 0; file < 100; file++) {
      const plain = text(1 + next(soak ? 150_000 : 3000), file)
      const stored = await encode(plain, { codec, frameSize: 400 + next(soak ? 30_000 : 900) })
      for (let cut = 0; cut < stored.length; cut++) {
        const { plain: got, error } = await outcome(decodeContainer(pullOf(stored.subarray(0, cut)), codec))
        expect([cut, error?.kind]).toEqual([cut, "truncated"])
        expect(difference(got, plain.subarray(0, got.length))).toBe(-1)
      }
    }
  }, 3_600_000)

  test(`fault 101: nothing may follow a stored ${codec} object`, async () => {
    const stored = await encode(text(3000), { codec, frameSize: 1000 })
    for (const rubbish of [[0], [0, 0, 0, 0], [1, 2, 3], [...stored]]) {
      const { error } = await outcome(decodeContainer(pullOf(join(stored, new Uint8Array(rubbish))), codec))
      expect(error?.kind).toBe("corrupt")
    }
  })

  test(
    `faults 106, 107: any flipped bit of a stored ${codec} object is found, and no wrong byte released`,
    async () => {
      const plain = text(6000, 3)
      const stored = await encode(plain, { codec, frameSize: 2500 })
      const next = random(106)
      for (let i = 0; i < (soak ? 500_000 : 50_000); i++) {
        const bad = stored.slice()
        const at = next(bad.length)
        bad[at]! ^= 1 << next(8)
        const implementation = implementations[i & 1]
        const { plain: got, error } = await outcome(decodeContainer(pullOf(bad), codec, { implementation }))
        expect([at, error === undefined]).toEqual([at, false])
        expect(difference(got, plain.subarray(0, got.length))).toBe(-1)
      }
    },
    3_600_000,
  )

  test(`fault 107: the damaged ${codec} frame and its offset are named`, async () => {
    const stored = await encode(text(10_000), { codec, frameSize: 1000 })
    const bad = stored.slice()
    const end = stored.length - tailOf(stored).tailSize
    bad[end - 5]! ^= 1
    const { plain, error } = await outcome(decodeContainer(pullOf(bad), codec))
    expect(error?.frame).toBe(9)
    expect(error!.offset).toBeLessThan(end - 5)
    expect(plain.length).toBe(9000)
  })

  test(`fault 105: a stored object that is no ${codec}`, async () => {
    const other = await encode(text(5000), { codec: codec === "zstd" ? "gzip" : "zstd" })
    expect(sniff(other)).toBe(codec === "zstd" ? "gzip" : "zstd")
    expect((await outcome(decodeContainer(pullOf(other), codec))).error?.kind).toBe("mismatch")
    expect((await outcome(decodeContainer(pullOf(text(100)), codec))).error?.kind).toBe("mismatch")
    expect(readTail(text(5000), 5000)).toBeUndefined()
  })

  test(`fault 103: a stored ${codec} bomb ends at the limit`, async () => {
    const stored = await encode(new Uint8Array(64 << 20), { codec, frameSize: 1 << 20 })
    const before = rss()
    const { plain, error } = await outcome(decodeContainer(pullOf(stored), codec, { maxOutput: 2 << 20 }))
    expect(error?.kind).toBe("limit")
    expect(plain.length).toBeLessThanOrEqual(2 << 20)
    expect(rss() - before).toBeLessThan(64 << 20)
  }, 30_000)

  test(`${codec}: a source that fails, and options that there are not`, async () => {
    const failing = {
      size: undefined,
      read: () => Promise.reject(new Error("the disk is gone")),
      cancel: async () => {},
    }
    const encoder = new ContainerEncoder(failing, { codec })
    await expect(encoder.read()).rejects.toThrow("the disk is gone")
    for (const options of [{ level: 0 }, { level: 20 }, { level: 1.5 }, { frameSize: 0 }, { frameSize: 2 ** 25 }]) {
      expect(() => new ContainerEncoder(failing, { codec, ...options })).toThrow(RangeError)
    }
  })
}

test("any range of a zstd object is the slice of the plaintext, from no more frames than it needs", async () => {
  const range = fc.record({ offset: fc.integer({ min: 0, max: 45_000 }), length: fc.integer({ min: 0, max: 45_000 }) })
  await fc.assert(
    fc.asyncProperty(shapes, range, async ({ length: size, frameSize, chunk, level, seed }, { offset, length }) => {
      const plain = text(size, seed)
      const stored = await encode(plain, { codec: "zstd", frameSize, level }, chunk)
      const tail = tailOf(stored)
      const plan = planRange(tail, offset, length)
      expect(plan.frames).toBeLessThanOrEqual(Math.ceil(length / frameSize) + 1)
      const bytes = stored.subarray(plan.offset, plan.offset + plan.length)
      for (const implementation of implementations) {
        const got = await all(decodeRange(pullOf(bytes, chunk), tail, plan, { implementation }))
        expect(difference(got, plain.subarray(offset, offset + length))).toBe(-1)
      }
      if (plan.length === 0) return
      const bad = bytes.slice()
      bad[seed % bad.length]! ^= 1 << (seed & 7)
      expect((await outcome(decodeRange(pullOf(bad), tail, plan))).error?.kind).toBe("corrupt")
      const cut = await outcome(decodeRange(pullOf(bytes.subarray(0, -1)), tail, plan))
      expect(cut.error?.kind).toBe("truncated")
    }),
    { numRuns: soak ? 2000 : 60 },
  )
}, 300_000)

test("fault 107: any flipped bit of a tail is found by whoever reads only the tail", async () => {
  for (const codec of codecs) {
    const stored = await encode(text(6000), { codec, frameSize: 1000 })
    const { tailSize } = tailOf(stored)
    for (let at = stored.length - tailSize; at < stored.length; at++) {
      for (let bit = 0; bit < 8; bit++) {
        const bad = stored.slice()
        bad[at]! ^= 1 << bit
        // A tail that cannot be told from a foreign one is none, which the caller's metadata contradicts.
        expect(() => tailOf(bad)).toThrow()
      }
    }
  }
})

test("fault 108: frames swapped, repeated or left out are refused, before their bytes go to whoever has the tail", async () => {
  const plain = text(5000)
  const stored = await encode(plain, { codec: "zstd", frameSize: 1000 })
  const tail = tailOf(stored)
  const { offsets } = tail.table!
  const frame = (i: number): Uint8Array => stored.subarray(offsets[i]!, offsets[i + 1]!)
  const end = stored.subarray(offsets[5]!)
  for (const order of [[0, 2, 1, 3, 4], [0, 1, 1, 2, 3, 4], [0, 1, 3, 4], [0, 1, 2, 3], [0, 1, 2, 3, 3]]) {
    const bad = join(...order.map(frame), end)
    expect((await outcome(decodeContainer(pullOf(bad), "zstd"))).error?.kind).toBe("corrupt")
    const { plain: got, error } = await outcome(decodeContainer(pullOf(bad), "zstd", { tail }))
    expect(error?.kind).toBe("corrupt")
    expect(difference(got, plain.subarray(0, got.length))).toBe(-1)
  }
})

const lengths = [0, 1, 100_000, 1_000_000]

for (const args of [["-dc"], ["-t"]]) {
  withTool("zstd")(`zstd ${args.join(" ")} opens what is stored`, async () => {
    for (const length of lengths) {
      for (const level of [1, 3, 19]) {
        const plain = text(length)
        const stored = await encode(plain, { codec: "zstd", level, frameSize: 300_000 })
        const out = tool("zstd", ["-q", ...args], stored)
        if (args[0] === "-dc") expect(difference(out, plain)).toBe(-1)
      }
    }
  }, 60_000)
}

for (const command of ["gzip", "pigz", "bgzip"]) {
  withTool(command)(`${command} -dc opens what is stored`, async () => {
    for (const length of lengths) {
      const plain = text(length)
      const stored = await encode(plain, { codec: "gzip", frameSize: 300_000 })
      expect(difference(tool(command, ["-dc"], stored), plain)).toBe(-1)
    }
  })
}

const onDeno = onlyOn("deno", "only Deno needs workers to encode side by side")

onDeno(
  "what workers have encoded decodes to what it was, with several encoders at once, and the workers go",
  async () => {
    const plain = text(24 * 2 ** 20)
    for (const codec of codecs) {
      const stored = await Promise.all([1, 2].map(() => encode(plain, { codec, frameSize: 2 ** 20 })))
      for (const one of stored) {
        expect(difference(await all(decodeContainer(pullOf(one), codec)), plain)).toBe(-1)
      }
    }
  },
  60_000,
)

onDeno("a worker makes of a zstd frame what is made of it here, to the byte", async () => {
  // 8 MiB are what it takes for workers to start, so the first of two frames is encoded here.
  const frame = text(4 * 2 ** 20)
  const source = { size: undefined, read: pullOf(join(frame, frame), 2 ** 20), cancel: async () => {} }
  const encoder = new ContainerEncoder(source, { codec: "zstd", frameSize: frame.length })
  const pieces: Array<Uint8Array> = []
  for (let piece = await encoder.read(); piece !== undefined; piece = await encoder.read()) pieces.push(piece.slice())
  expect(workersRunning()).toBe(true)
  const [body, checksum, body2, checksum2] = pieces as [Uint8Array, Uint8Array, Uint8Array, Uint8Array]
  expect(body.length).toBeGreaterThan(2 ** 20)
  expect(difference(body2, body)).toBe(-1)
  expect(checksum2).toEqual(checksum)
  await workersGone()
}, 60_000)

onDeno("a frame that would block the event loop is encoded elsewhere", async () => {
  const source = { size: undefined, read: pullOf(text(2 ** 20)), cancel: async () => {} }
  const encoder = new ContainerEncoder(source, { codec: "zstd", level: 19 })
  let turns = 0
  const timer = setInterval(() => turns++, 5)
  const start = performance.now()
  while (await encoder.read() !== undefined);
  const ms = performance.now() - start
  clearInterval(timer)
  // Level 19 takes hundreds of milliseconds for this; on the event loop the timer would have had no turn meanwhile.
  expect(turns).toBeGreaterThan(Math.min(5, ms / 40))
  await workersGone()
}, 60_000)
