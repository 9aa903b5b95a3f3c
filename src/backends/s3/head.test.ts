import { expect, test } from "bun:test"
import * as Effect from "effect/Effect"
import { putOptions, read } from "../conformance.ts"
import { decodeValue, encodeValue, headHeaders, infoFrom, serviceEtag, validatorOf } from "./head.ts"
import { crc32FromBase64, crc32ToBase64 } from "./payload.ts"
import { profiles } from "./mod.ts"
import { open, quick } from "./testing.ts"

const awkward = ["", " ", "  a", "a  b", "\ta\t", "Grüße, 世界 👋🏽", "e\u0301", "=?UTF-8?B?w6k=?=", "a ", "=?x"]
const plain = ["value", "a b", `"'\``, "%41%zz", "a+b", "a, b;c=d", ":", "x".repeat(1500)]

test("fault 141: encodeValue() keeps every value in printable ASCII, and plain ones as they are", () => {
  for (const value of [...awkward, ...plain]) {
    expect([value, decodeValue(encodeValue(value))]).toEqual([value, value])
    expect(encodeValue(value)).toMatch(/^[!-~]([ -~]*[!-~])?$/)
    expect(encodeValue(value)).not.toContain("  ")
  }
  for (const value of plain) expect(encodeValue(value)).toBe(value)
  expect(encodeValue("é")).toBe("=?UTF-8?B?w6k=?=")
})

test("decodeValue() leaves alone what is no encoded word of ours", () => {
  for (const value of ["=?UTF-8?Q?=C3=A9?=", "=?UTF-8?B?!?=", "=?UTF-8?B?/w==?=", "=?UTF-8?B?A?="]) {
    expect(decodeValue(value)).toBe(value)
  }
})

for (const underscores of [true, false]) {
  test(`fault 141: metadata survives put, stat, get and copy (underscores ${underscores ? "kept" : "lost"} in names)`, async () => {
    const { peer, backend } = await Effect.runPromise(open({ profile: { ...quick(profiles.aws), underscores } }))
    const metadata = {
      ...Object.fromEntries(awkward.map((value, index) => [`a${index}`, value])),
      "with-dash": "1",
      with_underscore: "2",
      "with.dot": "3",
      "0digit": "4",
      constructor: "5",
      etag: "6",
      "content-type": "7",
      "content-length": "8",
    }
    const data = new Uint8Array(10)
    const put = putOptions(data, { metadata, contentType: "text/plain; charset=utf-8" })
    const made = await Effect.runPromise(backend.put("k", data, put))
    const { info } = await Effect.runPromise(read(backend, "k"))
    const copied = await Effect.runPromise(backend.copy!("k", "c", { writeId: "other" }))
    for (const found of [made, info, await Effect.runPromise(backend.stat("k")), copied]) {
      expect(found.metadata).toEqual(metadata)
      expect("with_underscore" in peer.object("test", "k")!.metadata).toBe(underscores)
      expect(found.contentType).toBe("text/plain; charset=utf-8")
    }
  })
}

test("an upload keeps metadata, content type and write id", async () => {
  const { backend } = await Effect.runPromise(open())
  const head = { writeId: "id", contentType: "text/plain", metadata: { run: "Grüße 👋🏽" }, codec: "zstd" }
  const upload = await Effect.runPromise(backend.createUpload("k", head))
  const data = new Uint8Array(10)
  const { crc32 } = putOptions(data)
  const part = await Effect.runPromise(backend.putPart(upload, { number: 1, offset: 0, crc32 }, data))
  const made = await Effect.runPromise(backend.completeUpload(upload, [part], { size: 10, crc32 }))
  for (const info of [made, await Effect.runPromise(backend.stat("k"))]) {
    const { writeId, contentType, metadata, codec } = info
    expect({ writeId, contentType, metadata, codec }).toEqual(head)
    expect([info.etag, info.crc32, info.size]).toEqual([made.etag, crc32, 10])
  }
})

