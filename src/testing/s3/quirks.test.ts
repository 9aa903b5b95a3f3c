/** What the profiles say of the services, each fact as a client would find it. */
import { expect, test } from "bun:test"
import { type Ask, field, openPeer } from "./client-testing.ts"
import { makeS3Peer, peerQuirks, type S3PeerOptions } from "./mod.ts"

const profile = (quirks: keyof typeof peerQuirks, options: S3PeerOptions = {}) => openPeer({ quirks, ...options })

/** Uploads `parts` to `k` and completes. */
const upload = async (ask: Ask, parts: ReadonlyArray<string>, headers: Record<string, string> = {}) => {
  const id = field((await ask("POST k?uploads")).text, "UploadId")!
  const etags: Array<string> = []
  for (const [i, body] of parts.entries()) {
    etags.push((await ask(`PUT k?partNumber=${i + 1}&uploadId=${id}`, { body })).headers.get("etag")!)
  }
  const list = etags.map((etag, i) => `<Part><ETag>${etag}</ETag><PartNumber>${i + 1}</PartNumber></Part>`)
  const complete = (order = list) =>
    ask(`POST k?uploadId=${id}`, {
      headers,
      body: `<CompleteMultipartUpload>${order.join("")}</CompleteMultipartUpload>`,
    })
  return { complete, list }
}

test("every profile names itself", () => {
  for (const [name, quirks] of Object.entries(peerQuirks)) expect(quirks.name).toBe(name)
})

test("fault 37: r2 demands equal parts, the last one may be smaller", async () => {
  const { ask } = profile("r2")
  expect((await (await upload(ask, ["12345", "1234", "1"])).complete()).code).toBe("InvalidPart")
  expect((await (await upload(ask, ["1234", "12345"])).complete()).code).toBe("InvalidPart")
  expect((await (await upload(ask, ["12345", "12345", "1"])).complete()).status).toBe(200)
})

test("r2 has no versions, knows only quoted etags, and answers 401 to unknown keys", async () => {
  const { ask } = profile("r2")
  expect((await ask("GET ?versioning")).status).toBe(501)
  const { headers } = await ask("PUT k", { body: "x" })
  const etag = headers.get("etag")!
  expect((await ask("PUT k", { body: "y", headers: { "if-match": etag.replaceAll('"', "") } })).status).toBe(500)
  expect((await ask("PUT k", { body: "y", headers: { "if-match": etag } })).status).toBe(200)
  const peer = makeS3Peer({ quirks: "r2", clock: () => Date.UTC(2026, 0, 2) })
  const response = await peer.fetch("http://127.0.0.1/test/k", {
    headers: {
      "x-amz-date": "20260102T000000Z",
      "x-amz-content-sha256": "UNSIGNED-PAYLOAD",
      authorization:
        "AWS4-HMAC-SHA256 Credential=nobody/20260102/us-east-1/s3/aws4_request,SignedHeaders=host,Signature=0",
    },
  })
  expect([response.status, field(await response.text(), "Code")]).toEqual([401, "Unauthorized"])
})

test("fault 45: r2 folds keys to their composed form", async () => {
  const { ask, peer } = profile("r2")
  await ask(`PUT ${encodeURIComponent("u\u0308")}`, { body: "x" })
  expect(peer.object("test", "\u00fc")).toBeDefined()
  expect((await ask(`GET ${encodeURIComponent("u\u0308")}`)).text).toBe("x")
})

test("fault 30: ceph16 ignores conditions but those of PutObject and reads", async () => {
  const { ask } = profile("ceph16")
  const etag = (await ask("PUT k", { body: "x" })).headers.get("etag")!
  expect((await ask("PUT k", { body: "y", headers: { "if-none-match": "*" } })).code).toBe("PreconditionFailed")
  expect((await ask("PUT k", { body: "x", headers: { "if-match": etag } })).code).toBe("PreconditionFailed")
  expect((await ask("PUT k", { body: "x", headers: { "if-match": etag.replaceAll('"', "") } })).status).toBe(200)
  expect((await ask("GET k", { headers: { "if-match": '"no"' } })).status).toBe(412)
  const copy = { "x-amz-copy-source": "/test/k", "x-amz-copy-source-if-match": '"no"', "if-match": '"no"' }
  expect((await ask("PUT c", { headers: copy })).status).toBe(200)
  expect((await ask("DELETE c", { headers: { "if-match": '"no"' } })).status).toBe(204)
  expect((await (await upload(ask, ["hello"], { "if-none-match": "*" })).complete()).status).toBe(200)
})

test("ceph16 completes with an empty etag, in any order, and twice", async () => {
  const { ask } = profile("ceph16")
  const { complete, list } = await upload(ask, ["hello", "x"])
  const done = await complete(list.toReversed())
  expect([done.status, field(done.text, "ETag")]).toEqual([200, ""])
  expect((await complete()).text).toBe(done.text)
  expect((await ask("GET k")).text).toBe("hellox")
  expect((await ask("GET k?partNumber=1")).text).toBe("hellox")
})

test("fault 39: ceph16 ignores checksums, refuses trailers, and answers attributes with the object", async () => {
  const { ask } = profile("ceph16")
  const put = await ask("PUT k", { body: "hello", headers: { "x-amz-checksum-crc32": "AAAAAA==" } })
  expect([put.status, put.headers.get("x-amz-checksum-crc32")]).toEqual([200, null])
  expect((await ask("GET k", { headers: { "x-amz-checksum-mode": "ENABLED" } })).headers.get("x-amz-checksum-type"))
    .toBeNull()
  expect((await ask("GET k?attributes", { headers: { "x-amz-object-attributes": "ETag" } })).text).toBe("hello")
  const trailer = {
    "x-amz-content-sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
    "x-amz-decoded-content-length": "1",
    "x-amz-trailer": "x-amz-checksum-crc32",
  }
  const body = "1\r\nx\r\n0\r\nx-amz-checksum-crc32:jNwWgw==\r\n\r\n"
  expect((await ask("PUT k", { body, headers: trailer })).code).toBe("XAmzContentSHA256Mismatch")
  expect((await profile("generic").ask("PUT k", { body, headers: trailer })).status).toBe(501)
  expect((await profile("aws").ask("PUT k", { body, headers: trailer })).status).toBe(200)
  const sse = await ask("PUT k", { body: "x", headers: { "x-amz-server-side-encryption": "AES256" } })
  expect([sse.status, sse.headers.get("x-amz-server-side-encryption")]).toEqual([200, null])
})

test("fault 46: minio has no key below another", async () => {
  const { ask } = profile("minio")
  await ask("PUT a", { body: "x" })
  expect((await ask("PUT a/b", { body: "x" })).code).toBe("XMinioParentIsObject")
  await ask("PUT c/d", { body: "x" })
  expect((await ask("PUT c", { body: "x" })).code).toBe("XMinioObjectExistsAsDirectory")
  await ask("DELETE a")
  expect((await ask("PUT a/b", { body: "x" })).status).toBe(200)
  expect((await profile("aws").ask("PUT a/b", { body: "x" })).status).toBe(200)
})

test("fault 30: generic ignores every condition on a write", async () => {
  const { ask } = profile("generic")
  await ask("PUT k", { body: "x" })
  expect((await ask("PUT k", { body: "y", headers: { "if-none-match": "*" } })).status).toBe(200)
  expect((await ask("PUT k", { body: "y", headers: { "if-match": '"no"' } })).status).toBe(200)
  expect((await ask("GET ?versions")).status).toBe(501)
})
