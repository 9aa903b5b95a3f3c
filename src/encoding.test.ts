/**
 * What the engine makes of compression: what was saved comes back, whole and in ranges, whatever the codec; what
 * something else has compressed is decoded when asked; what is damaged is named and never handed out.
 */
import { afterAll, expect, test } from "bun:test"
import * as Effect from "effect/Effect"
import * as fc from "fast-check"
import { createHash } from "node:crypto"
import { mkdtemp, open, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { gzipSync, zstdCompressSync } from "node:zlib"
import type { Backend, ObjectInfo } from "./backend.ts"
import * as Disk from "./backends/disk/mod.ts"
import * as Memory from "./backends/memory.ts"
import { StoreError } from "./error.ts"
import { openBackend, type Store } from "./store.ts"
import type { LoadOptions, StoreOptions } from "./options.ts"
import { defaultCodec } from "./streams/codec.ts"
import { cut, type Faulty, faulty, flip, type Rule } from "./testing/faulty.ts"

const codecs = ["zstd", "gzip"] as const

const folders: Array<string> = []
afterAll(async () => {
  for (const folder of folders) await rm(folder, { recursive: true, force: true })
})

/** Bytes of which half compress and half do not. */
const bytesOf = (length: number, seed = 1): Uint8Array<ArrayBuffer> => {
  const bytes = new Uint8Array(length)
  let x = seed
  for (let i = 0; i < length; i++) {
    x = (Math.imul(x, 1103515245) + 12345) >>> 0
    bytes[i] = (i >>> 9) % 2 === 0 ? x >>> 16 : i >>> 10
  }
  return bytes
}

const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex")

const sameBytes = (a: Uint8Array, b: Uint8Array): boolean => a.length === b.length && Buffer.compare(a, b) === 0

async function* chunked(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.slice(at, at + size)
}

const failure = (promise: Promise<unknown>): Promise<StoreError> =>
  promise.then(() => {
    throw new Error("succeeded where it should have failed")
  }, (error) => {
    if (StoreError.is(error)) return error
    throw error
  })

const loadBytes = async (store: Store, key: string, options?: LoadOptions): Promise<Uint8Array> =>
  await (await store.load(key, options)).bytes()

const storeWith = async (
  rules: ReadonlyArray<Rule>,
  options: StoreOptions = {},
  change: (backend: Backend) => Backend = (backend) => backend,
): Promise<{ store: Store; faults: Faulty; inner: Backend }> => {
  const inner = await Effect.runPromise(Memory.make())
  const faults = faulty(change(inner), { rules, seed: 1 })
  return { faults, inner, store: await openBackend(Effect.succeed(faults.backend), options) }
}

const places: ReadonlyArray<readonly [string, (options?: StoreOptions) => Promise<Store>]> = [
  ["memory", (options) => openBackend(Memory.make(), options)],
  ["disk", async (options) => {
    const root = await mkdtemp(`${tmpdir()}/holdfast-encoding-`)
    folders.push(root)
    return openBackend(Disk.make({ root }), options)
  }],
]

for (const [place, make] of places) {
  for (const codec of codecs) {
    test(`${place}, ${codec}: what is saved is loaded, over lengths × chunks × frame sizes × part sizes`, async () => {
      await using store = await make({ compression: codec })
      for (const frameSize of [1000, 65_536]) {
        for (const length of [0, 1, 999, 1000, 1001, 5000, 70_001]) {
          for (const [chunk, partSize] of [[333, 1500], [70_001, 1 << 20]] as const) {
            const bytes = bytesOf(length, length + 1)
            const info = await store.save("k", chunked(bytes, chunk), { frameSize, partSize })
            const facts = { codec, length, sha256: sha256(bytes) }
            expect(info).toMatchObject(facts)
            expect(await store.stat("k")).toMatchObject({ ...facts, size: info.size })
            const loaded = await store.load("k")
            expect(loaded.length).toBe(length)
            expect(loaded.info).toMatchObject(facts)
            expect(sameBytes(await loaded.bytes(), bytes)).toBe(true)
            const stored = await loadBytes(store, "k", { decode: "none" })
            expect(stored.length).toBe(info.size)
          }
        }
      }
    })

    test(`${place}, ${codec}: any range is the slice of what was saved, for any frame size and chunks`, async () => {
      await using store = await make({ compression: codec })
      await fc.assert(
        fc.asyncProperty(
          fc.nat(40_000),
          fc.integer({ min: 1, max: 9000 }),
          fc.integer({ min: 1, max: 5000 }),
          fc.integer({ min: 1, max: codec === "zstd" ? 6 : 9 }),
          fc.array(fc.tuple(fc.nat(41_000), fc.nat(41_000)), { minLength: 1, maxLength: 5 }),
          async (length, frameSize, chunk, level, ranges) => {
            const bytes = bytesOf(length, frameSize)
            await store.save("k", chunked(bytes, chunk), { frameSize, level })
            for (const [offset, wanted] of ranges) {
              const asked = store.load("k", { offset, length: wanted })
              if (offset > length || (offset === length && wanted > 0)) {
                expect((await failure(asked)).reason).toBe("RangeNotSatisfiable")
                continue
              }
              const loaded = await asked
              const slice = bytes.subarray(offset, offset + wanted)
              expect([loaded.offset, loaded.length]).toEqual([offset, slice.length])
              expect(sameBytes(await loaded.bytes(), slice)).toBe(true)
            }
          },
        ),
        { numRuns: 25 },
      )
    })
  }
}

test("an object is compressed unless its store or its save says otherwise", async () => {
  await using plain = await openBackend(Memory.make())
  expect((await plain.save("k", "hello")).codec).toBe(defaultCodec)
  expect(await plain.save("k", "hello", { compression: "none" })).toMatchObject({
    codec: undefined,
    size: 5,
    length: 5,
  })
  await using raw = await openBackend(Memory.make(), { compression: "none" })
  expect(await raw.save("k", "hello")).toMatchObject({ codec: undefined, size: 5, length: 5 })
  expect((await raw.save("k", "hello", { compression: "gzip" })).codec).toBe("gzip")
})

test("a store's level is for its codec, and a save's goes before it", async () => {
  const bytes = bytesOf(200_000)
  const size = async (layer: StoreOptions, call: StoreOptions): Promise<number> => {
    await using store = await openBackend(Memory.make(), layer)
    return (await store.save("k", bytes, call)).size
  }
  expect(await size({ compression: "gzip", level: 1 }, {})).toBe(await size({}, { compression: "gzip", level: 1 }))
  expect(await size({ compression: "gzip", level: 1 }, { level: 9 })).toBe(
    await size({}, { compression: "gzip", level: 9 }),
  )
  expect(await size({ compression: "zstd", level: 19 }, { compression: "gzip" })).toBe(
    await size({}, { compression: "gzip" }),
  )
})

test("sizes and digests that a saver expects are those of the source", async () => {
  await using store = await openBackend(Memory.make())
  const bytes = bytesOf(100_000)
  const expected = { expectedSize: bytes.length, expectedSha256: sha256(bytes).toUpperCase() }
  const seen: Array<number> = []
  const onProgress = ({ bytes, total }: { bytes: number; total: number | undefined }) => {
    expect(total).toBe(100_000)
    seen.push(bytes)
  }
  await store.save("k", chunked(bytes, 777), { ...expected, frameSize: 10_000, partSize: 5000, onProgress })
  expect(seen.length).toBeGreaterThan(3)
  expect(seen.at(-1)).toBe(100_000)
  expect(seen).toEqual(seen.toSorted((a, b) => a - b))
  const flawed = [
    [{ expectedSize: 99_999 }, "InvalidInput"],
    [{ expectedSize: 100_001 }, "Truncated"],
    [{ expectedSha256: sha256(new Uint8Array(1)) }, "Corrupt"],
  ] as const
  for (const [options, reason] of flawed) {
    expect((await failure(store.save("other", chunked(bytes, 777), options))).reason).toBe(reason)
  }
  expect(await store.exists("other")).toBe(false)
})

test("a range behind the stored bytes is found all the same", async () => {
  await using store = await openBackend(Memory.make())
  const zeros = new Uint8Array(1_000_000)
  zeros[999_998] = 7
  const { size } = await store.save("k", zeros)
  expect(size).toBeLessThan(1000)
  expect(await loadBytes(store, "k", { offset: 999_998 })).toEqual(Uint8Array.of(7, 0))
  expect((await failure(store.load("k", { offset: 1_000_001 }))).reason).toBe("RangeNotSatisfiable")
  expect((await failure(store.load("k", { offset: 999_000, ifMatch: "other" }))).reason).not.toBe("none")
})

test("a range reads the tail and the frames it lies in, and nothing else", async () => {
  const read: Array<number> = []
  const { store } = await storeWith([], { compression: "zstd" }, (inner) => ({
    ...inner,
    get: (key, options) =>
      Effect.map(inner.get(key, options), (got) => {
        const counted = got.body.pipeThrough(
          new TransformStream<Uint8Array, Uint8Array>(
            {
              transform(chunk, controller) {
                read.push(chunk.length)
                controller.enqueue(chunk)
              },
            },
            undefined,
            { highWaterMark: 0 },
          ),
        )
        return { ...got, body: counted }
      }),
  }))
  const bytes = Uint8Array.from({ length: 4 << 20 }, () => Math.random() * 256)
  await store.save("k", bytes, { frameSize: 128 * 1024 })
  read.length = 0
  expect(sameBytes(await loadBytes(store, "k", { offset: 1_000_000, length: 100_000 }), bytes.subarray(1e6, 1.1e6)))
    .toBe(
      true,
    )
  const frames = 2 * 129 * 1024
  const tail = 64 * 1024
  expect(read.reduce((a, b) => a + b, 0)).toBeLessThan(frames + tail + 300_000)
})

test("the second range of an object costs one request, and none of the bytes of an object that took its place", async () => {
  const gets: Array<{ readonly offset: number | undefined; readonly ifMatch: string | undefined }> = []
  const { store } = await storeWith([], { compression: "zstd" }, (inner) => ({
    ...inner,
    get: (key, options) => {
      gets.push({ offset: options?.offset, ifMatch: options?.ifMatch })
      return inner.get(key, options)
    },
  }))
  const [old, young] = [bytesOf(200_000), bytesOf(300_000).map((byte) => byte ^ 1)]
  const { etag } = await store.save("k", old, { frameSize: 50_000 })
  const range = async (offset: number, length: number, more?: { readonly ifMatch: string }) => {
    gets.length = 0
    return await loadBytes(store, "k", { offset, length, ...more })
  }
  expect(sameBytes(await range(60_000, 10), old.subarray(60_000, 60_010))).toBe(true)
  expect(gets.length).toBeGreaterThan(1)
  for (const [offset, length] of [[0, 1], [49_999, 2], [120_000, 80_000], [199_999, 5], [10, 150_000]] as const) {
    expect(sameBytes(await range(offset, length), old.subarray(offset, offset + length))).toBe(true)
    expect(gets.map(({ ifMatch }) => ifMatch)).toEqual([etag])
  }
  const loaded = await store.load("k", { offset: 5, length: 7 })
  expect([loaded.offset, loaded.length, loaded.info.length, loaded.info.etag]).toEqual([5, 7, 200_000, etag])
  await loaded.cancel()
  expect((await failure(store.load("k", { offset: 200_001 }))).reason).toBe("RangeNotSatisfiable")
  expect((await failure(store.load("k", { offset: 1, ifMatch: "another" }))).reason).toBe("PreconditionFailed")
  expect((await failure(store.load("k", { offset: 1, ifNoneMatch: etag }))).reason).toBe("NotModified")

  await store.save("k", young, { frameSize: 70_000 })
  expect(sameBytes(await range(60_000, 10), young.subarray(60_000, 60_010))).toBe(true)
  expect((await failure(store.load("k", { offset: 1, ifMatch: etag }))).reason).toBe("PreconditionFailed")
  await store.save("k", young, { compression: "none" })
  expect(sameBytes(await range(7, 100), young.subarray(7, 107))).toBe(true)
  await store.remove("k")
  expect((await failure(store.load("k", { offset: 1 }))).reason).toBe("NotFound")
})

/** A backend that forgets what it learns only at the end of a save, as S3 does. */
const forgetful = (inner: Backend): Backend => ({
  ...inner,
  completeUpload: (upload, parts, { length: _, sha256: __, ...options }) =>
    inner.completeUpload(upload, parts, options),
})

for (const codec of codecs) {
  test(`${codec}: where metadata lacks it, the tail tells length and digest`, async () => {
    const { store, inner } = await storeWith([], { compression: codec }, forgetful)
    const bytes = bytesOf(50_000)
    const facts = { length: 50_000, sha256: sha256(bytes), codec }
    expect(await store.save("k", bytes, { partSize: 4096, frameSize: 10_000 })).toMatchObject(facts)
    expect((await Effect.runPromise(inner.stat("k"))).length).toBeUndefined()
    expect(await store.stat("k")).toMatchObject(facts)
    const loaded = await store.load("k")
    expect(loaded.length).toBe(50_000)
    expect(loaded.info).toMatchObject(facts)
    expect(sameBytes(await loaded.bytes(), bytes)).toBe(true)
    expect((await store.verify("k")).info).toMatchObject(facts)
  })

  test(`${codec}: faults 106, 107: any flipped bit is refused by load and by verify, and no wrong byte released`, async () => {
    const bytes = bytesOf(30_000)
    const { store, inner } = await storeWith([], { compression: codec })
    const { size } = await store.save("k", bytes, { frameSize: 7000 })
    const { body } = await Effect.runPromise(inner.get("k"))
    const stored = new Uint8Array(await new Response(body).arrayBuffer())
    const { writeId, crc32: _, etag: __, ...head } = await Effect.runPromise(inner.stat("k"))
    for (let i = 0; i < 60; i++) {
      const at = i < 10 ? size - 1 - i * 7 : Math.floor(size * (i - 10) / 50)
      const damaged = stored.slice()
      damaged[at]! ^= 1 << i % 8
      // The store knows no CRC-32 of the damaged bytes but its own, so only the format can tell.
      const rotten: Backend = {
        ...inner,
        stat: () => Effect.succeed({ ...head, etag: "e", writeId, key: "k", size }),
        get: (_, { offset = 0, length = size - offset } = {}) => {
          const end = Math.min(size, offset + length)
          return Effect.succeed({
            info: { ...head, etag: "e", writeId, key: "k", size },
            offset,
            length: end - offset,
            body: new Response(damaged.slice(offset, end)).body!,
          })
        },
      }
      await using broken = await openBackend(Effect.succeed(rotten))
      let delivered = 0
      const error = await failure((async () => {
        for await (const chunk of (await broken.load("k")).body) {
          expect(sameBytes(chunk, bytes.subarray(delivered, delivered + chunk.length))).toBe(true)
          delivered += chunk.length
        }
      })())
      expect(["Corrupt", "Truncated", "Unsupported"]).toContain(error.reason)
      const found = await failure(broken.verify("k"))
      expect(found.message).toContain("stored offset")
      expect(found.operation).toBe("verify")
    }
    expect(sameBytes(await loadBytes(store, "k"), bytes)).toBe(true)
  })

  test(`${codec}: fault 97, 98: an object cut anywhere is refused by load and by verify`, async () => {
    const bytes = bytesOf(9000)
    await using store = await openBackend(Memory.make())
    await store.save("whole", bytes, { compression: codec, frameSize: 2500 })
    const stored = await loadBytes(store, "whole", { decode: "none" })
    for (let at = 0; at < stored.length; at += 97) {
      await store.save("cut", stored.slice(0, at), { stored: { codec } })
      expect(["Truncated", "Corrupt"]).toContain((await failure(loadBytes(store, "cut"))).reason)
      expect(["Truncated", "Corrupt"]).toContain((await failure(store.verify("cut"))).reason)
    }
  })

  test(`${codec}: fault 101: bytes behind the end, and metadata that lies, are refused`, async () => {
    await using store = await openBackend(Memory.make())
    await store.save("whole", bytesOf(5000), { compression: codec })
    const stored = await loadBytes(store, "whole", { decode: "none" })
    await store.save("more", Buffer.concat([stored, Buffer.from("!")]), { stored: { codec } })
    expect(["Corrupt", "Truncated"]).toContain((await failure(loadBytes(store, "more"))).reason)
    await store.save("shorter", stored, { stored: { codec, length: 4999 } })
    expect((await failure(loadBytes(store, "shorter"))).reason).toBe("Corrupt")
    expect((await failure(store.verify("shorter"))).reason).toBe("Corrupt")
    await store.save("longer", stored, { stored: { codec, length: 5001 } })
    expect((await failure(loadBytes(store, "longer"))).reason).toBe("Corrupt")
    await store.save("other", stored, { stored: { codec: codec === "zstd" ? "gzip" : "zstd" } })
    expect((await failure(loadBytes(store, "other"))).reason).toBe("Corrupt")
  })
}

test("fault 1, 2, 3: a body that breaks under a decoder goes on at the exact byte", async () => {
  const bytes = Uint8Array.from({ length: 1 << 20 }, () => Math.random() * 256)
  for (const codec of codecs) {
    for (const at of [0, 1, 65_536, 700_000]) {
      const { store, faults } = await storeWith([{ on: "get", nth: [1, 3], fault: cut(at) }], { compression: codec })
      await store.save("k", bytes, { frameSize: 100_000 })
      expect(sameBytes(await loadBytes(store, "k"), bytes)).toBe(true)
      expect(faults.bodies().open).toBe(0)
      const range = await loadBytes(store, "k", { offset: 300_000, length: 400_000 })
      expect(sameBytes(range, bytes.subarray(300_000, 700_000))).toBe(true)
      expect(faults.bodies().open).toBe(0)
    }
  }
})

test("fault 109: an object replaced between the tail and its frames is Changed", async () => {
  let replace = async (): Promise<void> => {}
  let gets = 0
  const { store } = await storeWith([], { compression: "zstd" }, (inner) => ({
    ...inner,
    get: (key, options) =>
      Effect.andThen(
        Effect.promise(async () => {
          if (++gets === 3) await replace()
        }),
        inner.get(key, options),
      ),
  }))
  await store.save("k", bytesOf(100_000), { frameSize: 10_000 })
  replace = async () => {
    await store.save("k", bytesOf(100_000, 2), { frameSize: 10_000 })
  }
  expect((await failure(loadBytes(store, "k", { offset: 20_000, length: 10 }))).reason).toBe("Changed")
})

test("whoever stops reading, or whose signal does, leaves nothing open", async () => {
  const bytes = Uint8Array.from({ length: 1 << 20 }, () => Math.random() * 256)
  const { store, faults } = await storeWith([])
  for (const codec of codecs) {
    await store.save("k", bytes, { compression: codec, frameSize: 50_000 })
    const stopped = await store.load("k")
    const reader = stopped.body.getReader()
    await reader.read()
    await reader.cancel()
    expect(faults.bodies().open).toBe(0)
    const controller = new AbortController()
    const loaded = await store.load("k", { signal: controller.signal })
    const other = loaded.body.getReader()
    await other.read()
    controller.abort("stop")
    expect(await other.read().catch((error) => error.reason)).toBe("Aborted")
    expect(faults.bodies().open).toBe(0)
    await (await store.load("k", { offset: 10, length: 100 })).cancel()
    expect(faults.bodies().open).toBe(0)
  }
})

test("fault 90: an abort in the middle of a compressed save cancels the source and leaves nothing", async () => {
  const { store, faults, inner } = await storeWith([])
  const controller = new AbortController()
  let cancelled = false
  const source = new ReadableStream<Uint8Array>({
    async pull(stream) {
      await new Promise((resolve) => setTimeout(resolve, 1))
      stream.enqueue(bytesOf(10_000))
      if (faults.calls("putPart") > 2) controller.abort("stop")
    },
    cancel() {
      cancelled = true
    },
  })
  const { signal } = controller
  expect((await failure(store.save("k", source, { partSize: 5000, frameSize: 5000, signal }))).reason).toBe("Aborted")
  expect(cancelled).toBe(true)
  expect(await store.exists("k")).toBe(false)
  expect((await Effect.runPromise(inner.listUploads!())).uploads).toEqual([])
})

const foreign = {
  zstd: (bytes: Uint8Array) => zstdCompressSync(bytes),
  gzip: (bytes: Uint8Array) => gzipSync(bytes),
}

for (const codec of codecs) {
  test(`${codec}: what something else has compressed loads raw, or decoded when asked, whole and in ranges`, async () => {
    await using store = await openBackend(Memory.make(), { compression: "none" })
    const bytes = bytesOf(300_000)
    const packed = Buffer.concat([foreign[codec](bytes.subarray(0, 100_000)), foreign[codec](bytes.subarray(100_000))])
    await store.save("k", packed)
    expect(sameBytes(await loadBytes(store, "k"), packed)).toBe(true)
    const loaded = await store.load("k", { decode: codec })
    expect(loaded.length).toBeUndefined()
    expect(sameBytes(await loaded.bytes(), bytes)).toBe(true)
    for (const [offset, length] of [[0, 10], [99_990, 20], [250_000, 99_999], [5, 0]] as const) {
      const range = await loadBytes(store, "k", { decode: codec, offset, length })
      expect(sameBytes(range, bytes.subarray(offset, offset + length))).toBe(true)
    }
    const beyond = await failure(loadBytes(store, "k", { decode: codec, offset: 300_001 }))
    expect(beyond.reason).toBe("RangeNotSatisfiable")
    expect((await failure(loadBytes(store, "k", { decode: codec, maxLength: 299_999 }))).reason).toBe("TooLarge")
    expect((await loadBytes(store, "k", { decode: codec, maxLength: 300_000 })).length).toBe(300_000)
    await store.save("cut", packed.subarray(0, packed.length - 5))
    expect((await failure(loadBytes(store, "cut", { decode: codec }))).reason).toBe("Truncated")
  })

  test(`${codec}: an object of ours whose metadata was lost is decoded when asked, ranges by its tail`, async () => {
    await using store = await openBackend(Memory.make())
    const bytes = bytesOf(80_000)
    await store.save("k", bytes, { compression: codec, frameSize: 9000 })
    await store.save("copy", await loadBytes(store, "k", { decode: "none" }), { compression: "none" })
    expect(sameBytes(await loadBytes(store, "copy", { decode: codec }), bytes)).toBe(true)
    const range = await store.load("copy", { decode: codec, offset: 44_444, length: 20_000 })
    expect(range.length).toBe(20_000)
    expect(sameBytes(await range.bytes(), bytes.subarray(44_444, 64_444))).toBe(true)
  })
}

test("fault 105: decode of what is something else says what it is", async () => {
  await using store = await openBackend(Memory.make(), { compression: "none" })
  await store.save("gz", gzipSync("hello"))
  const error = await failure(loadBytes(store, "gz", { decode: "zstd" }))
  expect(error.reason).toBe("InvalidInput")
  expect(error.hint).toBe('load it with decode: "gzip"')
  await store.save("text", "hello, world")
  expect((await failure(loadBytes(store, "text", { decode: "gzip" }))).hint).toContain("without decode")
})

test("a codec of the future is Unsupported, and its stored bytes still load", async () => {
  const inner = await Effect.runPromise(Memory.make())
  await Effect.runPromise(inner.put("k", Uint8Array.of(1, 2), { crc32: 0xb6cc4292, writeId: "w", codec: "brotli" }))
  await using store = await openBackend(Effect.succeed(inner))
  const error = await failure(store.load("k"))
  expect(error.reason).toBe("Unsupported")
  expect(error.detail).toContain('"brotli"')
  expect(await loadBytes(store, "k", { decode: "none" })).toEqual(Uint8Array.of(1, 2))
})

test("stored bytes go from one store to another as they are", async () => {
  await using from = await openBackend(Memory.make())
  await using to = await openBackend(Memory.make(), { compression: "gzip" })
  const bytes = bytesOf(50_000)
  await from.save("k", bytes, { frameSize: 8000 })
  const loaded = await from.load("k", { decode: "none" })
  const { codec, length, sha256: digest, size } = loaded.info
  const info = await to.save("k", loaded.body, { stored: { codec: codec as "zstd", length, sha256: digest } })
  expect(info).toMatchObject({ codec: defaultCodec, length: 50_000, size, sha256: sha256(bytes) })
  expect(sameBytes(await loadBytes(to, "k"), bytes)).toBe(true)
})

test("copy and move keep the codec, also through this program", async () => {
  for (const through of [false, true]) {
    const { store } = await storeWith(
      [],
      {},
      (inner) => through ? { ...inner, copy: undefined, move: undefined } : inner,
    )
    const bytes = bytesOf(20_000)
    const saved = await store.save("a", bytes, { compression: "gzip", metadata: { x: "1" } })
    const facts: Partial<ObjectInfo> = {
      codec: "gzip",
      size: saved.size,
      length: 20_000,
      sha256: sha256(bytes),
      metadata: { x: "1" },
    }
    expect(await store.copy("a", "b")).toMatchObject(facts)
    expect(await store.move("a", "c")).toMatchObject(facts)
    for (const key of ["b", "c"]) expect(sameBytes(await loadBytes(store, key), bytes)).toBe(true)
    expect(await store.exists("a")).toBe(false)
  }
})

test("verify says what it has held the bytes against", async () => {
  await using store = await openBackend(Memory.make())
  await store.save("zstd", "hello")
  await store.save("raw", "hello", { compression: "none" })
  await store.save("digest", "hello", { compression: "none", digest: "sha256" })
  expect((await store.verify("zstd")).checks).toEqual(["trailer", "frames", "sha256"])
  expect((await store.verify("zstd", { deep: false })).checks).toEqual(["trailer"])
  expect((await store.verify("raw")).checks).toEqual(["crc32"])
  expect((await store.verify("digest")).checks).toEqual(["crc32", "sha256"])
  expect((await store.verify("raw", { deep: false })).checks).toEqual([])
  expect((await failure(store.verify("none"))).reason).toBe("NotFound")
  const { store: flipping } = await storeWith([{ on: "get", key: "raw", fault: flip(2) }], { compression: "none" })
  await flipping.save("raw", "hello")
  expect((await failure(flipping.verify("raw"))).reason).toBe("Corrupt")
})

test("fault 103: a bomb under our name ends at the length it was said to have", async () => {
  await using store = await openBackend(Memory.make())
  await store.save("bomb", zstdCompressSync(new Uint8Array(64 << 20)), { stored: { codec: "zstd", length: 1000 } })
  expect((await failure(loadBytes(store, "bomb"))).reason).toBe("Corrupt")
  await store.save("foreign", gzipSync(new Uint8Array(64 << 20)), { compression: "none" })
  const error = await failure(loadBytes(store, "foreign", { decode: "gzip", maxLength: 1 << 20 }))
  expect(error.reason).toBe("TooLarge")
  expect(error.hint).toContain("maxLength")
})

test("options of compression that there are not say what to write", async () => {
  await using store = await openBackend(Memory.make())
  const wrong: ReadonlyArray<readonly [options: object, part: string]> = [
    [{ compression: "brotli" }, '"zstd", "gzip" or "none"'],
    [{ compression: "zstd", level: 20 }, "1 to 19"],
    [{ compression: "gzip", level: 0 }, "1 to 9"],
    [{ frameSize: 0 }, "from 1 to 16777216"],
    [{ compression: "none", level: 3 }, "leave them out"],
  ]
  for (const [options, part] of wrong) {
    const error = await failure(store.save("k", "x", options))
    expect(error.reason).toBe("InvalidInput")
    expect(error.detail).toContain(part)
    if ((options as { compression?: string }).compression !== "none") {
      const opening = await failure(openBackend(Memory.make(), options as StoreOptions))
      expect([opening.reason, opening.detail]).toEqual(["Config", error.detail])
    }
  }
  expect((await failure(store.load("k", { decode: "lz4" as "zstd" }))).detail).toContain('"zstd", "gzip" or "none"')
  expect((await failure(store.load("k", { maxLength: 3 }))).detail).toContain("together with decode")
  expect(await store.exists("k")).toBe(false)
})

test("what a store cannot do is Unsupported before it is asked", async () => {
  const { store, faults } = await storeWith([])
  const key = new Uint8Array(32)
  const refused: ReadonlyArray<Promise<unknown>> = [
    store.save("k", "x", { encryption: { type: "sse-kms", keyId: "k" } }),
    store.save("k", "x", { storageClass: "GLACIER" }),
    store.save("k", "x", { tags: { a: "b" } }),
    store.load("k", { versionId: "1" }),
    store.load("k", { customerKey: key }),
    store.restore("k", "1"),
    store.presign("GET", "k"),
    (async () => {
      for await (const _ of store.versions()) throw new Error("there are none")
    })(),
  ]
  for (const call of refused) expect((await failure(call)).reason).toBe("Unsupported")
  expect(faults.injected).toEqual([])
  for (const operation of ["put", "get", "copy", "stat"] as const) expect(faults.calls(operation)).toBe(0)
})

test("fault 107: verify names the damaged frame of a file that something else has changed", async () => {
  const root = await mkdtemp(`${tmpdir()}/holdfast-encoding-`)
  folders.push(root)
  await using store = await openBackend(Disk.make({ root }))
  await store.save("k", bytesOf(50_000), { frameSize: 10_000 })
  await store.save("raw", bytesOf(50_000), { compression: "none" })
  for (const key of ["k", "raw"]) {
    const handle = await open(`${root}/${key}`, "r+")
    const { buffer } = await handle.read(new Uint8Array(1), 0, 1, 20_000)
    await handle.write(buffer.map((byte) => byte ^ 1), 0, 1, 20_000)
    await handle.utimes(new Date(0), new Date(0))
    await handle.close()
  }
  const error = await failure(store.verify("k"))
  expect(error.reason).toBe("Corrupt")
  expect(error.detail).toMatch(/^the file was changed outside Holdfast .*frame \d, stored offset \d+\)$/)
  expect((await failure(store.verify("raw"))).detail).toContain("changed outside Holdfast")
  for (const key of ["k", "raw"]) expect((await failure(store.load(key))).reason).toBe("Corrupt")
})
