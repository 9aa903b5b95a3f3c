/**
 * The engine, on every backend this machine has: what `save` and `load` promise whatever is underneath.
 */
import { afterAll, expect, test } from "bun:test"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import * as Disk from "./backends/disk/mod.ts"
import * as Memory from "./backends/memory.ts"
import { StoreError } from "./error.ts"
import { ObjectStore } from "./object-store.ts"
import { openBackend, type Store } from "./store.ts"
import { crc32 } from "./streams/crc32.ts"
import type { Source } from "./streams/source.ts"

const folders: Array<string> = []
afterAll(async () => {
  for (const folder of folders) await rm(folder, { recursive: true, force: true })
})

/** Sizes and parts are those of the bytes themselves; encoding.test.ts has what is different for encoded objects. */
const raw = { compression: "none" } as const

const stores: ReadonlyArray<readonly [string, () => Promise<Store>]> = [
  ["memory", () => openBackend(Memory.make(), raw)],
  ["disk", async () => {
    const root = await mkdtemp(`${tmpdir()}/holdfast-engine-`)
    folders.push(root)
    return openBackend(Disk.make({ root }), raw)
  }],
]

/** Bytes that differ at every place worth confusing. */
const bytesOf = (length: number, seed = 1): Uint8Array<ArrayBuffer> => {
  const bytes = new Uint8Array(length)
  let x = seed
  for (let i = 0; i < length; i++) {
    x = (Math.imul(x, 1103515245) + 12345) >>> 0
    bytes[i] = x >>> 16
  }
  return bytes
}

const chunked = (bytes: Uint8Array, size: number): ReadableStream<Uint8Array> => {
  let at = 0
  return new ReadableStream({
    pull(controller) {
      if (at >= bytes.length) return controller.close()
      controller.enqueue(bytes.slice(at, at + size))
      at += size
    },
  })
}

const reasonOf = async (promise: Promise<unknown>): Promise<string> => {
  try {
    await promise
  } catch (error) {
    if (StoreError.is(error)) return error.reason
    throw error
  }
  return "none"
}

