import { expect, test } from "bun:test"
import { AIMessage } from "@langchain/core/messages"
import { Serializable } from "@langchain/core/load/serializable"
import { execFile } from "node:child_process"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import process from "node:process"
import { fileURLToPath } from "node:url"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { Backend } from "../backend.ts"
import * as Memory from "../backends/memory.ts"
import { StoreError } from "../error.ts"
import { openBackend, type Store } from "../store.ts"
import { cut, fail, type Faulty, faulty, type FaultyOptions } from "../testing/faulty.ts"
import { Snapshots, SnapshotStore } from "./snapshots.ts"
import { failure, gunzip, sample, suite } from "./snapshots-testing.ts"
import { addSuite } from "./testing.ts"

addSuite(suite)

const memory = async (options: FaultyOptions = {}): Promise<{ store: Store; watched: Faulty; inner: Backend }> => {
  const inner = await Effect.runPromise(Memory.make())
  const watched = faulty(inner, options)
  const store = await openBackend(Effect.succeed(watched.backend), { policy: { retry: "none", breaker: "none" } })
  return { store, watched, inner }
}

/**
 * Made by Rust: the state through `serde_json` 1.0.145, the file through `flate2` 1.1, with the structures of Persist
 * 0.1. Its parser read 0.015322196386518173 as the double beside it, as Persist does.
 */
const fromRust = Uint8Array.from(
  atob(
    "H4sIAAAAAAAA/12RTY7UMBCFr4K8ThqX/51jIFYwo5YTl7sjdX4UuxH0qCWOwQrW3AFWcyA4AuVmEDCWYinPz1X1Pj+wCUuIoQTW" +
      "PbBwwLnsx8g61i+FNSxjzuMy/5YyVGUOaz4u5JojvmedbVgZJ8wlTCt5BBe65a7l8BpEJ1Wnzc46z0FIpd/Q/WGZS21yDPlIfikl" +
      "Dhxi0mGIA4KoXh5VsqqHCFxFAA+9iMpGgw4hxmR97FPSXqCyVDEt2xTK/h1udVTWwb9D1rlNgsSDwtYM1rYqOGx9z7HlUfYi2AFQ" +
      "a6oTMQ/buJZbEZa2ZXrx6pwrhfM8LNO6EQuM+zxekHVCmZrlmTqfT6e/cgUXTodlG8txopKHy7iya/NEmYgVvEFn3VtwShmrFLfS" +
      "cq81GNBN64WQ0goujdPKWu24a2D3zCoQfAMoOacdTAP8/7XjDX20gM5b07RPCmgpBHgjndHgwAKJivooaYGegTsh7D0Ne8f+5OqJ" +
      "Ld1lM702xjr6hxvtCwW4p1yP3yjk49e7MzWzdYf088unjy+J4I/vn2/W+k/wrtdf1JzuRHgCAAA=",
  ),
  (character) => character.charCodeAt(0),
)

test("rows 28, 115: a file that Rust has written is restored and verified, numbers to the last digit", async () => {
  const { store } = await memory()
  await using _ = store
  const snapshots = new SnapshotStore(store)
  await store.save("rust", fromRust, { compression: "none" })
  const restored = await snapshots.restore("rust")
  expect(restored.metadata).toMatchObject({
    agent_id: "bot",
    snapshot_index: 7,
    timestamp: "2025-08-01T12:34:56.789012345Z",
    description: "from Rust",
    uncompressed_size: 246,
  })
  const text = await new Response((await snapshots.loadStream("rust")).body).text()
  expect(text).toContain(
    '"a":[18446744073709551615,-9223372036854775808,1.8446744073709552e19,1e300,1e16,1000000000000000.0,0.00001,1e-6,' +
      "-0.0,0.015322196386518171,0.4854437112808227]",
  )
  expect(text).toContain(',"ü":"é\\u0007\\u001f😀/","～":1,"😀":2}')
})

