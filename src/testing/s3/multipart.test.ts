import { expect, test } from "bun:test"
import { type Ask, field, fields, openPeer } from "./client-testing.ts"
import type { S3PeerOptions } from "./mod.ts"

interface Begun {
  readonly ask: Ask
  readonly id: string
  readonly part: (number: number, body: string, headers?: Record<string, string>) => ReturnType<Ask>
  /** Completes with these parts: their number and etag. */
  readonly complete: (
    parts: ReadonlyArray<readonly [number, string]>,
    headers?: Record<string, string>,
  ) => ReturnType<Ask>
  readonly peer: ReturnType<typeof openPeer>["peer"]
}

const begin = async (headers: Record<string, string> = {}, options: S3PeerOptions = {}): Promise<Begun> => {
  const { ask, peer } = openPeer(options)
  const id = field((await ask("POST k?uploads", { headers })).text, "UploadId")!
  return {
    ask,
    id,
    peer,
    part: (number, body, headers = {}) => ask(`PUT k?partNumber=${number}&uploadId=${id}`, { body, headers }),
    complete: (parts, headers = {}) => {
      const list = parts.map(([number, rest]) => `<Part><PartNumber>${number}</PartNumber>${rest}</Part>`).join("")
      const body = `<CompleteMultipartUpload>${list}</CompleteMultipartUpload>`
      return ask(`POST k?uploadId=${id}`, { body, headers })
    },
  }
}

/** The etag of "hello", which is longer than the least part of these tests. */
const hello = "<ETag>5d41402abc4b2a76b9719d911017c592</ETag>"
const x = '<ETag>"9dd4e461268c8034f5c8564e155c67a6"</ETag>'

test("parts make an object, whatever order they came in", async () => {
  const { ask, part, complete, peer } = await begin({ "x-amz-meta-a": "1", "content-type": "text/plain" })
  await part(7, "x")
  await part(2, "old")
  await part(2, "hello")
  expect((await ask("GET k")).status).toBe(404)
  const done = await complete([[2, hello], [7, x]])
  expect(done.status).toBe(200)
  expect(field(done.text, "ETag")).toBe("&quot;5b1cdba1b761997cd3b06d5cf3040744-2&quot;")
  expect(peer.object("test", "k")).toMatchObject({ metadata: { a: "1" }, headers: { "content-type": "text/plain" } })
  expect((await ask("GET k")).text).toBe("hellox")
  expect((await ask("GET k?partNumber=2")).text).toBe("x")
  expect((await ask("GET k?partNumber=3")).status).toBe(416)
})

const refusals: ReadonlyArray<readonly [string, ReadonlyArray<readonly [number, string]>, string]> = [
  ["a part that is not there", [[1, hello], [3, x]], "InvalidPart"],
  ["an etag of another part", [[1, x]], "InvalidPart"],
  ["parts in the wrong order", [[2, x], [1, hello]], "InvalidPartOrder"],
  ["a part twice", [[1, hello], [1, hello]], "InvalidPartOrder"],
  ["no part", [], "MalformedXML"],
  ["an inner part that is too small", [[2, x], [4, hello]], "EntityTooSmall"],
]

for (const [what, parts, code] of refusals) {
  test(`fault 108: refused: ${what}`, async () => {
    const { part, complete, peer } = await begin()
    await part(1, "hello")
    await part(2, "x")
    await part(4, "hello")
    expect((await complete(parts)).code).toBe(code)
    expect(peer.openUploads().length).toBe(1)
    expect(peer.object("test", "k")).toBeUndefined()
  })
}

test("fault 38: part numbers go from 1 to 10,000, parts up to the largest size", async () => {
  const { part } = await begin({}, { maxSize: 5 })
  expect((await part(0, "x")).code).toBe("InvalidArgument")
  expect((await part(10_001, "x")).code).toBe("InvalidArgument")
  expect((await part(10_000, "x")).status).toBe(200)
  expect((await part(1, "123456")).code).toBe("EntityTooLarge")
})

test("faults 27, 34: an upload that is over is no upload", async () => {
  const { ask, id, part, complete } = await begin()
  await part(1, "hello")
  expect((await complete([[1, hello]])).status).toBe(200)
  expect((await complete([[1, hello]])).code).toBe("NoSuchUpload")
  expect((await part(1, "x")).code).toBe("NoSuchUpload")
  expect((await ask(`DELETE k?uploadId=${id}`)).code).toBe("NoSuchUpload")
  expect((await ask(`GET k?uploadId=${id}`)).code).toBe("NoSuchUpload")
  const other = await begin()
  expect((await other.ask(`DELETE other?uploadId=${other.id}`)).code).toBe("NoSuchUpload")
  expect((await other.ask(`DELETE k?uploadId=${other.id}`)).status).toBe(204)
  expect(other.peer.openUploads()).toEqual([])
})

test("conditions count when the upload completes, and a refused one stays open", async () => {
  const { ask, part, complete, peer } = await begin()
  await part(1, "hello")
  expect((await complete([[1, hello]], { "if-match": '"x"' })).code).toBe("NoSuchKey")
  await ask("PUT k", { body: "x" })
  expect((await complete([[1, hello]], { "if-none-match": "*" })).code).toBe("PreconditionFailed")
  expect(peer.openUploads().length).toBe(1)
  expect((await complete([[1, hello]], { "if-match": '"9dd4e461268c8034f5c8564e155c67a6"' })).status).toBe(200)
})