for (const [name, make] of stores) {
  const on = (title: string, body: (store: Store) => Promise<void>): void => {
    test(`${name}: ${title}`, async () => {
      await using store = await make()
      await body(store)
    })
  }

  on("fault 94: save() and load() keep every byte over lengths × chunk sizes × part sizes", async (store) => {
    for (const partSize of [1000, 4096]) {
      const p = partSize
      for (const length of [0, 1, p - 1, p, p + 1, 2 * p, 2 * p + 500, 5 * p]) {
        const bytes = bytesOf(length, length + 1)
        for (const chunk of [1, 600, p - 1, p, p + 1, 3 * p]) {
          if (length / chunk > 5000) continue
          const info = await store.save("grid", chunked(bytes, chunk), { partSize, concurrency: 3 })
          expect(info.size).toBe(length)
          expect(info.crc32).toBe(crc32(bytes))
          const loaded = await (await store.load("grid")).bytes()
          if (Buffer.compare(loaded, bytes) !== 0) throw new Error(`differs: ${length} by ${chunk} in ${partSize}`)
        }
      }
    }
  })

  on("save() takes every kind of source", async (store) => {
    const text = "grüße, 😀"
    const bytes = new TextEncoder().encode(text)
    const iterable = async function* (): AsyncGenerator<Uint8Array> {
      yield bytes.subarray(0, 3)
      yield new Uint8Array(0)
      yield bytes.subarray(3)
    }
    const padded = new Uint8Array(bytes.length + 9)
    padded.set(bytes, 4)
    const sources: ReadonlyArray<Source> = [
      text,
      bytes,
      bytes.buffer,
      padded.subarray(4, 4 + bytes.length),
      new Blob([bytes]),
      new Blob([bytes]).stream(),
      iterable(),
      new Response(bytes),
      new Request("http://localhost/", { method: "POST", body: bytes }),
    ]
    for (const source of sources) {
      await store.save("source", source)
      expect(await (await store.load("source")).text()).toBe(text)
    }
    expect((await store.save("source", new Response(null))).size).toBe(0)
  })

  on("save() refuses what is no source, with what to pass instead, and keeps what was there", async (store) => {
    await store.save("kept", "old")
    const used = new Response("x")
    await used.text()
    const locked = new Blob(["x"]).stream()
    locked.getReader()
    const strings = new ReadableStream({
      start(controller) {
        controller.enqueue("text")
        controller.close()
      },
    })
    for (const source of [null, 7, {}, used, locked, strings] as unknown as Array<Source>) {
      expect(await reasonOf(store.save("kept", source))).toBe("InvalidInput")
    }
    expect(await (await store.load("kept")).text()).toBe("old")
  })

  on("save() refuses options that cannot be meant, before anything is read", async (store) => {
    let pulled = 0
    const source = (): AsyncIterable<Uint8Array> => ({
      [Symbol.asyncIterator]: () => {
        pulled++
        return { next: () => Promise.resolve({ done: true, value: undefined }) }
      },
    })
    const wrong = [
      { partSize: 0 },
      { partSize: 1.5 },
      { concurrency: 0 },
      { expectedSize: -1 },
      { expectedSha256: "abc" },
      { digest: "md5" },
      { contentType: "text" },
      { contentType: "text/plain\r\nx: y" },
      { metadata: { "No": "x" } },
      { ifMatch: "a", ifNoneMatch: "*" },
      { ifMatch: "" },
      { ifMatch: 'W/"1"' },
      { ifNoneMatch: "abc" },
    ] as unknown as ReadonlyArray<Parameters<Store["save"]>[2]>
    for (const options of wrong) expect(await reasonOf(store.save("k", source(), options))).toBe("InvalidInput")
    expect(await reasonOf(store.save("a\\b", source()))).toBe("InvalidKey")
    expect(await reasonOf(store.load("k", { offset: -1 }))).toBe("InvalidInput")
    expect(await reasonOf(store.copy("k", "k"))).toBe("InvalidInput")
    expect(await reasonOf(store.list({ delimiter: "," as "/" })[Symbol.asyncIterator]().next())).toBe("InvalidInput")
    expect(pulled).toBe(0)
    expect(await store.exists("k")).toBe(false)
  })

  on("save() stores metadata, content type and digest with the bytes", async (store) => {
    const metadata = { agent: "Zoë  with spaces ", empty: "" }
    const hex = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
    await store.save("facts", "hello", { metadata, contentType: "text/plain; charset=utf-8", digest: "sha256" })
    const info = await store.stat("facts")
    expect(info.metadata).toEqual(metadata)
    expect(info.contentType).toBe("text/plain; charset=utf-8")
    expect(info.sha256).toBe(hex)
    expect(info.size).toBe(5)
    expect(Math.abs(Date.now() - info.modified.getTime())).toBeLessThan(60_000)
    await store.save("facts", "hello")
    expect((await store.stat("facts")).metadata).toEqual({})
    expect((await store.stat("facts")).sha256).toBeUndefined()
  })

  on("fault 157: a source shorter, longer or other than expected is not saved", async (store) => {
    await store.save("k", "old")
    const hex = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
    for (const partSize of [2, 1000]) {
      const source = (text: string) => chunked(new TextEncoder().encode(text), 3)
      expect(await reasonOf(store.save("k", source("hell"), { expectedSize: 5, partSize }))).toBe("Truncated")
      expect(await reasonOf(store.save("k", source("hello!"), { expectedSize: 5, partSize }))).toBe("InvalidInput")
      expect(await reasonOf(store.save("k", source("hellO"), { expectedSha256: hex, partSize }))).toBe("Corrupt")
      expect(await (await store.load("k")).text()).toBe("old")
      const info = await store.save("k", source("hello"), {
        expectedSize: 5,
        expectedSha256: hex.toUpperCase(),
        partSize,
      })
      expect(info.size).toBe(5)
      await store.save("k", "old")
    }
  })

  on("fault 84: a source that fails leaves the old object and is told so", async (store) => {
    await store.save("k", "old")
    for (const at of [0, 1, 10, 25]) {
      let returned = false
      const source = async function* (): AsyncGenerator<Uint8Array> {
        try {
          for (let i = 0; i < at; i++) yield bytesOf(100)
          throw new RangeError("the disk of the sensor is full")
        } finally {
          returned = true
        }
      }
      const error = await store.save("k", source(), { partSize: 1000 }).catch((e) => e)
      expect(error.reason).toBe("Aborted")
      expect(error.cause).toBeInstanceOf(RangeError)
      expect(error.message).toContain("the disk of the sensor is full")
      expect(returned).toBe(true)
      expect(await (await store.load("k")).text()).toBe("old")
    }
  })

  on("fault 90: an abort during a save keeps the old object and frees the source", async (store) => {
    await store.save("k", "old")
    for (const after of [0, 5, 15]) {
      const controller = new AbortController()
      let cancelled: unknown
      let chunks = 0
      const source = new ReadableStream<Uint8Array>({
        pull(out) {
          if (chunks++ === after) controller.abort(new Error("enough"))
          else out.enqueue(bytesOf(100))
        },
        cancel: (reason) => void (cancelled = reason ?? "cancelled"),
      })
      const error = await store.save("k", source, { partSize: 300, signal: controller.signal }).catch((e) => e)
      expect(error.reason).toBe("Aborted")
      expect(error.cause.message).toBe("enough")
      expect(cancelled).toBeDefined()
      expect(await (await store.load("k")).text()).toBe("old")
    }
    const early = AbortSignal.abort("before")
    expect(await reasonOf(store.save("k", "new", { signal: early }))).toBe("Aborted")
    expect(await reasonOf(store.load("k", { signal: early }))).toBe("Aborted")
    expect(await (await store.load("k")).text()).toBe("old")
  })

  on("fault 85: a consumer may leave at any byte, and the store goes on", async (store) => {
    const bytes = bytesOf(500_000)
    await store.save("k", bytes)
    for (const reads of [0, 1, 2]) {
      const loaded = await store.load("k")
      const reader = loaded.body.getReader()
      for (let i = 0; i < reads; i++) await reader.read()
      await reader.cancel("enough")
    }
    {
      await using unread = await store.load("k")
      expect(unread.length).toBe(bytes.length)
    }
    expect((await (await store.load("k")).bytes()).length).toBe(bytes.length)
  })

  on("fault 90: an abort during a load ends the body with Aborted", async (store) => {
    await store.save("k", bytesOf(2_000_000))
    const controller = new AbortController()
    const loaded = await store.load("k", { signal: controller.signal })
    const reader = loaded.body.getReader()
    await reader.read()
    controller.abort("stop")
    const error = await reader.read().catch((e) => e)
    expect(error.reason).toBe("Aborted")
    expect(error.cause).toBe("stop")
  })

  on("fault 96: load() gives exactly the range asked for, and 416 past the end", async (store) => {
    const bytes = bytesOf(10_000)
    await store.save("k", bytes, { partSize: 3000 })
    for (
      const [offset, length] of [[0, 1], [0, 10_000], [1, 9_999], [2_999, 2], [9_999, 1], [5_000, 99_999]] as const
    ) {
      const loaded = await store.load("k", { offset, length })
      expect(loaded.offset).toBe(offset)
      expect(loaded.info.size).toBe(10_000)
      expect(await loaded.bytes()).toEqual(bytes.slice(offset, offset + length))
    }
    expect((await (await store.load("k", { offset: 4, length: 0 })).bytes()).length).toBe(0)
    expect(await reasonOf(store.load("k", { offset: 10_001 }))).toBe("RangeNotSatisfiable")
    await store.save("empty", "")
    expect(await reasonOf(store.load("empty", { offset: 1 }))).toBe("RangeNotSatisfiable")
    expect((await (await store.load("empty")).bytes()).length).toBe(0)
  })

  on("conditions are exact", async (store) => {
    const first = await store.save("k", "1", { ifNoneMatch: "*" })
    expect(await reasonOf(store.save("k", "x", { ifNoneMatch: "*" }))).toBe("AlreadyExists")
    const second = await store.save("k", "2", { ifMatch: first.etag })
    expect(second.etag).not.toBe(first.etag)
    expect(await reasonOf(store.save("k", "x", { ifMatch: first.etag }))).toBe("PreconditionFailed")
    expect(await reasonOf(store.save("none", "x", { ifMatch: first.etag }))).toBe("PreconditionFailed")
    expect(await reasonOf(store.load("k", { ifMatch: first.etag }))).toBe("PreconditionFailed")
    expect(await reasonOf(store.load("k", { ifNoneMatch: second.etag }))).toBe("NotModified")
    expect(await reasonOf(store.remove("k", { ifMatch: first.etag }))).toBe("PreconditionFailed")
    expect(await (await store.load("k", { ifMatch: second.etag })).text()).toBe("2")
    await store.remove("k", { ifMatch: second.etag })
    expect(await store.exists("k")).toBe(false)
    const big = chunked(bytesOf(5000), 100)
    const third = await store.save("k", big, { ifNoneMatch: "*", partSize: 1000 })
    expect(await reasonOf(store.save("k", chunked(bytesOf(5000), 100), { ifNoneMatch: "*", partSize: 1000 })))
      .toBe("AlreadyExists")
    expect((await store.stat("k")).etag).toBe(third.etag)
  })

  on("list() gives all keys in order over many pages, and folds at a delimiter", async (store) => {
    const keys = Array.from({ length: 2100 }, (_, i) => `p/${String(i % 21).padStart(2, "0")}/${i}`)
    await Promise.all(keys.concat("q", "p.txt").map((key) => store.save(key, "")))
    const found: Array<string> = []
    for await (const { key, size } of store.list({ prefix: "p/" })) {
      expect(size).toBe(0)
      found.push(key)
    }
    expect(found).toEqual(keys.toSorted())
    const pages = []
    for await (const page of store.list({ delimiter: "/" }).pages()) pages.push(page)
    expect(pages.flatMap((page) => page.prefixes)).toEqual(["p/"])
    expect(pages.flatMap((page) => page.objects.map((object) => object.key))).toEqual(["p.txt", "q"])
    let taken = 0
    for await (const _ of store.list()) if (++taken === 3) break
    expect(taken).toBe(3)
    const removed = await store.removeMany(keys)
    expect(removed.map((result) => result.key)).toEqual(keys)
    expect(removed.filter((result) => result.error !== undefined)).toEqual([])
    const left: Array<string> = []
    for await (const { key } of store.list()) left.push(key)
    expect(left).toEqual(["p.txt", "q"])
  })

  on("copy() and move() keep bytes and metadata and make a new etag", async (store) => {
    const info = await store.save("a", "hello", { metadata: { k: "v" }, contentType: "text/plain", digest: "sha256" })
    const copied = await store.copy("a", "b")
    expect(copied.etag).not.toBe(info.etag)
    expect(copied.metadata).toEqual({ k: "v" })
    expect(copied.sha256).toBe(info.sha256)
    expect(await reasonOf(store.copy("a", "b", { ifNoneMatch: "*" }))).toBe("AlreadyExists")
    expect(await reasonOf(store.copy("a", "c", { sourceIfMatch: copied.etag }))).toBe("PreconditionFailed")
    expect(await reasonOf(store.copy("none", "c"))).toBe("NotFound")
    await store.move("a", "c/d")
    expect(await store.exists("a")).toBe(false)
    expect(await (await store.load("c/d")).text()).toBe("hello")
    expect(await reasonOf(store.move("a", "x"))).toBe("NotFound")
  })

  on("sink() saves what is piped into it, and nothing when it is aborted", async (store) => {
    const bytes = bytesOf(100_000)
    const sink = await store.sink("k", { partSize: 30_000, metadata: { via: "pipe" } })
    await chunked(bytes, 7000).pipeTo(sink.writable)
    const info = await sink.info
    expect(info.size).toBe(bytes.length)
    expect(await (await store.load("k")).bytes()).toEqual(bytes)

    const empty = await store.sink("empty")
    await empty.writable.close()
    expect((await empty.info).size).toBe(0)

    const broken = await store.sink("k", { partSize: 10_000 })
    const source = chunked(bytes, 7000).pipeThrough(
      new TransformStream({
        transform(chunk, controller) {
          if (chunk.length < 7000) controller.error(new Error("broke"))
          else controller.enqueue(chunk)
        },
      }),
    )
    expect(await source.pipeTo(broken.writable).catch((e) => e.message)).toBe("broke")
    expect(await reasonOf(broken.info)).toBe("Aborted")
    expect((await store.stat("k")).etag).toBe(info.etag)

    const refused = await store.sink("k", { ifNoneMatch: "*" })
    expect(await reasonOf(chunked(bytes, 7000).pipeTo(refused.writable))).toBe("AlreadyExists")
    expect(await reasonOf(store.sink("a\\b"))).toBe("InvalidKey")
  })

  on("onProgress tells how far it is, and cannot fail a transfer", async (store) => {
    const seen: Array<number> = []
    await store.save("k", chunked(bytesOf(10_000), 999), { partSize: 2500, onProgress: (p) => seen.push(p.bytes) })
    expect(seen.at(-1)).toBe(10_000)
    expect(seen).toEqual(seen.toSorted((a, b) => a - b))
    const loaded = await store.load("k", {
      onProgress: () => {
        throw new Error("a broken progress bar")
      },
    })
    expect((await loaded.bytes()).length).toBe(10_000)
  })

  on("stream() is the body as an Effect stream", async (store) => {
    await store.save("k", "hello")
    const chunks = await Effect.runPromise(Stream.runCollect(store.service.stream("k")))
    expect(Buffer.concat(chunks).toString()).toBe("hello")
    const error = await Effect.runPromise(Effect.flip(Stream.runCollect(store.service.stream("none"))))
    expect(error.reason).toBe("NotFound")
  })

  on("fault 87: a source is pulled no faster than its bytes are stored", async (store) => {
    let produced = 0
    let stored = 0
    let ahead = 0
    const chunk = bytesOf(64 * 1024)
    const source = new ReadableStream<Uint8Array>({
      pull(controller) {
        if (produced >= 32 * 2 ** 20) return controller.close()
        controller.enqueue(chunk)
        produced += chunk.length
        ahead = Math.max(ahead, produced - stored)
      },
    })
    const partSize = 2 ** 20
    await store.save("k", source, { partSize, concurrency: 2, onProgress: (progress) => (stored = progress.bytes) })
    // Two parts in flight, one being filled, and what the stream itself queues.
    expect(ahead).toBeLessThanOrEqual(3 * partSize + 3 * chunk.length)
  })

  on(
    "fault 91: an error in the middle of a pipe rejects, closes both ends, and leaves the process alive",
    async (store) => {
      await store.save("k", "old")
      let cancelled = false
      const source = new ReadableStream<Uint8Array>({
        pull: (controller) => controller.enqueue(bytesOf(1000)),
        cancel: () => void (cancelled = true),
      })
      let chunks = 0
      const middle = new TransformStream<Uint8Array, Uint8Array>({
        transform(chunk, controller) {
          if (++chunks > 20) throw new RangeError("the middle broke")
          controller.enqueue(chunk)
        },
      })
      const error = await store.save("k", source.pipeThrough(middle), { partSize: 3000 }).catch((e) => e)
      expect(error.cause).toBeInstanceOf(RangeError)
      await new Promise((resolve) => setTimeout(resolve, 1))
      expect(cancelled).toBe(true)
      expect(await (await store.load("k")).text()).toBe("old")
    },
  )

  on("fault 92: a collection in the middle of a transfer loses nothing", async (store) => {
    const collect = (globalThis as { Bun?: { gc(force: boolean): void } }).Bun?.gc ?? (() => {})
    const bytes = bytesOf(3_000_000)
    const source = chunked(bytes, 50_000).pipeThrough(
      new TransformStream({
        transform(chunk, controller) {
          collect(true)
          controller.enqueue(chunk)
        },
      }),
    )
    await store.save("k", source, { partSize: 200_000 })
    const pieces: Array<Uint8Array> = []
    for await (const piece of (await store.load("k")).body) {
      collect(true)
      pieces.push(piece)
    }
    expect(Buffer.compare(Buffer.concat(pieces), bytes)).toBe(0)
  })

  on("fault 89: one signal over many calls keeps no listeners", async (store) => {
    const controller = new AbortController()
    let listeners = 0
    const { signal } = controller
    const add = signal.addEventListener.bind(signal)
    const drop = signal.removeEventListener.bind(signal)
    signal.addEventListener = (...args: Parameters<typeof add>) => (listeners++, add(...args))
    signal.removeEventListener = (...args: Parameters<typeof drop>) => (listeners--, drop(...args))
    for (let i = 0; i < 200; i++) {
      await store.save("k", `${i}`, { signal })
      expect(await (await store.load("k", { signal })).text()).toBe(`${i}`)
      await (await store.load("k", { signal })).cancel()
    }
    expect(listeners).toBe(0)
  })
}

test("a layer provides the same store to all of a program", async () => {
  const program = Effect.gen(function* () {
    const store = yield* ObjectStore
    yield* store.save("k", "hello")
    const loaded = yield* store.load("k")
    return yield* Effect.promise(() => loaded.text())
  })
  expect(await Effect.runPromise(Effect.provide(program, Memory.layer()))).toBe("hello")
})

test("fault 142: policy options that cannot be meant are refused as Config", async () => {
  const wrong = [
    { policy: { concurrency: 0 } },
    { policy: { attemptTimeout: 0 } },
    { policy: { attemptTimeout: "soon" as "1 second" } },
    { policy: { breaker: { failures: 0 } } },
    { policy: { breaker: { cooldown: -1 } } },
    { idleTimeout: "never" as "1 second" },
  ]
  for (const options of wrong) expect(await reasonOf(openBackend(Memory.make(), options))).toBe("Config")
})
