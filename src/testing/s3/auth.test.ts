import { AwsClient } from "aws4fetch"
import { expect, test } from "bun:test"
import * as fc from "fast-check"
import { see, type Seen } from "./client-testing.ts"
import { makeS3Peer, peerCredentials, type S3Peer } from "./mod.ts"

const start = Date.UTC(2026, 0, 2, 3, 4, 5)

const makePeer = (): S3Peer => makeS3Peer({ clock: () => start })

const signer = (options: Partial<ConstructorParameters<typeof AwsClient>[0]> = {}): AwsClient =>
  new AwsClient({ ...peerCredentials, service: "s3", region: "us-east-1", retries: 0, ...options })

const at = (millis: number): string => new Date(millis).toISOString().replaceAll(/[:-]|\.\d{3}/g, "")

interface Sent {
  readonly method?: string
  readonly body?: string
  readonly headers?: Record<string, string>
  readonly time?: number
  readonly query?: boolean
}

const sign = (
  client: AwsClient,
  url: string,
  { method = "GET", body, headers, time = start, query = false }: Sent = {},
) =>
  client.sign(url, {
    method,
    ...(body === undefined ? {} : { body }),
    headers: query ? headers ?? {} : { "x-amz-content-sha256": "UNSIGNED-PAYLOAD", ...headers },
    aws: { datetime: at(time), signQuery: query },
  })

/** The request with other headers, after it was signed. */
const altered = (request: Request, headers: Readonly<Record<string, string>>): Request =>
  new Request(request, { headers: { ...Object.fromEntries(request.headers), ...headers } })

const send = async (peer: S3Peer, request: Request | Promise<Request>): Promise<Seen> =>
  await see(await peer.fetch(await request))

const url = "http://127.0.0.1/test/a%20b/%C3%BC%2B%25.txt"

test("a signature by an independent signer is accepted, in the header and in the query", async () => {
  const peer = makePeer()
  expect((await send(peer, sign(signer(), url, { method: "PUT", body: "hello" }))).status).toBe(200)
  expect((await send(peer, sign(signer(), url))).text).toBe("hello")
  expect((await send(peer, sign(signer(), `${url}?versionId=null&response-content-type=a%2Fb`))).text).toBe("hello")
  const presigned = sign(signer(), `${url}?X-Amz-Expires=60`, { query: true })
  expect((await send(peer, presigned)).text).toBe("hello")
  expect(peer.object("test", "a b/ü+%.txt")?.etag).toBe("5d41402abc4b2a76b9719d911017c592")
})

test("Amazon's documented GET signature is accepted", async () => {
  const peer = makeS3Peer({
    buckets: ["examplebucket"],
    credentials: [{
      accessKeyId: "AKIAIOSFODNN7EXAMPLE",
      secretAccessKey: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    }],
    clock: () => Date.UTC(2013, 4, 24),
  })
  const empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
  const get = (signature: string) =>
    peer.fetch("http://examplebucket.s3.amazonaws.com/test.txt", {
      headers: {
        range: "bytes=0-9",
        "x-amz-content-sha256": empty,
        "x-amz-date": "20130524T000000Z",
        authorization:
          "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,SignedHeaders=" +
          `host;range;x-amz-content-sha256;x-amz-date,Signature=${signature}`,
      },
    }).then(see)
  // NoSuchKey: it got past the signature.
  expect((await get("f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41")).code).toBe("NoSuchKey")
  expect((await get("f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb42")).code)
    .toBe("SignatureDoesNotMatch")
  const presigned = await peer.fetch(
    "http://examplebucket.s3.amazonaws.com/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=" +
      "AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20130524T000000Z&" +
      "X-Amz-Expires=86400&X-Amz-SignedHeaders=host&" +
      "X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404",
  )
  expect((await see(presigned)).code).toBe("NoSuchKey")
})