test("row 115: files of a Persist that hashes its numbers in another form are accepted, others are not", async () => {
  const { store } = await memory()
  await using _ = store
  const snapshots = new SnapshotStore(store)
  const state = '{"a":0.015322196386518173,"b":1e16}'
  const forms = [
    '{"a":0.015322196386518171,"b":1e16}',
    '{"a":0.015322196386518173,"b":1e16}',
    '{"a":0.015322196386518171,"b":1e+16}',
    '{"a":0.015322196386518173,"b":1e+16}',
  ]
  const { metadata } = await snapshots.saveStream("ours", state)
  const hashes: Array<string> = []
  for (const form of forms) {
    const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(form))
    const hash = Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join("")
    hashes.push(hash)
    const file = `{"metadata":${JSON.stringify({ ...metadata, content_hash: hash })},"agent_state":${state}}`
    await store.save("file", file, { compression: "none" })
    expect((await snapshots.verifySnapshot("file")).metadata.content_hash).toBe(hash)
    expect(await new Response((await snapshots.loadStream("file")).body).text()).toBe(state)
  }
  expect(hashes.indexOf(metadata.content_hash)).toBe(0)
  expect(new Set(hashes).size).toBe(4)
})

test("row 108: metadata take one request of a few bytes, a listing one each, and no state is read", async () => {
  const { store, watched } = await memory()
  await using _ = store
  const snapshots = new SnapshotStore(store)
  const words = Array.from({ length: 20_000 }, () => crypto.randomUUID())
  for (const name of ["a", "b", "c"]) await snapshots.snapshot(name, words)
  const before = { get: watched.calls("get"), stat: watched.calls("stat") }
  const asked: Array<unknown> = []
  const get = watched.backend.get
  const spied: Backend = {
    ...watched.backend,
    get: (key, options) => {
      asked.push(options?.length)
      return get(key, options)
    },
  }
  await using spying = await openBackend(Effect.succeed(spied))
  const listed = new SnapshotStore(spying)
  await listed.getMetadata("a")
  expect(watched.calls("get") - before.get).toBe(1)
  expect(watched.calls("stat") - before.stat).toBe(0)
  for await (const one of listed.listSnapshots()) expect(one.metadata?.agent_id).toBe("default_agent")
  expect(watched.calls("get") - before.get).toBe(4)
  expect(asked).toEqual([16_384, 16_384, 16_384, 16_384])
  await snapshots.verifySnapshot("a")
  expect(watched.calls("get") - before.get).toBe(5)
})

test("a listing whose second page fails, fails; what a head cannot say is that object's error", async () => {
  const torn = await memory({ rules: [{ on: "list", nth: 2, fault: fail() }] })
  await using store = await openBackend(
    Effect.succeed({
      ...torn.watched.backend,
      list: (options) => torn.watched.backend.list({ ...options, limit: 2 }),
    }),
    { policy: { retry: "none" } },
  )
  const snapshots = new SnapshotStore(store)
  for (const name of ["a", "b", "c", "d"]) await snapshots.snapshot(name, name)
  const seen: Array<string> = []
  const all = (async () => {
    for await (const { path } of snapshots.listSnapshots()) seen.push(path)
  })()
  expect((await failure(all)).reason).toBe("Unavailable")
  expect(seen.length).toBeLessThan(4)

  const broken = await memory({ rules: [{ on: "get", key: "b", fault: fail() }] })
  await using other = broken.store
  const listed: Array<string | undefined> = []
  for (const name of ["a", "b", "c"]) await new SnapshotStore(other).snapshot(name, name)
  for await (const { error } of new SnapshotStore(other).listSnapshots()) listed.push(error?.reason)
  expect(listed).toEqual([undefined, "Unavailable", undefined])
})

