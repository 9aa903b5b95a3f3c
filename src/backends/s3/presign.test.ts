import { expect, test } from "bun:test"
import * as Effect from "effect/Effect"
import { bytes, expectBytes, expectReason, putOptions } from "../conformance.ts"
import { minPartSize, open } from "./testing.ts"

const run = Effect.runPromise
const data = bytes(6, 100)

test("presign() makes requests that work without credentials, until they expire", async () => {
  const { peer, backend } = await run(open({ prefix: "p" }))
  const key = "a b?#%+é/ü"
  const put = await run(backend.presign!("PUT", key, { expires: 60, contentType: "text/plain" }))
  expect(put.headers).toEqual({ "content-type": "text/plain" })
  expect((await peer.fetch(put.url, { method: "PUT", body: data, headers: put.headers })).status).toBe(200)
  expectBytes(peer.object("test", `p/${key}`)!.bytes, data, "the object")
  const get = await run(
    backend.presign!("GET", key, {
      expires: 60,
      responseContentType: "text/html",
      responseContentDisposition: 'attachment; filename="ü.txt"',
    }),
  )
  const answer = await peer.fetch(get.url)
  expect([answer.status, answer.headers.get("content-type")]).toEqual([200, "text/html"])
  expectBytes(new Uint8Array(await answer.arrayBuffer()), data, "the answer")
  const head = await run(backend.presign!("HEAD", key, { expires: 60 }))
  expect((await peer.fetch(head.url, { method: "HEAD" })).status).toBe(200)
  const remove = await run(backend.presign!("DELETE", key, { expires: 60 }))
  expect((await peer.fetch(remove.url, { method: "DELETE" })).status).toBe(204)
  expect(peer.object("test", `p/${key}`)).toBeUndefined()
  expect(Math.abs(get.expires.getTime() - Date.now() - 60_000)).toBeLessThan(30_000)
  const before = peer.requests.length
  peer.moveClock(61_000)
  expect((await peer.fetch(get.url)).status).toBe(403)
  expect(peer.requests.length).toBe(before + 1)
})

test("presign() signs a part of an upload", async () => {
  const { peer, backend } = await run(open())
  const upload = await run(backend.createUpload("k", { writeId: "w" }))
  const piece = bytes(1, minPartSize)
  const { url, headers } = await run(backend.presign!("PUT", "k", { expires: 60, part: { upload, number: 1 } }))
  expect((await peer.fetch(url, { method: "PUT", body: piece, headers })).status).toBe(200)
  const stored = await run(backend.listParts!(upload))
  const { crc32 } = putOptions(piece)
  await run(backend.completeUpload(upload, stored, { size: minPartSize, crc32 }))
  expectBytes(peer.object("test", "k")!.bytes, piece, "the object")
})

test("fault 132: what cannot be presigned is refused, and a URL works for its method, key and headers alone", async () => {
  const { peer, backend } = await run(open())
  for (const expires of [0, -1, 1.5, 604_801, NaN]) {
    await run(expectReason(backend.presign!("GET", "k", { expires }), "InvalidInput"))
  }
  await run(backend.presign!("GET", "k", { expires: 604_800 }))
  const upload = { id: "u", key: "k" }
  await run(expectReason(backend.presign!("GET", "k", { expires: 1, contentType: "a/b" }), "InvalidInput"))
  await run(expectReason(backend.presign!("GET", "k", { expires: 1, part: { upload, number: 1 } }), "InvalidInput"))
  await run(expectReason(backend.presign!("PUT", "k", { expires: 1, responseContentType: "a/b" }), "InvalidInput"))
  const anonymous = await run(open({ credentials: "anonymous", peer: { anonymous: true } }))
  await run(expectReason(anonymous.backend.presign!("GET", "k", { expires: 1 }), "Unauthorized"))
  await run(backend.put("k", data, putOptions(data)))
  await run(backend.put("other", data, putOptions(data)))
  const { url } = await run(backend.presign!("GET", "k", { expires: 60 }))
  expect((await peer.fetch(url)).status).toBe(200)
  expect((await peer.fetch(url, { method: "DELETE" })).status).toBe(403)
  expect((await peer.fetch(url.replace("/k?", "/other?"))).status).toBe(403)
  const put = await run(backend.presign!("PUT", "k", { expires: 60, contentType: "text/plain" }))
  const wrong = await peer.fetch(put.url, { method: "PUT", body: data, headers: { "content-type": "text/html" } })
  expect(wrong.status).toBe(403)
})