const refusals: ReadonlyArray<readonly [string, number, string, () => Promise<Request>]> = [
  ["no signature at all", 403, "AccessDenied", () => Promise.resolve(new Request(url))],
  ["a wrong secret", 403, "SignatureDoesNotMatch", () => sign(signer({ secretAccessKey: "no" }), url)],
  ["an unknown key", 403, "InvalidAccessKeyId", () => sign(signer({ accessKeyId: "AKIANOBODY" }), url)],
  ["a wrong region", 400, "AuthorizationHeaderMalformed", () => sign(signer({ region: "eu-west-1" }), url)],
  ["a wrong service", 400, "AuthorizationHeaderMalformed", () => sign(signer({ service: "sqs" }), url)],
  ["a token nobody gave", 400, "InvalidToken", () => sign(signer({ sessionToken: "mine" }), url)],
  ["a clock 16 minutes behind", 403, "RequestTimeTooSkewed", () => sign(signer(), url, { time: start - 16 * 60_000 })],
  ["a clock 16 minutes ahead", 403, "RequestTimeTooSkewed", () => sign(signer(), url, { time: start + 16 * 60_000 })],
  [
    "a header that was added",
    403,
    "AccessDenied",
    async () => altered(await sign(signer(), url), { "x-amz-meta-added": "1" }),
  ],
  [
    "a header that was changed",
    403,
    "SignatureDoesNotMatch",
    async () => altered(await sign(signer(), url, { headers: { "x-amz-meta-a": "1" } }), { "x-amz-meta-a": "2" }),
  ],
  ["another path", 403, "SignatureDoesNotMatch", async () => new Request(`${url}2`, await sign(signer(), url))],
  [
    "another query",
    403,
    "SignatureDoesNotMatch",
    async () => new Request(`${url}?versionId=2`, await sign(signer(), `${url}?versionId=1`)),
  ],
  [
    "another method",
    403,
    "SignatureDoesNotMatch",
    async () => new Request(await sign(signer(), url), { method: "DELETE" }),
  ],
  ["another body", 400, "XAmzContentSHA256Mismatch", async () => {
    const hash = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
    const request = await sign(signer(), url, {
      method: "PUT",
      body: "hello",
      headers: { "x-amz-content-sha256": hash },
    })
    return new Request(request, { body: "hellO" })
  }],
  ["no payload hash", 400, "InvalidRequest", async () => {
    const request = await sign(signer(), url)
    const headers = new Headers(request.headers)
    headers.delete("x-amz-content-sha256")
    return new Request(request, { headers })
  }],
  [
    "an authorization of another kind",
    400,
    "InvalidArgument",
    () => Promise.resolve(new Request(url, { headers: { authorization: "Basic YTpi" } })),
  ],
  [
    "header and query at once",
    400,
    "InvalidArgument",
    async () =>
      altered(await sign(signer(), `${url}?X-Amz-Expires=60`, { query: true }), {
        authorization: (await sign(signer(), url)).headers.get("authorization")!,
      }),
  ],
  [
    "an expired presigned URL",
    403,
    "AccessDenied",
    () => sign(signer(), `${url}?X-Amz-Expires=60`, { query: true, time: start - 61_000 }),
  ],
  [
    "a presigned URL for more than a week",
    400,
    "AuthorizationQueryParametersError",
    () => sign(signer(), `${url}?X-Amz-Expires=604801`, { query: true }),
  ],
  [
    "a presigned URL used otherwise",
    403,
    "SignatureDoesNotMatch",
    async () => new Request(await sign(signer(), `${url}?X-Amz-Expires=60`, { query: true }), { method: "DELETE" }),
  ],
  [
    "a presigned URL with a parameter more",
    403,
    "SignatureDoesNotMatch",
    async () => new Request(`${(await sign(signer(), `${url}?X-Amz-Expires=60`, { query: true })).url}&versionId=1`),
  ],
]

for (const [what, status, code, make] of refusals) {
  test(`refused: ${what}`, async () => {
    const seen = await send(makePeer(), make())
    expect([seen.status, seen.code]).toEqual([status, code])
  })
}

