import { expect, test } from "bun:test"
import { createHash } from "node:crypto"
import { field, openPeer } from "./client-testing.ts"

const md5 = (bytes: Uint8Array | string): string => createHash("md5").update(bytes).digest("base64")

const sse = "x-amz-server-side-encryption"

const customer = (byte: number, prefix = "x-amz"): Record<string, string> => {
  const key = new Uint8Array(32).fill(byte)
  return {
    [`${prefix}-server-side-encryption-customer-algorithm`]: "AES256",
    [`${prefix}-server-side-encryption-customer-key`]: key.toBase64(),
    [`${prefix}-server-side-encryption-customer-key-md5`]: md5(key),
  }
}

test("fault 123: a customer's key is checked, echoed by its MD5 and needed for every read", async () => {
  const { ask } = openPeer()
  const put = await ask("PUT k", { body: "hello", headers: customer(1) })
  expect(put.headers.get(`${sse}-customer-key-md5`)).toBe(md5(new Uint8Array(32).fill(1)))
  expect(put.headers.get(sse)).toBeNull()
  expect(put.headers.get("etag")).not.toBe('"5d41402abc4b2a76b9719d911017c592"')
  expect((await ask("GET k")).code).toBe("InvalidRequest")
  expect((await ask("HEAD k")).status).toBe(400)
  expect((await ask("GET k", { headers: customer(2) })).code).toBe("AccessDenied")
  expect((await ask("GET k", { headers: customer(1) })).text).toBe("hello")
  const wrong = { ...customer(1), [`${sse}-customer-key-md5`]: md5("x") }
  expect((await ask("GET k", { headers: wrong })).code).toBe("InvalidArgument")
  expect((await ask("PUT k", { body: "", headers: { ...customer(1), [sse]: "AES256" } })).code).toBe("InvalidArgument")
  await ask("PUT plain", { body: "hello" })
  expect((await ask("GET plain", { headers: customer(1) })).code).toBe("InvalidRequest")
})

test("fault 123: a customer's key goes with every part and with the source of a copy", async () => {
  const { ask } = openPeer()
  const id = field((await ask("POST k?uploads", { headers: customer(1) })).text, "UploadId")!
  expect((await ask(`PUT k?partNumber=1&uploadId=${id}`, { body: "x" })).code).toBe("InvalidRequest")
  const part = await ask(`PUT k?partNumber=1&uploadId=${id}`, { body: "x", headers: customer(1) })
  const list = `<Part><PartNumber>1</PartNumber><ETag>${part.headers.get("etag")}</ETag></Part>`
  const body = `<CompleteMultipartUpload>${list}</CompleteMultipartUpload>`
  expect((await ask(`POST k?uploadId=${id}`, { body })).status).toBe(200)
  const copy = { "x-amz-copy-source": "/test/k" }
  expect((await ask("PUT c", { headers: copy })).code).toBe("InvalidRequest")
  expect((await ask("PUT c", { headers: { ...copy, ...customer(1, "x-amz-copy-source") } })).status).toBe(200)
  expect((await ask("GET c")).text).toBe("x")
})

test("SSE-KMS: key, context and bucket key are echoed, and the etag is no MD5", async () => {
  const { ask } = openPeer({ kmsKeys: ["key-1"] })
  const context = btoa('{"a":"1"}')
  const headers = {
    [sse]: "aws:kms",
    [`${sse}-aws-kms-key-id`]: "key-1",
    [`${sse}-context`]: context,
    [`${sse}-bucket-key-enabled`]: "true",
  }
  const put = await ask("PUT k", { body: "hello", headers })
  expect(Object.keys(headers).map((name) => put.headers.get(name))).toEqual(Object.values(headers))
  expect(put.headers.get("etag")).not.toBe('"5d41402abc4b2a76b9719d911017c592"')
  const got = await ask("GET k")
  expect([got.headers.get(sse), got.headers.get(`${sse}-aws-kms-key-id`), got.headers.get(`${sse}-context`)])
    .toEqual(["aws:kms", "key-1", null])
  const unknown = { ...headers, [`${sse}-aws-kms-key-id`]: "key-2" }
  expect((await ask("PUT k", { body: "", headers: unknown })).code).toBe("KMS.NotFoundException")
  expect((await ask("PUT k", { body: "", headers: { ...headers, [sse]: "AES256" } })).code).toBe("InvalidArgument")
})

test("SSE-S3 is what every object has", async () => {
  const { ask } = openPeer()
  expect((await ask("PUT k", { body: "", headers: { [sse]: "AES256" } })).headers.get(sse)).toBe("AES256")
  expect((await ask("PUT k", { body: "" })).headers.get(sse)).toBe("AES256")
  expect((await ask("PUT k", { body: "", headers: { [sse]: "rot13" } })).code).toBe("InvalidArgument")
})
