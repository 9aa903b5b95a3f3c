import { expect, test } from "bun:test"
import { see, type Seen } from "./client-testing.ts"
import { makeS3Peer, type PeerQuirks, peerQuirks, type S3Peer } from "./mod.ts"

// The examples of Amazon's documentation: 65 KiB of "a" in a chunk of 64 KiB and one of 1 KiB.
const examplePeer = (quirks: PeerQuirks = peerQuirks.aws): S3Peer =>
  makeS3Peer({
    buckets: ["examplebucket"],
    credentials: [{
      accessKeyId: "AKIAIOSFODNN7EXAMPLE",
      secretAccessKey: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    }],
    clock: () => Date.UTC(2013, 4, 24),
    quirks,
  })

const a = (count: number): string => "a".repeat(count)

const chunk = (content: string, signature: string): string =>
  `${content.length.toString(16)};chunk-signature=${signature}\r\n${content}\r\n`

const common = {
  "content-encoding": "aws-chunked",
  "x-amz-date": "20130524T000000Z",
  "x-amz-decoded-content-length": "66560",
  "x-amz-storage-class": "REDUCED_REDUNDANCY",
}

const put = async (peer: S3Peer, headers: Record<string, string>, body: string): Promise<Seen> =>
  await see(
    await peer.fetch("http://s3.amazonaws.com/examplebucket/chunkObject.txt", {
      method: "PUT",
      headers: { ...common, ...headers },
      body,
    }),
  )

const authorization = (headers: string, signature: string): string =>
  "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request," +
  `SignedHeaders=content-encoding;content-length;host;${headers},Signature=${signature}`

const signedHeaders = {
  "x-amz-content-sha256": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
  authorization: authorization(
    "x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class",
    "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9",
  ),
}

const first = "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648"
const second = "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497"
const last = "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9"

test("Amazon's documented signed chunks are accepted and taken out of their framing", async () => {
  const peer = examplePeer()
  const seen = await put(peer, signedHeaders, chunk(a(65536), first) + chunk(a(1024), second) + chunk("", last))
  expect([seen.status, seen.text]).toEqual([200, ""])
  const stored = peer.object("examplebucket", "chunkObject.txt")!
  expect(stored.bytes.length).toBe(66560)
  expect(stored.bytes.every((byte) => byte === 97)).toBe(true)
  expect(stored.headers["content-encoding"]).toBeUndefined()
})

const broken: ReadonlyArray<readonly [string, string, string]> = [
  [
    "a byte of a chunk is another",
    "SignatureDoesNotMatch",
    chunk(`b${a(65535)}`, first) + chunk(a(1024), second) + chunk("", last),
  ],
  ["chunks are swapped", "SignatureDoesNotMatch", chunk(a(1024), second) + chunk(a(65536), first) + chunk("", last)],
  [
    "the last chunk has a wrong signature",
    "SignatureDoesNotMatch",
    chunk(a(65536), first) + chunk(a(1024), second) + chunk("", first),
  ],
]

for (const [what, code, body] of broken) {
  test(`refused: ${what}`, async () => {
    const peer = examplePeer()
    expect((await put(peer, signedHeaders, body.padEnd(66824, "\n"))).code).toBe(code)
    expect(peer.object("examplebucket", "chunkObject.txt")).toBeUndefined()
  })
}

const trailerHeaders = {
  "x-amz-content-sha256": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
  "x-amz-trailer": "x-amz-checksum-crc32c",
  authorization: authorization(
    "x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class;x-amz-trailer",
    "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e",
  ).replace("content-length;", ""),
}

const trailerBody = (checksum: string, signature: string): string =>
  chunk(a(65536), "b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2") +
  chunk(a(1024), "1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7") +
  chunk("", "2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992").replace(/\r\n$/, "") +
  `x-amz-checksum-crc32c:${checksum}\r\nx-amz-trailer-signature:${signature}\r\n\r\n`

const trailerSignature = "d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435"

test("Amazon's documented signed trailer is accepted, its checksum verified and stored", async () => {
  const peer = examplePeer()
  const seen = await put(peer, trailerHeaders, trailerBody("sOO8/Q==", trailerSignature))
  expect([seen.status, seen.code]).toEqual([200, ""])
  expect(seen.headers.get("x-amz-checksum-crc32c")).toBe("sOO8/Q==")
  expect((await put(peer, trailerHeaders, trailerBody("sOO8/A==", trailerSignature))).code).toBe(
    "SignatureDoesNotMatch",
  )
})

/** The body in chunks that nobody signed, with its trailer. */
const unsigned = (headers: Record<string, string>, body: string): Promise<Seen> => {
  const peer = makeS3Peer({ anonymous: true, buckets: ["examplebucket"] })
  const form = {
    "x-amz-content-sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
    "x-amz-decoded-content-length": "5",
    "x-amz-trailer": "x-amz-checksum-crc32",
  }
  return put(peer, { ...form, ...headers }, body)
}

const trailer = "x-amz-checksum-crc32:NhCmhg==\r\n\r\n"

const bodies: ReadonlyArray<readonly [string, Record<string, string>, string, string]> = [
  ["a whole body", {}, `5\r\nhello\r\n0\r\n${trailer}`, ""],
  ["chunks of any size", {}, `2\r\nhe\r\n3\r\nllo\r\n0\r\n${trailer}`, ""],
  ["another checksum", {}, `5\r\nhellO\r\n0\r\n${trailer}`, "BadDigest"],
  ["no trailer though one was announced", {}, "5\r\nhello\r\n0\r\n\r\n", "MalformedTrailerError"],
  [
    "no decoded length",
    { "x-amz-decoded-content-length": "" },
    `5\r\nhello\r\n0\r\n${trailer}`,
    "MissingContentLength",
  ],
  [
    "more than the decoded length",
    { "x-amz-decoded-content-length": "4" },
    `5\r\nhello\r\n0\r\n${trailer}`,
    "IncompleteBody",
  ],
  [
    "less than the decoded length",
    { "x-amz-decoded-content-length": "6" },
    `5\r\nhello\r\n0\r\n${trailer}`,
    "IncompleteBody",
  ],
  ["no last chunk", {}, "5\r\nhello\r\n", "IncompleteBody"],
  ["a chunk that is cut", {}, "5\r\nhel", "IncompleteBody"],
  ["no framing at all", {}, "hello", "IncompleteBody"],
  ["a size that is no number", {}, `x\r\nhello\r\n0\r\n${trailer}`, "IncompleteBody"],
]

for (const [what, headers, body, code] of bodies) {
  test(`chunks that nobody signed: ${what}: ${code === "" ? "accepted" : code}`, async () => {
    expect((await unsigned(headers, body)).code).toBe(code)
  })
}

test("a payload hash that is none is refused", async () => {
  expect((await unsigned({ "x-amz-content-sha256": "hello" }, "x")).code).toBe("InvalidArgument")
})