/** The process dies with its n-th change: neither that nor any later one happens. */
const dying = (inner: Backend, n: number): Backend => {
  let changes = 0
  const guard = <A>(call: Effect.Effect<A, StoreError>): Effect.Effect<A, StoreError> =>
    Effect.suspend(() => ++changes < n ? call : Effect.fail(new StoreError({ reason: "Aborted", detail: "it died" })))
  return {
    ...inner,
    put: (key, bytes, options) => guard(inner.put(key, bytes, options)),
    remove: (key, options) => guard(inner.remove(key, options)),
    createUpload: (key, options) => guard(inner.createUpload(key, options)),
    putPart: (upload, part, bytes) => guard(inner.putPart(upload, part, bytes)),
    completeUpload: (upload, parts, options) => guard(inner.completeUpload(upload, parts, options)),
    abortUpload: (upload) => guard(inner.abortUpload(upload)),
  }
}

test("a crash between any two writes of a spooled save leaves the old snapshot or the new one", async () => {
  for (let n = 1;; n++) {
    const inner = await Effect.runPromise(Memory.make())
    await using whole = await openBackend(Effect.succeed(inner))
    await new SnapshotStore(whole).snapshot("a", "old")
    await using store = await openBackend(Effect.succeed(dying(inner, n)), { policy: { retry: "none" } })
    const saved = await new SnapshotStore(store).saveStream("a", new Blob(['"new"']).stream()).catch(() => undefined)
    const { state } = await new SnapshotStore(whole).restore("a")
    expect(state).toBe(n < 3 ? "old" : "new")
    const listed: Array<string> = []
    for await (const { path } of new SnapshotStore(whole).listSnapshots()) listed.push(path)
    expect(listed).toEqual(["a"])
    if (saved !== undefined && n > 3) break
  }
})

test("a connection that breaks is healed in the middle of a stream", async () => {
  const { store, watched } = await memory({ rules: [{ on: "get", nth: 1, fault: cut(5000) }] })
  await using _ = store
  await using healing = await openBackend(Effect.succeed(watched.backend))
  const words = Array.from({ length: 5000 }, () => crypto.randomUUID())
  await new SnapshotStore(store).snapshot("a", words)
  const { body } = await new SnapshotStore(healing).loadStream("a")
  expect(await new Response(body).json()).toEqual(words)
  expect(watched.calls("get")).toBe(2)
})

test("a stream that is given up, and a call that is aborted, leave nothing open", async () => {
  const { store, watched } = await memory()
  await using _ = store
  const snapshots = new SnapshotStore(store)
  const words = Array.from({ length: 50_000 }, () => crypto.randomUUID())
  await snapshots.snapshot("a", words)
  const { body } = await snapshots.loadStream("a")
  const reader = body.getReader()
  await reader.read()
  await reader.cancel()
  await failure(snapshots.loadStream("a", { encryptionKey: new Uint8Array(32), signal: AbortSignal.abort() }))
  await snapshots.getMetadata("a")
  let cancelled = false
  const endless = new ReadableStream<Uint8Array>({
    pull: (controller) => controller.error(new Error("no more")),
    cancel: () => {
      cancelled = true
    },
  })
  await failure(snapshots.saveStream("b", endless))
  await failure(snapshots.saveStream(
    "b",
    new ReadableStream<Uint8Array>({
      pull: (controller) => controller.enqueue(new TextEncoder().encode("[1,,")),
      cancel: () => {
        cancelled = true
      },
    }),
  ))
  expect(cancelled).toBe(true)
  expect(watched.bodies().open).toBe(0)
})

class Model extends Serializable {
  lc_namespace = ["tests"]
  override lc_serializable = true
  override get lc_secrets(): Record<string, string> {
    return { apiKey: "MODEL_API_KEY" }
  }
  readonly apiKey: string
  constructor(fields: { apiKey: string; model: string }) {
    super(fields)
    this.apiKey = fields.apiKey
  }
}