test("the size that a client expects must be the size", async () => {
  const { part, complete } = await begin()
  await part(1, "hello")
  expect((await complete([[1, hello]], { "x-amz-mp-object-size": "6" })).code).toBe("InvalidRequest")
  expect((await complete([[1, hello]], { "x-amz-mp-object-size": "5" })).status).toBe(200)
})

const crc = { hello: "NhCmhg==", x: "jNwWgw==" }

test("fault 111: a composite checksum demands those of all parts, and names their number", async () => {
  const { part, complete, ask } = await begin({ "x-amz-checksum-algorithm": "CRC32" })
  expect((await part(1, "hello", { "x-amz-checksum-crc32": crc.x })).code).toBe("BadDigest")
  expect((await part(1, "hello", { "x-amz-checksum-sha1": "qvTGHdzF6KLavt4PO0gs2a6pQ00=" })).code).toBe(
    "InvalidRequest",
  )
  expect((await part(1, "hello", { "x-amz-checksum-crc32": crc.hello })).headers.get("x-amz-checksum-crc32"))
    .toBe(crc.hello)
  expect((await complete([[1, hello]])).code).toBe("InvalidRequest")
  expect((await complete([[1, `${hello}<ChecksumCRC32>${crc.x}</ChecksumCRC32>`]])).code).toBe("InvalidPart")
  const whole = `${hello}<ChecksumCRC32>${crc.hello}</ChecksumCRC32>`
  expect((await complete([[1, whole]], { "x-amz-checksum-type": "FULL_OBJECT" })).code).toBe("InvalidRequest")
  const done = await complete([[1, whole]])
  expect([field(done.text, "ChecksumType"), field(done.text, "ChecksumCRC32")])
    .toEqual(["COMPOSITE", expect.stringMatching(/^[\w+/]{6}==-1$/)])
  const head = await ask("HEAD k", { headers: { "x-amz-checksum-mode": "ENABLED" } })
  expect(head.headers.get("x-amz-checksum-type")).toBe("COMPOSITE")
})

test("fault 111: a checksum of the whole is computed over the whole", async () => {
  const full = { "x-amz-checksum-algorithm": "CRC32", "x-amz-checksum-type": "FULL_OBJECT" }
  const { part, complete, ask } = await begin(full)
  await part(1, "hello")
  await part(2, "x")
  expect((await complete([[1, hello], [2, x]], { "x-amz-checksum-crc32": crc.hello })).code).toBe("BadDigest")
  const done = await complete([[1, hello], [2, x]], { "x-amz-checksum-type": "FULL_OBJECT" })
  await ask("PUT once", { body: "hellox", headers: { "x-amz-checksum-crc32": field(done.text, "ChecksumCRC32")! } })
  expect((await ask("GET once")).text).toBe("hellox")
})

test("what checksums cannot do is refused when the upload begins", async () => {
  const { ask } = openPeer()
  const begin = async (algorithm: string, type: string) =>
    (await ask("POST k?uploads", { headers: { "x-amz-checksum-algorithm": algorithm, "x-amz-checksum-type": type } }))
      .code
  expect(await begin("SHA256", "FULL_OBJECT")).toBe("InvalidRequest")
  expect(await begin("CRC64NVME", "COMPOSITE")).toBe("InvalidRequest")
  expect(await begin("MD4", "COMPOSITE")).toBe("InvalidRequest")
  expect(await begin("CRC64NVME", "FULL_OBJECT")).toBe("")
})

test("a part can be a range of an object", async () => {
  const { ask, id, complete } = await begin()
  await ask("PUT s", { body: "0123hello" })
  const copy = (range: string) =>
    ask(`PUT k?partNumber=1&uploadId=${id}`, {
      headers: { "x-amz-copy-source": "/test/s", "x-amz-copy-source-range": range },
    })
  expect((await copy("bytes=4-")).code).toBe("InvalidArgument")
  expect((await copy("bytes=99-100")).code).toBe("InvalidRange")
  expect(field((await copy("bytes=4-8")).text, "ETag")).toBe("&quot;5d41402abc4b2a76b9719d911017c592&quot;")
  expect((await complete([[1, hello]])).status).toBe(200)
  expect((await ask("GET k")).text).toBe("hello")
})

test("parts are listed page by page", async () => {
  const { ask, id, part } = await begin()
  for (const number of [5, 1, 3]) await part(number, "x")
  const first = (await ask(`GET k?uploadId=${id}&max-parts=2`)).text
  expect([fields(first, "PartNumber"), field(first, "IsTruncated"), field(first, "NextPartNumberMarker")])
    .toEqual([["1", "3"], "true", "3"])
  const second = (await ask(`GET k?uploadId=${id}&part-number-marker=3`)).text
  expect([fields(second, "PartNumber"), field(second, "IsTruncated")]).toEqual([["5"], "false"])
})
