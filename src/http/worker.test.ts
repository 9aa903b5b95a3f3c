/** The Worker of `examples/hono-worker`, bundled as for Cloudflare and run in workerd. */
import { afterAll, expect, test } from "bun:test"
import { gzipSync } from "node:zlib"
import { bytes, expectBytes } from "../backends/conformance.ts"
import { make } from "../backends/http/mod.ts"
import { bundle, startWorker } from "../backends/r2-binding/testing.ts"
import { openBackend } from "../store.ts"

/** What `testing-worker.ts` gives the Worker as its secret. */
const token = "worker-test-token"
const MiB = 2 ** 20

const script = await bundle("src/http/testing-worker.ts")
const worker = await startWorker(script)
afterAll(worker.stop)

const ask = (path: string, init: RequestInit = {}, given: string | null = token): Promise<Response> =>
  fetch(new URL(path, worker.origin), {
    ...init,
    headers: {
      ...init.headers as Record<string, string>,
      ...(given === null ? {} : { authorization: `Bearer ${given}` }),
    },
  })

const status = async (reply: Promise<Response>): Promise<number> => {
  const { status, body } = await reply
  await body?.cancel()
  return status
}

const size = gzipSync(script, { level: 9 }).length
/** Bytes gzipped; Cloudflare allows 3 MB. */
const most = 77_000

test(`the bundle has ${size} bytes gzipped, of at most ${most}, and imports nothing`, () => {
  expect(size).toBeLessThanOrEqual(most)
  // Whether, and not where: nobody wants to see the whole script.
  expect(/(?:^|[;}\n])\s*import\s*[\w{*"']|\}\s*from\s*"|\bimport\s*\(\s*["']|\brequire\s*\(/.test(script)).toBe(false)
})

test("objects go in and out with conditions and ranges, for who has the token", async () => {
  const put = { method: "PUT", body: "hello", headers: { "if-none-match": "*", "content-type": "text/plain" } }
  expect(await status(ask("store/o/public/a", put))).toBe(201)
  expect(await status(ask("store/o/public/a", put))).toBe(412)
  const part = await ask("store/o/public/a", { headers: { range: "bytes=1-3" } })
  expect([part.status, part.headers.get("content-range"), await part.text()]).toEqual([206, "bytes 1-3/5", "ell"])
  expect(await status(ask("store/o/none"))).toBe(404)
  const page = await (await ask("store/l?prefix=public/")).json() as { objects: Array<{ key: string }> }
  expect(page.objects.map(({ key }) => key)).toEqual(["public/a"])
})

test("fault 144: without the token only what is public can be loaded", async () => {
  expect(await status(ask("store/o/public/b", { method: "PUT", body: "b" }))).toBe(200)
  expect(await status(ask("store/o/private", { method: "PUT", body: "c" }))).toBe(200)
  expect(await status(ask("store/o/public/b", {}, null))).toBe(200)
  expect(await status(ask("store/o/private", {}, null))).toBe(401)
  expect(await status(ask("store/o/private", {}, "wrong"))).toBe(403)
  expect(await status(ask("store/o/public/b", { method: "PUT", body: "x" }, "wrong"))).toBe(403)
  expect(await status(ask("store/l?prefix=public/", {}, null))).toBe(401)
})

test("another Holdfast saves a snapshot of several parts through it, and loads it again", async () => {
  await using store = await openBackend(make({ url: new URL("store", worker.origin), token }), { compression: "none" })
  const data = bytes(3, 20 * MiB + 1)
  const info = await store.save("snapshots/a", new Blob([data]).stream(), { contentType: "application/x-tar" })
  expect(info.size).toBe(data.length)
  const loaded = await store.load("snapshots/a")
  expect(loaded.info.contentType).toBe("application/x-tar")
  expectBytes(await loaded.bytes(), data, "the snapshot")
  await store.save("runs/1", JSON.stringify({ step: 1 }), { ifNoneMatch: "*" })
  const refused = await store.save("runs/1", "{}", { ifNoneMatch: "*" }).catch((error: { reason: string }) =>
    error.reason
  )
  expect(refused).toBe("AlreadyExists")
})
