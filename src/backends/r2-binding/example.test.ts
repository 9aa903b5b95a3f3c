/** The Worker of `examples/worker`, bundled as for Cloudflare and run in workerd. */
import { afterAll, expect, test } from "bun:test"
import { gzipSync } from "node:zlib"
import { bytes, expectBytes } from "../conformance.ts"
import { bundle, startWorker } from "./testing.ts"

const script = await bundle("examples/worker/index.ts")
const worker = await startWorker(script)
afterAll(worker.stop)

const ask = (path: string, init?: RequestInit): Promise<Response> => fetch(new URL(path, worker.origin), init)

const put = async (path: string, body: BodyInit, headers: Record<string, string> = {}) => {
  const reply = await ask(path, { method: "PUT", body, headers })
  await reply.body?.cancel()
  return { status: reply.status, etag: reply.headers.get("etag") ?? "" }
}

const size = gzipSync(script, { level: 9 }).length

/** Bytes of a bundle, gzipped, that it is to stay below. Cloudflare allows 3 MB. */
const most = 60_000

test(`the bundle has ${size} bytes gzipped, of at most ${most}`, () => {
  expect(size).toBeLessThanOrEqual(most)
})

test("the bundle imports nothing, and no module of node: by any other way", () => {
  expect(script).toContain("fetch")
  expect(script).not.toMatch(/(?:^|[;}\n])\s*import\s*[\w{*"']|\bfrom\s*"|\bimport\s*\(\s*["']|\brequire\s*\(/)
})

test("the Worker keeps an agent's state, and only who has seen the last one replaces it", async () => {
  const first = await put("agents/42", '{"step":1}', { "content-type": "application/json" })
  expect(first.status).toBe(201)
  const loaded = await ask("agents/42")
  expect(loaded.headers.get("etag")).toBe(first.etag)
  expect(loaded.headers.get("content-type")).toBe("application/json")
  expect(await loaded.json()).toEqual({ step: 1 })

  expect((await put("agents/42", '{"step":9}')).status).toBe(412)
  const second = await put("agents/42", '{"step":2}', { "if-match": first.etag })
  expect(second.status).toBe(201)
  expect((await put("agents/42", '{"step":9}', { "if-match": first.etag })).status).toBe(412)
  expect(await (await ask("agents/42")).json()).toEqual({ step: 2 })
})

test("what is not there is 404, and what cannot be a key is 400", async () => {
  const missing = await ask("agents/none")
  expect([missing.status, await missing.text()]).toEqual([
    404,
    'Cannot load "agents/none": there is no such object\n',
  ])
  const bad = await ask("%5C")
  expect([bad.status, (await bad.text()).includes("backslash")]).toEqual([400, true])
})

test("the Worker takes a state of some MiB and gives it back; one in several parts cannot have a condition", async () => {
  const data = bytes(7, 6 * 2 ** 20 + 1)
  expect((await put("agents/large", data)).status).toBe(201)
  const reply = await ask("agents/large")
  expectBytes(new Uint8Array(await reply.arrayBuffer()), data, "the state")
  expect((await put("agents/larger", bytes(8, 9 * 2 ** 20))).status).toBe(413)
})
