/**
 * The cases of the snapshot store, on every kind of place.
 *
 * @module
 */
import { expect } from "bun:test"
import { StoreError } from "../error.ts"
import { decodeGzip } from "../streams/gzip.ts"
import { SnapshotStore, suggestedFilename } from "./snapshots.ts"
import type { SeedCase, Suite } from "./testing.ts"

/** A state with everything that JSON has. */
export const sample: Readonly<Record<string, unknown>> = {
  name: "bot",
  messages: [{ role: "user", content: 'hé "llo"\n\u0007 😀' }, { role: "assistant", content: "" }],
  numbers: [0, -1, 1.5, 0.1, 1e21, 1e-7, 9007199254740991, 0.015322196386518173],
  nothing: null,
  yes: true,
  "～": { z: [], y: {} },
  "😀": 1,
}

/** What a promise rejects with. */
export const failure = async (promise: Promise<unknown>): Promise<StoreError> => {
  const error = await promise.then(() => undefined, (error: unknown) => error)
  if (!StoreError.is(error)) throw new Error(`a StoreError was expected, not ${error}`)
  return error
}

/** What gzip holds. */
export const gunzip = async (bytes: Uint8Array): Promise<string> => {
  let given: Uint8Array | undefined = bytes
  const pull = () => {
    const next = given
    given = undefined
    return Promise.resolve(next)
  }
  const pieces: Array<Uint8Array<ArrayBuffer>> = []
  for await (const piece of decodeGzip(pull)) pieces.push(new Uint8Array(piece))
  return await new Blob(pieces).text()
}

const key = new Uint8Array(32).fill(7)

const collect = async <A>(items: AsyncIterable<A>): Promise<Array<A>> => {
  const all: Array<A> = []
  for await (const item of items) all.push(item)
  return all
}

/** Random bytes of JSON that do not compress away. */
const bigJson = (size: number): string => {
  const words: Array<string> = []
  for (let length = 0; length < size; length += 37) words.push(crypto.randomUUID())
  return JSON.stringify({ words })
}