test("headHeaders() refuses more metadata than S3 has room for, Holdfast's own included", () => {
  const head = (length: number) => ({ writeId: "w".repeat(36), metadata: { m: "x".repeat(length) } })
  const room = 2048 - "holdfast-write-id".length - 36 - "m".length
  expect(headHeaders("put", "k", head(room), { underscores: true })["x-amz-meta-m"]?.length).toBe(room)
  expect(() => headHeaders("put", "k", head(room + 1), { underscores: true })).toThrow("takes 2049 bytes")
  const wide = { writeId: "w", metadata: { m: "é".repeat(800) } }
  expect(() => headHeaders("put", "k", wide, { underscores: true })).toThrow("2048")
})

test("foreign objects load with their values as they are, also those that look encoded", async () => {
  const { backend, peer } = await Effect.runPromise(open({ peer: { anonymous: true } }))
  await peer.fetch("https://test.s3.us-east-1.amazonaws.com/k", {
    method: "PUT",
    body: "hello",
    headers: { "x-amz-meta-word": "=?UTF-8?B?w6k=?=", "x-amz-meta-__proto__": "x", "cache-control": "no-store" },
  })
  const { info, data } = await Effect.runPromise(read(backend, "k"))
  expect(new TextDecoder().decode(data)).toBe("hello")
  expect(Object.entries(info.metadata).sort()).toEqual([["__proto__", "x"], ["word", "=?UTF-8?B?w6k=?="]])
  expect([info.writeId, info.codec, info.etag.includes("~")]).toEqual([undefined, undefined, false])
  // Its etag is the service's, and holds as a condition.
  const again = await Effect.runPromise(backend.put("k", data, putOptions(data, { ifMatch: info.etag })))
  expect(serviceEtag(again.etag)).toBe(info.etag)
})

test("copy() keeps headers that the contract does not know", async () => {
  const { backend, peer } = await Effect.runPromise(open({ peer: { anonymous: true } }))
  const headers = { "cache-control": "no-store", "content-disposition": 'attachment; filename="a"' }
  await peer.fetch("https://test.s3.us-east-1.amazonaws.com/k", { method: "PUT", body: "hello", headers })
  await Effect.runPromise(backend.copy!("k", "c", { writeId: "c" }))
  expect(peer.object("test", "c")?.headers).toMatchObject(headers)
})

test("fault 111: a checksum of checksums, or one in another writing, is no CRC-32 of the object", () => {
  expect(crc32FromBase64(crc32ToBase64(0xdeadbeef))).toBe(0xdeadbeef)
  expect(crc32FromBase64(crc32ToBase64(0))).toBe(0)
  for (const text of ["3q2+7w==-3", "deadbeef", "", "3q2+7w=", "3q2+7wAA"]) {
    expect(crc32FromBase64(text)).toBeUndefined()
  }
  const facts = { etag: '"a"', "last-modified": "Thu, 01 Jan 1970 00:00:00 GMT", "x-amz-checksum-crc32": "3q2+7w==" }
  expect(infoFrom("k", new Headers(facts), 1)?.crc32).toBe(0xdeadbeef)
  expect(infoFrom("k", new Headers({ ...facts, "x-amz-checksum-type": "COMPOSITE" }), 1)?.crc32).toBeUndefined()
})

test("faults 21, 41: an etag is opaque; a weak one stays weak, and one of parts is not taken for an MD5", () => {
  const etags = (etag: string) =>
    infoFrom("k", new Headers({ etag, "last-modified": "Thu, 01 Jan 1970 00:00:00 GMT" }), 1)?.etag
  expect(etags('W/"abc"')).toBe("W/abc")
  expect(etags('"abc-3"')).toBe("abc-3")
  expect(etags("abc")).toBe("abc")
  expect(validatorOf("abc", "id")).toBe("abc~id")
  expect(serviceEtag("abc~id")).toBe("abc")
})