test("row 117: an object of LangChain is stored as it says itself, without its secret", async () => {
  const { store } = await memory()
  await using _ = store
  const snapshots = new SnapshotStore(store)
  const agent = { llm: new Model({ apiKey: "sk-very-secret", model: "m1" }), history: [new AIMessage("hello")] }
  await snapshots.snapshot("agent", agent)
  const text = await gunzip(await (await store.load("agent")).bytes())
  expect(text).not.toContain("sk-very-secret")
  const { state } = await snapshots.restore<
    { llm: { kwargs: Record<string, unknown> }; history: Array<{ id: unknown }> }
  >(
    "agent",
  )
  expect(state.llm).toMatchObject({ lc: 1, type: "constructor", kwargs: { model: "m1" } })
  expect(Object.values(state.llm.kwargs)).toContainEqual({ lc: 1, type: "secret", id: ["MODEL_API_KEY"] })
  expect(state.history[0]).toMatchObject({ lc: 1, type: "constructor" })
})

test("row 120: a health check tells credentials, permission, bucket and network apart", async () => {
  const expected = {
    Unauthorized: "credentials",
    Forbidden: "permission",
    Config: "bucket",
    Unavailable: "network",
    Timeout: "network",
    Protocol: "other",
  } as const
  for (const [reason, status] of Object.entries(expected)) {
    const error = new StoreError({ reason: reason as keyof typeof expected, detail: "as the test asked" })
    const { store, watched } = await memory({ rules: [{ on: "list", fault: fail(error) }] })
    await using _ = store
    const health = await new SnapshotStore(store).healthCheck()
    expect(health.status).toBe(status)
    expect(health.error?.reason).toBe(error.reason)
    expect(watched.calls("list")).toBe(1)
  }
})

test("the service is had from a layer", async () => {
  const program = Effect.gen(function* () {
    const snapshots = yield* Snapshots
    yield* snapshots.snapshot("a", sample)
    return (yield* snapshots.restore("a")).state
  })
  const layer = Layer.provide(Snapshots.layer(), Memory.layer())
  expect(await Effect.runPromise(Effect.provide(program, layer))).toEqual(sample)
})

/** Saves and loads a stream of so many MiB on disk in a process of its own; returns its peak of resident memory. */
const peakOf = async (mebibytes: number, folder: string): Promise<number> => {
  const worker = fileURLToPath(new URL("snapshot-memory-testing.ts", import.meta.url))
  const flags = "Deno" in globalThis ? ["run", "--no-check", "-A"] : []
  const { stdout } = await new Promise<{ stdout: string }>((resolve, reject) =>
    execFile(
      process.execPath,
      [...flags, worker, folder, String(mebibytes)],
      (error, stdout, stderr) => error === null ? resolve({ stdout }) : reject(new Error(stderr)),
    )
  )
  return Number(stdout)
}

test("row 33: on a disk the memory of saving and loading does not grow with the snapshot", async () => {
  const folder = await mkdtemp(join(tmpdir(), "holdfast-snapshots-"))
  try {
    const small = await peakOf(32, folder)
    const large = await peakOf(192, folder)
    expect(large - small).toBeLessThan(96 * 2 ** 20)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}, 60_000)

test("a signal ends a save while the source is still being hashed", async () => {
  const { store } = await memory()
  await using _ = store
  const controller = new AbortController()
  let pieces = 0
  const source = () =>
    new ReadableStream<Uint8Array>({
      pull: (stream) => {
        stream.enqueue(new TextEncoder().encode(`${pieces === 0 ? "[0" : ""}${",1".repeat(50_000)}`))
        if (++pieces === 3) controller.abort()
      },
    })
  const error = await failure(new SnapshotStore(store).saveStream("a", source, { signal: controller.signal }))
  expect(error.reason).toBe("Aborted")
  expect(await store.exists("a")).toBe(false)
})

test("a large object that is no snapshot is found out by its first bytes", async () => {
  const { store, watched } = await memory()
  await using _ = store
  await store.save("large", new Uint8Array(10 * 2 ** 20).fill(65), { compression: "none" })
  for await (const { error } of new SnapshotStore(store).listSnapshots()) expect(error?.reason).toBe("Corrupt")
  expect(watched.calls("get")).toBe(1)
})