const cases: ReadonlyArray<SeedCase> = [
  {
    rows: [28, 114],
    name: "a snapshot is one gzip file of the container's JSON, and needs no option to be restored",
    run: async (store) => {
      const snapshots = new SnapshotStore(store)
      const saved = await snapshots.snapshot("a/b.json.gz", sample)
      const bytes = await (await store.load("a/b.json.gz")).bytes()
      expect([...bytes.subarray(0, 2)]).toEqual([0x1f, 0x8b])
      const text = await gunzip(bytes)
      const file = JSON.parse(text)
      expect(text).toMatch(
        /^\{"metadata":\{"agent_id":"default_agent",.*"compression_algorithm":"gzip"\},"agent_state":\{/,
      )
      expect(Object.keys(file)).toEqual(["metadata", "agent_state"])
      expect(file.agent_state).toEqual(sample)
      expect(Object.keys(file.metadata)).toEqual([
        "agent_id",
        "session_id",
        "snapshot_index",
        "timestamp",
        "content_hash",
        "format_version",
        "snapshot_id",
        "description",
        "uncompressed_size",
        "compressed_size",
        "compression_algorithm",
      ])
      expect(file.metadata).toEqual({ ...saved.metadata, compressed_size: null })
      expect(saved.metadata.compressed_size).toBe(bytes.length)
      expect((await snapshots.restore("a/b.json.gz")).state).toEqual(sample)
    },
  },
  {
    rows: [105, 106, 116],
    name: "a snapshot has the metadata it was given, or Persist's defaults, and comes back equal",
    run: async (store) => {
      const snapshots = new SnapshotStore(store)
      const given = { agentId: "bot", sessionId: "s1", snapshotIndex: 7, description: "after training" }
      await snapshots.snapshot("given", sample, given)
      const restored = await snapshots.restore("given")
      expect(restored.state).toEqual(sample)
      expect(restored.metadata).toMatchObject({
        agent_id: "bot",
        session_id: "s1",
        snapshot_index: 7,
        description: "after training",
        format_version: 1,
        compression_algorithm: "gzip",
      })
      const { metadata } = await snapshots.snapshot("default", [])
      expect(metadata).toMatchObject({
        agent_id: "default_agent",
        session_id: "default_session",
        snapshot_index: 0,
        description: null,
      })
      expect(suggestedFilename(metadata)).toMatch(/^default_agent_default_session_0_\d{8}_\d{6}\.json\.gz$/)
      for (const state of [null, "text", 0, false, [], {}]) {
        await snapshots.snapshot("any", state)
        expect((await snapshots.restore("any")).state).toEqual(state)
      }
    },
  },
  {
    rows: [107, 115],
    name: "the hash is that of the normal form; a changed byte is found by restore, verify and a stream's end",
    run: async (store) => {
      const snapshots = new SnapshotStore(store)
      const { metadata } = await snapshots.snapshot("good", { b: 1, a: [0.5, "é"] })
      const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode('{"a":[0.5,"é"],"b":1}'))
      const hex = Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join("")
      expect(metadata.content_hash).toBe(hex)
      expect((await snapshots.verifySnapshot("good")).metadata.snapshot_id).toBe(metadata.snapshot_id)
      const text = await gunzip(await (await store.load("good")).bytes())
      await store.save("changed", text.replace("[0.5,", "[0.6,"), { compression: "none" })
      const message = new RegExp(`Integrity check failed: expected hash ${hex}, got [0-9a-f]{64}$`)
      for (const read of ["restore", "verifySnapshot"] as const) {
        const error = await failure(snapshots[read]("changed"))
        expect(error).toMatchObject({ reason: "Corrupt", key: "changed" })
        expect(error.detail).toMatch(message)
      }
      const { body } = await snapshots.loadStream("changed")
      expect((await failure(new Response(body).text())).detail).toMatch(message)
      const bytes = await (await store.load("good")).bytes()
      for (let at = 0; at < bytes.length; at += 7) {
        const damaged = bytes.slice()
        damaged[at]! ^= 0x10
        await store.save("damaged", damaged, { compression: "none" })
        // Some bits of gzip mean nothing, such as those of the time in its header.
        const read = await snapshots.restore("damaged").catch((error: StoreError) => error.reason)
        if (typeof read === "object") expect(read.state).toEqual({ b: 1, a: [0.5, "é"] })
        else expect(["Corrupt", "Truncated", "Unsupported"]).toContain(read)
      }
      const wrongSum = bytes.slice()
      wrongSum[bytes.length - 6]! ^= 0x10
      await store.save("damaged", wrongSum, { compression: "none" })
      expect((await failure(snapshots.verifySnapshot("damaged"))).reason).toBe("Corrupt")
      await store.save("cut", bytes.subarray(0, bytes.length - 9), { compression: "none" })
      expect((await failure(snapshots.restore("cut"))).reason).toBe("Truncated")
    },
  },
  {
    rows: [108],
    name: "getMetadata says what the snapshot says about itself, also when the description is a long one",
    run: async (store) => {
      const snapshots = new SnapshotStore(store)
      const description = Array.from({ length: 2000 }, () => crypto.randomUUID()).join(" ")
      for (
        const options of [{}, { description }, { description, encryptionKey: key }, { compression: "store" } as const]
      ) {
        const saved = await snapshots.snapshot("long", sample, options)
        expect(await snapshots.getMetadata("long", options)).toEqual(saved)
      }
      const { metadata } = await snapshots.snapshot("short", sample, { agentId: "bot" })
      expect(Object.keys(metadata)).toContain("snapshot_id")
      expect(Math.abs(Date.parse(metadata.timestamp) - Date.now())).toBeLessThan(3_600_000)
      expect((await failure(snapshots.getMetadata("gone"))).reason).toBe("NotFound")
    },
  },
  {
    rows: [109, 110, 177],
    name: "a snapshot exists until it is deleted; deleting a missing one is fine, restoring it is not",
    run: async (store) => {
      const snapshots = new SnapshotStore(store)
      expect(await snapshots.snapshotExists("a")).toBe(false)
      expect((await failure(snapshots.restore("a"))).reason).toBe("NotFound")
      await snapshots.snapshot("a", 1)
      expect(await snapshots.snapshotExists("a")).toBe(true)
      await snapshots.deleteSnapshot("a")
      await snapshots.deleteSnapshot("a")
      expect(await snapshots.snapshotExists("a")).toBe(false)
    },
  },
  {
    rows: [118],
    name: "what is to be left out is neither hashed nor stored",
    run: async (store) => {
      const snapshots = new SnapshotStore(store)
      const state = {
        user: { email: "a@b.c", name: "Ada" },
        tools: [{ id: 1, token: "t0ken" }, { id: 2, token: "t0ken" }],
      }
      const kept = { user: { name: "Ada" }, tools: [{ id: 1 }, { id: 2 }] }
      const plain = await snapshots.snapshot("kept", kept)
      const dropped = await snapshots.snapshot("dropped", state, { redact: ["user.email", "tools.*.token"] })
      expect(dropped.metadata.content_hash).toBe(plain.metadata.content_hash)
      const text = await gunzip(await (await store.load("dropped")).bytes())
      expect(text).not.toContain("t0ken")
      await snapshots.snapshot("masked", state, {
        redact: (value, path) => path.at(-1) === "token" ? "***" : path.at(-1) === "email" ? undefined : value,
      })
      expect((await snapshots.restore("masked")).state).toEqual({
        user: { name: "Ada" },
        tools: [{ id: 1, token: "***" }, { id: 2, token: "***" }],
      })
      expect((await failure(snapshots.snapshot("none", 1, { redact: () => undefined }))).reason).toBe("InvalidInput")
    },
  },
  {
    rows: [32, 119],
    name: "with a key what is stored says nothing, another key is refused, and every changed bit is found",
    run: async (store) => {
      const plain = new SnapshotStore(store)
      const snapshots = new SnapshotStore(store, { encryptionKey: key })
      const big = { text: bigJson(150_000) }
      for (const state of ["secret words", big]) {
        await snapshots.snapshot("secret", state, { agentId: "hidden agent" })
        const bytes = await (await store.load("secret")).bytes()
        expect([...bytes.subarray(0, 2)]).not.toEqual([0x1f, 0x8b])
        expect(new TextDecoder("latin1").decode(bytes)).not.toMatch(/hidden|secret words|agent_state/)
        expect((await snapshots.restore("secret")).state).toEqual(state)
        expect(await new Response((await snapshots.loadStream("secret")).body).json()).toEqual(state)
        expect((await snapshots.getMetadata("secret")).metadata.agent_id).toBe("hidden agent")
        for (const encryptionKey of [undefined, new Uint8Array(32)]) {
          for (const read of ["restore", "getMetadata"] as const) {
            expect((await failure(plain[read]("secret", { encryptionKey }))).reason).toBe("Unauthorized")
          }
        }
        for (let at = 8; at < bytes.length; at += Math.ceil(bytes.length / 20)) {
          const damaged = bytes.slice()
          damaged[at]! ^= 1
          await store.save("damaged", damaged, { compression: "none" })
          expect(["Corrupt", "Unauthorized"]).toContain((await failure(snapshots.restore("damaged"))).reason)
        }
        for (const length of [bytes.length - 1, bytes.length - 17, 41, 40, 9]) {
          await store.save("damaged", bytes.subarray(0, length), { compression: "none" })
          expect(["Corrupt", "Truncated"]).toContain((await failure(snapshots.restore("damaged"))).reason)
        }
      }
      await plain.snapshot("open", sample)
      expect((await snapshots.restore("open")).state).toEqual(sample)
      const short = new SnapshotStore(store, { encryptionKey: new Uint8Array(16) })
      expect((await failure(short.snapshot("short", 1))).reason).toBe("InvalidInput")
    },
  },
  {
    rows: [120],
    name: "a health check of a store that is there says ok, and changes nothing",
    run: async (store) => {
      expect(await new SnapshotStore(store).healthCheck()).toEqual({ status: "ok", error: undefined })
      expect(await collect(store.list())).toEqual([])
    },
  },
  {
    rows: [],
    name: "a stream is saved from any source, as the same file that its value makes, and leaves nothing beside it",
    run: async (store) => {
      const snapshots = new SnapshotStore(store)
      const json = `\n {"b": [1, 2 ],"a":{"z":1.0,"a":"\\u0041"}} `
      const normal = '{"a":{"a":"A","z":1.0},"b":[1,2]}'
      const bytes = new TextEncoder().encode(json)
      const pieces = async function* () {
        for (const byte of bytes) yield Uint8Array.of(byte)
      }
      const sources = [
        json,
        bytes,
        new Blob([bytes]),
        () => json,
        new Blob([bytes]).stream(),
        pieces(),
        new Response(json),
      ]
      const hashes = new Set<string>()
      for (const source of sources) {
        const { metadata } = await snapshots.saveStream("streamed", source)
        expect(metadata.uncompressed_size).toBe(normal.length)
        hashes.add(metadata.content_hash)
        const { body } = await snapshots.loadStream("streamed")
        expect(await new Response(body).text()).toBe(normal)
      }
      expect(hashes.size).toBe(1)
      expect((await collect(store.list())).map(({ key }) => key)).toEqual(["streamed"])
    },
  },
  {
    rows: [],
    name: "numbers that JavaScript cannot hold come back from a stream as they were",
    run: async (store) => {
      const snapshots = new SnapshotStore(store)
      const json = '{"a":1.0,"b":18446744073709551615,"c":-9223372036854775808,"d":-0.0,"e":1e16}'
      await snapshots.saveStream("numbers", json)
      expect(await new Response((await snapshots.loadStream("numbers")).body).text()).toBe(json)
    },
  },
  {
    rows: [],
    name: "a source that is no JSON, fails, or changes between two readings saves nothing and leaves nothing",
    run: async (store) => {
      const snapshots = new SnapshotStore(store)
      await snapshots.snapshot("kept", "before")
      let reading = 0
      const changing = () => `{"a":${reading++}}`
      const failing = () =>
        new ReadableStream<Uint8Array>({
          pull: (controller) => controller.error(new Error("the disk is on fire")),
        })
      for (const source of ["", "{", '{"a":1}}', '{"a":01}', '"\\ud800"', '{"a":1e999}', "nul", '["\t"]', changing]) {
        expect((await failure(snapshots.saveStream("kept", source))).reason).toBe("InvalidInput")
      }
      expect((await failure(snapshots.saveStream("kept", new Blob(["[1,"]).stream()))).reason).toBe("InvalidInput")
      for (const source of [failing, failing()]) {
        const error = await failure(snapshots.saveStream("kept", source))
        expect(error.reason).toBe("Aborted")
        expect(error.message).toContain("the disk is on fire")
      }
      for (const state of [undefined, () => 1, 1n, "\ud800"]) {
        expect((await failure(snapshots.snapshot("kept", state))).reason).toBe("InvalidInput")
      }
      expect((await snapshots.restore("kept")).state).toBe("before")
      expect((await collect(store.list())).map(({ key }) => key)).toEqual(["kept"])
    },
  },
  {
    rows: [],
    name: "compare-and-swap: only the first create and the change of what was read succeed",
    run: async (store) => {
      const snapshots = new SnapshotStore(store)
      const first = await snapshots.snapshot("cas", 1, { ifNoneMatch: "*" })
      expect((await failure(snapshots.snapshot("cas", 2, { ifNoneMatch: "*" }))).reason).toBe("AlreadyExists")
      const second = await snapshots.saveStream("cas", "2", { ifMatch: first.etag })
      expect((await failure(snapshots.snapshot("cas", 3, { ifMatch: first.etag }))).reason).toBe("PreconditionFailed")
      expect(await snapshots.restore("cas")).toMatchObject({ state: 2, etag: second.etag })
    },
  },
  {
    rows: [],
    name: "writers that change one snapshot by compare-and-swap lose nothing",
    run: async (store, place) => {
      const rounds = place.name === "memory" ? 200 : 3
      const writers = place.name === "memory" ? 8 : 4
      await new SnapshotStore(store).snapshot("counter", 0)
      await Promise.all(Array.from({ length: writers }, async () => {
        await using own = await place.open()
        const snapshots = new SnapshotStore(own)
        for (let done = 0; done < rounds;) {
          const { state, etag } = await snapshots.restore<number>("counter")
          const written = await snapshots.snapshot("counter", state + 1, { ifMatch: etag }).catch((error) => {
            if (["PreconditionFailed", "Conflict"].includes(error.reason)) return undefined
            throw error
          })
          if (written !== undefined) done++
        }
      }))
      expect((await new SnapshotStore(store).restore("counter")).state).toBe(writers * rounds)
    },
  },
  {
    rows: [],
    name: "two stores on one place see each other's snapshots",
    run: async (store, place) => {
      await using other = await place.open()
      await new SnapshotStore(store).snapshot("shared", { by: 1 })
      expect((await new SnapshotStore(other).restore("shared")).state).toEqual({ by: 1 })
      await new SnapshotStore(other).snapshot("shared", { by: 2 })
      expect((await new SnapshotStore(store).restore("shared")).state).toEqual({ by: 2 })
    },
  },
  {
    rows: [],
    name: "what is no snapshot is Corrupt, names its key, and hides no other from a listing",
    run: async (store) => {
      const snapshots = new SnapshotStore(store)
      await snapshots.snapshot("in/a", sample, { agentId: "first" })
      await snapshots.snapshot("in/z", sample, { agentId: "last" })
      await snapshots.snapshot("out", sample)
      const good = await (await store.load("in/a")).bytes()
      const newer = '{"metadata":{"format_version":2,"other":true},"agent_state":1}'
      const foreign: Readonly<Record<string, readonly [body: string | Uint8Array, reason: string]>> = {
        "in/bytes": [Uint8Array.of(1, 2, 3), "Corrupt"],
        "in/cut": [good.subarray(0, 30), "Truncated"],
        "in/empty": ["", "Corrupt"],
        "in/half": ['{"metadata":{},"agent_state":1}', "Corrupt"],
        "in/json": ['{"hello":"world"}', "Corrupt"],
        "in/newer": [newer, "Unsupported"],
        "in/text": ["hello", "Corrupt"],
      }
      for (const [key, [body]] of Object.entries(foreign)) await store.save(key, body, { compression: "none" })
      for (const [key, [, reason]] of Object.entries(foreign)) {
        for (const read of ["restore", "verifySnapshot", "loadStream"] as const) {
          expect(await failure(snapshots[read](key))).toMatchObject({ key, reason })
        }
      }
      expect((await failure(snapshots.restore("in/newer"))).detail).toBe(
        "Incompatible snapshot format version: 2 (current: 1)",
      )
      const listed = await collect(snapshots.listSnapshots({ prefix: "in/" }))
      expect(listed.map(({ path }) => path)).toEqual(["in/a", ...Object.keys(foreign), "in/z"])
      expect(listed.map(({ metadata }) => metadata?.agent_id).filter(Boolean)).toEqual(["first", "last"])
      for (const { path, error } of listed.slice(1, -1)) expect(error).toMatchObject({ key: path })
    },
  },
  {
    rows: [],
    name: "a key that there cannot be is refused, and nothing is changed",
    run: async (store) => {
      const snapshots = new SnapshotStore(store)
      await snapshots.snapshot("kept", 1)
      for (const path of ["", "../x", "a/../b", "a\0b", "x".repeat(1025), "/../x"]) {
        const calls = [
          () => snapshots.snapshot(path, 1),
          () => snapshots.saveStream(path, new Blob(["1"]).stream()),
          () => snapshots.restore(path),
          () => snapshots.deleteSnapshot(path),
        ]
        for (const call of calls) expect((await failure(call())).reason).toBe("InvalidKey")
      }
      expect((await collect(store.list())).map(({ key }) => key)).toEqual(["kept"])
    },
  },
  {
    rows: [],
    name: "fields and orders that are not ours are read and kept: unknown metadata, space, the state first",
    run: async (store) => {
      const snapshots = new SnapshotStore(store)
      const { metadata } = await snapshots.snapshot("plain", { a: 1 })
      const extended = { ...metadata, tags: ["x"], compressed_size: null }
      const files = {
        extended: `{"metadata":${JSON.stringify(extended)},"agent_state":{"a":1}}`,
        spaced: JSON.stringify({ metadata: extended, more: [1, { b: 2 }], agent_state: { a: 1 } }, null, 2),
        reversed: JSON.stringify({ agent_state: { a: 1 }, metadata: extended }),
      }
      for (const [key, text] of Object.entries(files)) {
        await store.save(key, text, { compression: "none" })
        const restored = await snapshots.restore(key)
        expect(restored.state).toEqual({ a: 1 })
        expect(restored.metadata["tags"]).toEqual(["x"])
        expect((await snapshots.getMetadata(key)).metadata.snapshot_id).toBe(metadata.snapshot_id)
      }
      expect((await failure(snapshots.loadStream("reversed"))).reason).toBe("Unsupported")
    },
  },
  {
    rows: [],
    name: "every way to pack a snapshot is read without being told: gzip, none, the store's own",
    run: async (store) => {
      for (const compression of ["gzip", "none", "store"] as const) {
        const snapshots = new SnapshotStore(store, { compression })
        const { metadata } = await snapshots.snapshot(compression, sample)
        expect(metadata.compression_algorithm).toBe(compression === "gzip" ? "gzip" : "none")
        expect((await new SnapshotStore(store).restore(compression)).state).toEqual(sample)
        expect((await store.stat(compression)).codec === undefined).toBe(compression !== "store")
      }
      const both = new SnapshotStore(store, { compression: "store", encryptionKey: key })
      expect((await failure(both.snapshot("both", 1))).reason).toBe("InvalidInput")
    },
  },
  {
    rows: [],
    name: "metadata that Persist would refuse are refused before anything is written",
    run: async (store) => {
      const snapshots = new SnapshotStore(store)
      const wrong = [
        [{ agentId: "" }, "agent_id cannot be empty"],
        [{ sessionId: "" }, "session_id cannot be empty"],
        [{ snapshotIndex: -1 }, "snapshot_index is -1"],
        [{ snapshotIndex: 0.5 }, "snapshot_index is 0.5"],
        [{ description: "\ud800" }, "description is not well-formed"],
      ] as const
      for (const [options, detail] of wrong) {
        const error = await failure(snapshots.snapshot("a", 1, options))
        expect(error.reason).toBe("InvalidInput")
        expect(error.detail).toContain(detail)
      }
      expect(await snapshots.snapshotExists("a")).toBe(false)
    },
  },
  {
    rows: [50, 190],
    name: "many snapshots at once do not get in each other's way",
    run: async (store) => {
      const snapshots = new SnapshotStore(store)
      const names = Array.from({ length: 40 }, (_, i) => `many/${String(i).padStart(2, "0")}`)
      await Promise.all(names.map((name) => snapshots.snapshot(name, { name }, { agentId: name })))
      const states = await Promise.all(names.map((name) => snapshots.restore(name)))
      expect(states.map(({ state }) => state)).toEqual(names.map((name) => ({ name })))
      const listed = await collect(snapshots.listSnapshots())
      expect(listed.map(({ metadata }) => metadata?.agent_id)).toEqual(names)
    },
  },
]

/** The cases of the snapshot store. */
export const suite: Suite = { name: "snapshots", cases }
