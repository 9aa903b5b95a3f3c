/** A server that goes away in the middle: the client goes on where it was once the server is back. */
import { expect, test } from "bun:test"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { storeRoutes } from "../../http/mod.ts"
import { listen, type Listening } from "../../http/testing.ts"
import { openBackend, type Store } from "../../store.ts"
import { bytes, expectBytes } from "../conformance.ts"
import * as Disk from "../disk/mod.ts"
import { make } from "./mod.ts"

const MiB = 2 ** 20

/** A program that serves a folder, and can be ended and begun anew on the same port. */
class Program implements AsyncDisposable {
  readonly #root: string
  #store: Store
  #server: Listening

  private constructor(root: string, store: Store, server: Listening) {
    this.#root = root
    this.#store = store
    this.#server = server
  }

  static async begin(): Promise<Program> {
    const root = await mkdtemp(`${tmpdir()}/holdfast-http-`)
    const { store, server } = await Program.#run(root, 0)
    return new Program(root, store, server)
  }

  static async #run(root: string, port: number): Promise<{ store: Store; server: Listening }> {
    const store = await openBackend(Disk.make({ root }), { policy: { breaker: "none" } })
    const routes = storeRoutes(store, { authorize: () => true })
    return { store, server: listen((request, env) => routes.fetch(request, env), port) }
  }

  get url(): string {
    return this.#server.url
  }

  /** Ends it with all its connections, and begins another that knows nothing but the folder. */
  async restart(): Promise<void> {
    const { port } = this.#server
    await this.#server.stop()
    await this.#store.close()
    const { store, server } = await Program.#run(this.#root, port)
    this.#store = store
    this.#server = server
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.stop()
    await this.#store.close()
    await rm(this.#root, { recursive: true, force: true })
  }
}

/** A client that does not give up for a while. */
const client = (url: string): Promise<Store> =>
  openBackend(make({ url }), {
    compression: "none",
    policy: { retry: Schedule.max([Schedule.spaced("20 millis"), Schedule.recurs(500)]), breaker: "none" },
  })

const data = bytes(1, 24 * MiB)

test("a save goes on when the server is restarted in its middle: its upload has survived", async () => {
  await using program = await Program.begin()
  await using store = await client(program.url)
  async function* source(): AsyncGenerator<Uint8Array> {
    for (let at = 0; at < data.length; at += MiB) {
      if (at === 11 * MiB || at === 19 * MiB) await program.restart()
      yield data.subarray(at, at + MiB)
    }
  }
  const info = await store.save("snapshots/a", source(), { ifNoneMatch: "*" })
  expect(info.size).toBe(data.length)
  expectBytes(await (await store.load("snapshots/a")).bytes(), data, "the snapshot")
  const uploads: Array<string> = []
  for await (const { key } of store.uploads()) uploads.push(key)
  expect(uploads).toEqual([])
})

test("a load goes on from the byte where it was when the server is restarted in its middle", async () => {
  await using program = await Program.begin()
  await using store = await client(program.url)
  await store.save("snapshots/a", data)
  const loaded = await store.load("snapshots/a")
  const all = new Uint8Array(data.length)
  let filled = 0
  let restarts = 0
  for await (const chunk of loaded.body) {
    all.set(chunk, filled)
    filled += chunk.length
    if (filled > (restarts + 1) * 6 * MiB && restarts < 2) {
      restarts++
      await program.restart()
    }
  }
  expect([filled, restarts]).toEqual([data.length, 2])
  expectBytes(all, data, "the snapshot")
})

test("another program goes on with an upload by its id, after the server was restarted", async () => {
  await using program = await Program.begin()
  const run = <A>(effect: Effect.Effect<A, unknown>): Promise<A> => Effect.runPromise(effect)
  const before = await run(make({ url: program.url }))
  const { crc32 } = await import("../../streams/crc32.ts")
  const upload = await run(before.createUpload("a", { writeId: crypto.randomUUID() }))
  const [first, second] = [data.subarray(0, MiB), data.subarray(MiB, 2 * MiB)]
  await run(before.putPart(upload, { number: 1, offset: 0, crc32: crc32(first) }, first))
  await program.restart()
  const after = await run(make({ url: program.url }))
  const { uploads } = await run(after.listUploads!({ prefix: "a" }))
  expect(uploads.map(({ id, key }) => ({ id, key }))).toEqual([{ id: upload.id, key: "a" }])
  expect((await run(after.listParts!(upload))).map(({ number, size }) => [number, size])).toEqual([[1, MiB]])
  await run(after.putPart(upload, { number: 2, offset: MiB, crc32: crc32(second) }, second))
  const parts = await run(after.listParts!(upload))
  await run(after.completeUpload(upload, parts, { size: 2 * MiB, crc32: crc32(data.subarray(0, 2 * MiB)) }))
  await using store = await client(program.url)
  expectBytes(await (await store.load("a")).bytes(), data.subarray(0, 2 * MiB), "the object")
})
