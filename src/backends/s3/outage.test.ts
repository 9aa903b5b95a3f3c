/**
 * A snapshot goes through Ceph's gateway, which is killed in the middle of the save, while it completes an upload, and
 * in the middle of the load, and comes back a while later. 256 MiB; `HOLDFAST_SOAK=1`: 4 GiB.
 */
import { afterAll, expect, test } from "bun:test"
import { createHash } from "node:crypto"
import process from "node:process"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import { onlyOn } from "../../../scripts/only-on.ts"
import { startServers } from "../../../scripts/servers/mod.ts"
import type { Server } from "../../../scripts/servers/server.ts"
import type { StoreError } from "../../error.ts"
import { openBackend, type Store } from "../../store.ts"
import { bytes, expectBytes } from "../conformance.ts"
import * as S3 from "./mod.ts"

const MiB = 2 ** 20
const size = (process.env["HOLDFAST_SOAK"] === "1" ? 4096 : 256) * MiB

const onDeno = "Deno" in globalThis
const { servers: [ceph], missing } = onDeno ? { servers: [], missing: [] } : await startServers(["ceph"])
afterAll(() => ceph?.stop())

/** What a user would write who would rather wait than fail: for a minute, at most three seconds apart. */
const patient = Schedule.exponential("100 millis").pipe(
  Schedule.setInputType<StoreError>(),
  Schedule.modifyDelay(({ duration }) => Effect.succeed(Duration.min(duration, Duration.seconds(3)))),
  Schedule.upTo({ duration: "60 seconds" }),
)

/**
 * An outage that begins when `reached` is called, and ends when some requests have failed for it, or when `over` is
 * asked for, which rejects if the gateway did not come back.
 */
const makeOutage = (server: Server) => {
  let failures = 0
  let enough = (): void => {}
  const noticed = new Promise<void>((resolve) => void (enough = resolve))
  let over: Promise<void> | undefined
  return {
    reached: (): void => {
      over ??= server.kill().then(() => noticed).then(() => server.restart())
      // Looked at when the save or load has ended, unless that has failed already.
      over.catch(() => undefined)
    },
    failed: (): void => {
      if (over !== undefined && ++failures === 3) enough()
    },
    over: async (): Promise<void> => {
      if (over === undefined) throw new Error("the outage has not begun")
      enough()
      await over
    },
  }
}

/** The snapshot: as a stream of unknown length whose pieces are all different. */
const snapshot = async function* (hash: ReturnType<typeof createHash>): AsyncGenerator<Uint8Array> {
  const piece = bytes(1, MiB)
  const stamp = new DataView(piece.buffer)
  for (let at = 0; at < size; at += MiB) {
    stamp.setUint32(0, at / MiB)
    hash.update(piece)
    yield piece.slice()
  }
}

const why = missing[0]?.why
const add: ReturnType<typeof onlyOn> = why === undefined
  ? onlyOn("bun", "it is the engine that goes on, whatever runs it")
  : (title, body) => test.skip(`${title} (skipped: ${why})`, body)

/** A store on the gateway for a patient user. `sent` comes between a request and its answer. */
const openWatched = (
  { endpoint, region, bucket, credentials, profile }: Server,
  watch: { readonly sent?: (method: string | undefined, url: string) => Promise<void>; readonly failed: () => void },
): Promise<Store> => {
  const watched = async (url: string, init: RequestInit): Promise<Response> => {
    const [answer] = await Promise.allSettled([fetch(url, init), watch.sent?.(init.method, url)])
    if (answer.status === "fulfilled") return answer.value
    watch.failed()
    throw answer.reason
  }
  const backend = S3.make({ endpoint, region, bucket, credentials, profile, fetch: watched })
  return openBackend(backend, { compression: "none", policy: { retry: patient } })
}

const uploadsOf = async (store: Store): Promise<ReadonlyArray<string>> => {
  const keys: Array<string> = []
  for await (const { key } of store.uploads()) keys.push(key)
  return keys
}

add(`${size / MiB} MiB survive a gateway that is killed and restarted during save and load`, async () => {
  let outage = makeOutage(ceph!)
  await using store = await openWatched(ceph!, { failed: () => outage.failed() })

  const saved = createHash("sha256")
  const info = await store.save("snapshot", snapshot(saved), {
    onProgress: ({ bytes: stored }) => {
      if (stored > size / 3) outage.reached()
    },
  })
  await outage.over()
  expect(info.size).toBe(size)
  expect(await uploadsOf(store)).toEqual([])

  outage = makeOutage(ceph!)
  const loaded = createHash("sha256")
  let length = 0
  for await (const chunk of (await store.load("snapshot")).body) {
    loaded.update(chunk)
    length += chunk.length
    if (length > size / 3) outage.reached()
  }
  await outage.over()
  expect(length).toBe(size)
  expect(loaded.digest("hex")).toBe(saved.digest("hex"))
}, 600_000)

add("fault 27: a gateway that is killed while it completes an upload loses nothing and leaves no upload", async () => {
  // Before, while or after it does so: whatever it was at, the outcome is the same.
  for (const wait of [1, 3, 9]) {
    const outage = makeOutage(ceph!)
    const sent = async (method: string | undefined, url: string): Promise<void> => {
      if (method !== "POST" || !url.includes("uploadId=")) return
      await new Promise((resolve) => setTimeout(resolve, wait))
      outage.reached()
    }
    await using store = await openWatched(ceph!, { sent, failed: outage.failed })
    const data = bytes(wait, 12 * MiB)
    const info = await store.save("completed", data, { partSize: 5 * MiB })
    await outage.over()
    expect(info.size).toBe(data.length)
    expectBytes(await (await store.load("completed", { ifMatch: info.etag })).bytes(), data, "the object")
    expect(await uploadsOf(store)).toEqual([])
  }
}, 180_000)