test("fault 49: the peer's clock can be moved, and its Date header tells", async () => {
  const peer = makePeer()
  peer.moveClock(3_600_000)
  const seen = await send(peer, sign(signer(), url))
  expect(seen.code).toBe("RequestTimeTooSkewed")
  expect(Date.parse(seen.headers.get("date")!)).toBe(start + 3_600_000)
  expect((await send(peer, sign(signer(), url, { time: start + 3_600_000 }))).code).toBe("NoSuchKey")
})

test("fault 125: a temporary key needs its token and ends at its time", async () => {
  const temporary = { ...peerCredentials, sessionToken: "token/of+one=", expires: new Date(start + 60_000) }
  const peer = makeS3Peer({ clock: () => start, credentials: [temporary] })
  const client = signer({ sessionToken: temporary.sessionToken })
  expect((await send(peer, sign(client, url))).code).toBe("NoSuchKey")
  expect((await send(peer, sign(signer(), url))).code).toBe("InvalidToken")
  expect((await send(peer, sign(client, `${url}?X-Amz-Expires=600`, { query: true }))).code).toBe("NoSuchKey")
  peer.moveClock(60_000)
  const late = await send(peer, sign(client, url))
  expect([late.status, late.code]).toEqual([400, "ExpiredToken"])
})

test("a signature that does not match is answered with what was computed", async () => {
  const seen = await send(makePeer(), sign(signer({ secretAccessKey: "no" }), url))
  expect(seen.text).toContain("<CanonicalRequest>GET\n/test/a%20b/%C3%BC%2B%25.txt\n\nhost:127.0.0.1\n")
  expect(seen.text).toContain("<StringToSign>AWS4-HMAC-SHA256\n20260102T030405Z\n20260102/us-east-1/s3/aws4_request\n")
  expect(seen.headers.get("x-amz-request-id")).toBe("PEER000000000001")
})

test("a HEAD is refused without a word", async () => {
  const seen = await send(makePeer(), sign(signer({ secretAccessKey: "no" }), url, { method: "HEAD" }))
  expect([seen.status, seen.text]).toEqual([403, ""])
})

test("fault 47: leading, double and trailing slashes are part of a key", async () => {
  const peer = makePeer()
  for (const key of ["/a", "a//b", "a/", "//"]) {
    const put = await send(peer, sign(signer(), `http://127.0.0.1/test/${key}`, { method: "PUT", body: key }))
    expect([key, put.status]).toEqual([key, 200])
    expect(peer.object("test", key)?.bytes).toEqual(new TextEncoder().encode(key))
  }
})

test("every key that a URL can carry is signed and stored as it is", async () => {
  const peer = makePeer()
  const keys = fc.string({ unit: "binary", minLength: 1, maxLength: 40 })
    .filter((key) => key.isWellFormed() && key.split("/").every((one) => !/^\.{1,2}$/.test(one)))
  await fc.assert(
    fc.asyncProperty(keys, async (key) => {
      const path = key.split("/").map(encodeURIComponent).join("/").replaceAll(
        /[!'()*]/g,
        (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`,
      )
      const put = await send(peer, sign(signer(), `http://127.0.0.1/test/${path}`, { method: "PUT", body: key }))
      expect(put.code).toBe("")
      expect(new TextDecoder("utf-8", { ignoreBOM: true }).decode(peer.object("test", key)?.bytes)).toBe(key)
    }),
    { numRuns: 100 },
  )
})

test("headers that a presigned URL carries in its query count as headers", async () => {
  const peer = makePeer()
  const query = "x-amz-meta-a=b%20c&x-amz-storage-class=GLACIER&X-Amz-Expires=60"
  const put = await send(peer, sign(signer(), `${url}?${query}`, { method: "PUT", body: "x", query: true }))
  expect(put.status).toBe(200)
  expect(peer.object("test", "a b/ü+%.txt")?.metadata).toEqual({ a: "b c" })
})
