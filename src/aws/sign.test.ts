import { expect, test } from "bun:test"
import fc from "fast-check"
import { StoreError } from "../error.ts"
import { Clock } from "./clock.ts"
import { nativeHash, WebHash } from "./hash.ts"
import { refreshing } from "./refresh.ts"
import { emptyPayload, type SignableRequest, type SignedRequest, Signer, unsignedPayload } from "./sign.ts"
import { inspectNatively, signatureOf, verify, verifyPresigned, type WireRequest } from "./testing.ts"
import * as nodeCrypto from "node:crypto"

const secretAccessKey = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
const documented = { accessKeyId: "AKIAIOSFODNN7EXAMPLE", secretAccessKey }
const may24 = (): Clock => new Clock(() => Date.parse("2013-05-24T00:00:00Z"))
const origin = "https://examplebucket.s3.amazonaws.com"

/** The signer of the examples in Amazon S3's documentation. */
const s3 = (more: object = {}): Signer =>
  new Signer({ region: "us-east-1", credentials: documented, clock: may24(), ...more })

/** The signer of AWS's general test suite. */
const suite = (sessionToken?: string): Signer =>
  new Signer({
    region: "us-east-1",
    service: "service",
    credentials: {
      accessKeyId: "AKIDEXAMPLE",
      secretAccessKey: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
      sessionToken,
    },
    clock: new Clock(() => Date.parse("2015-08-30T12:36:00Z")),
  })

const signature = ({ headers }: SignedRequest): string => headers["authorization"]!.split("Signature=")[1]!

/** What a server sees of what `fetch` is given. */
const onWire = (method: string, url: string, headers: Readonly<Record<string, string>>): WireRequest => {
  const { host } = new URL(url)
  return { method, target: url.slice(url.indexOf(host) + host.length), headers: { host, ...headers } }
}

const rejection = async (run: Promise<unknown>): Promise<StoreError> => {
  const error = await run.then(() => undefined, (cause) => cause)
  if (!StoreError.is(error)) throw new Error("expected a StoreError", { cause: error })
  return error
}

test("Amazon S3's documented examples: GET object, bucket lifecycle, list objects", async () => {
  const get: SignableRequest = { method: "GET", origin, path: "/test.txt", headers: { range: "bytes=0-9" } }
  const signed = await s3().sign(get, emptyPayload)
  expect(signed.headers["authorization"]).toBe(
    "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, " +
      "SignedHeaders=host;range;x-amz-content-sha256;x-amz-date, " +
      "Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
  )
  expect(signed.url).toBe(`${origin}/test.txt`)
  const lifecycle = await s3().sign({ method: "GET", origin, path: "/", query: { lifecycle: "" } }, emptyPayload)
  expect(signature(lifecycle)).toBe("fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543")
  const list = { method: "GET", origin, path: "/", query: { prefix: "J", "max-keys": "2" } }
  expect(signature(await s3().sign(list, emptyPayload))).toBe(
    "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
  )
})

test("signed are host, content-type, content-md5, range, if-* and x-amz-*, and nothing that is changed on the way", async () => {
  const sent = ["content-type", "content-md5", "range", "if-match", "if-none-match", "x-amz-meta-a", "x-amz-acl"]
  const unsigned = ["accept-encoding", "cache-control", "content-encoding", "user-agent", "content-length"]
  const headers = Object.fromEntries([...sent, ...unsigned].map((name) => [name, "1"]))
  const signed = await s3().sign({ method: "PUT", origin, path: "/a", headers }, emptyPayload)
  const names = ["host", "x-amz-content-sha256", "x-amz-date", ...sent].sort().join(";")
  expect(/SignedHeaders=([^,]+)/.exec(signed.headers["authorization"]!)![1]).toBe(names)
  expect(signed.headers).toMatchObject(headers)
})

test("the verifier reproduces the documented PUT object, which signs a Date header as we never do", () => {
  const payloadHash = nodeCrypto.createHash("sha256").update("Welcome to Amazon S3.").digest("hex")
  const headers = {
    host: "examplebucket.s3.amazonaws.com",
    date: "Fri, 24 May 2013 00:00:00 GMT",
    "x-amz-content-sha256": payloadHash,
    "x-amz-date": "20130524T000000Z",
    "x-amz-storage-class": "REDUCED_REDUNDANCY",
  }
  expect(signatureOf({ method: "PUT", target: "/test%24file.text", headers }, secretAccessKey, {
    scope: "20130524/us-east-1/s3/aws4_request",
    date: "20130524T000000Z",
    signedHeaders: Object.keys(headers).sort().join(";"),
    payloadHash,
  })).toBe("98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd")
})

test("Amazon S3's documented presigned URL, byte for byte", async () => {
  const { url, headers, expires } = await s3().presign({ method: "GET", origin, path: "/test.txt" }, 86_400)
  expect(url).toBe(
    `${origin}/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256` +
      "&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20130524T000000Z" +
      "&X-Amz-Expires=86400" +
      "&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404&X-Amz-SignedHeaders=host",
  )
  expect(headers).toEqual({})
  expect(expires.toISOString()).toBe("2013-05-25T00:00:00.000Z")
})

test("AWS's general signature test suite, as far as it applies to a signer that escapes paths once", async () => {
  const at = "https://example.amazonaws.com"
  const unreserved = "-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
  const cases: ReadonlyArray<readonly [name: string, request: Omit<SignableRequest, "origin">, expected: string]> = [
    ["get-vanilla", { method: "GET", path: "/" }, "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"],
    ["post-vanilla", { method: "POST", path: "/" }, "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"],
    [
      "get-vanilla-query-order-key-case",
      { method: "GET", path: "/", query: { Param2: "value2", Param1: "value1" } },
      "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
    ],
    [
      "get-vanilla-query-unreserved",
      { method: "GET", path: "/", query: { [unreserved]: unreserved } },
      "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197",
    ],
    [
      "get-vanilla-utf8-query",
      { method: "GET", path: "/", query: { ሴ: "bar" } },
      "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04",
    ],
    ["get-utf8", { method: "GET", path: "/ሴ" }, "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85"],
    [
      "get-space",
      { method: "GET", path: "/example space/" },
      "652487583200325589f1fba4c7e578f72c47cb61beeca81406b39ddec1366741",
    ],
    [
      "get-unreserved",
      { method: "GET", path: `/${unreserved}` },
      "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f",
    ],
  ]
  for (const [name, request, expected] of cases) {
    const got = await suite().sign({ origin: at, ...request }, emptyPayload)
    expect(`${name} ${signature(got)}`).toBe(`${name} ${expected}`)
  }
  const form = {
    method: "POST",
    origin: at,
    path: "/",
    headers: { "content-type": "application/x-www-form-urlencoded" },
  }
  const body = nodeCrypto.createHash("sha256").update("Param1=value1").digest("hex")
  expect(signature(await suite().sign(form, body))).toBe(
    "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
  )
})

const keyText = fc.string({ unit: "grapheme", minLength: 1, maxLength: 40 })
  .filter((key) => !key.split("/").some((segment) => segment === "." || segment === ".."))
const plain = fc.stringMatching(/^[\x20-\x7e]{0,30}$/)
const requests = fc.record({
  method: fc.constantFrom("GET", "PUT", "POST", "HEAD", "DELETE"),
  origin: fc.constantFrom("https://b.example.com", "http://127.0.0.1:9000", "http://[::1]:8080", "http://localhost"),
  path: keyText.map((key) => `/${key}`),
  query: fc.dictionary(fc.string({ unit: "grapheme", minLength: 1, maxLength: 8 }), fc.string({ unit: "grapheme" }), {
    maxKeys: 4,
  }),
  headers: fc.dictionary(
    fc.constantFrom(
      "range",
      "if-match",
      "content-type",
      "content-md5",
      "accept-encoding",
      "x-amz-meta-a",
      "x-amz-meta-b",
      "x-amz-server-side-encryption-customer-key",
    ),
    plain,
  ),
})

test("random requests are signed as an independent verifier reads them off the wire", async () => {
  const signer = s3({ credentials: { ...documented, sessionToken: "a/token+with==" } })
  await fc.assert(
    fc.asyncProperty(requests, fc.constantFrom(emptyPayload, unsignedPayload), async (request, payloadHash) => {
      const { url, headers } = await signer.sign(request, payloadHash)
      expect(new URL(url).href).toBe(url)
      expect(headers["x-amz-security-token"]).toBe("a/token+with==")
      expect(headers["x-amz-content-sha256"]).toBe(payloadHash)
      expect(headers).toMatchObject(request.headers)
      expect(Object.keys(headers)).not.toContain("host")
      const wire = onWire(request.method, url, headers)
      expect(verify(wire, secretAccessKey, payloadHash)).toBe("ok")
      expect(verify({ ...wire, target: `${wire.target}x` }, secretAccessKey, payloadHash)).toBe("another signature")
    }),
  )
})

test("random presigned requests verify, with every header given among the signed ones and none in the URL", async () => {
  const signer = s3({ credentials: { ...documented, sessionToken: "a/token+with==" } })
  await fc.assert(fc.asyncProperty(requests, fc.integer({ min: 1, max: 604_800 }), async (request, expires) => {
    const { url, headers } = await signer.presign(request, expires)
    expect(new URL(url).href).toBe(url)
    expect(headers).toEqual(request.headers)
    const query = new URL(url).searchParams
    expect(query.get("X-Amz-Security-Token")).toBe("a/token+with==")
    expect(query.get("X-Amz-Expires")).toBe(String(expires))
    const names = ["host", ...Object.keys(request.headers)].sort().join(";")
    expect(query.get("X-Amz-SignedHeaders")).toBe(names)
    for (const name of query.keys()) expect(Object.keys(request.headers)).not.toContain(name.toLowerCase())
    expect(verifyPresigned(onWire(request.method, url, headers), secretAccessKey)).toBe("ok")
  }))
})

test("fault 132: a presigned URL lasts 1 second to 7 days, and is for its key and headers alone", async () => {
  const request = { method: "PUT", origin, path: "/a?b#c%d", headers: { "x-amz-meta-a": "1" } }
  for (const expires of [0, -1, 604_801, 1.5, NaN]) {
    expect((await rejection(s3().presign(request, expires))).reason).toBe("InvalidInput")
  }
  const { url, headers } = await s3().presign(request, 604_800)
  expect(url.startsWith(`${origin}/a%3Fb%23c%25d?X-Amz-Algorithm`)).toBe(true)
  const wire = onWire("PUT", url, headers)
  expect(verifyPresigned(wire, secretAccessKey)).toBe("ok")
  expect(verifyPresigned({ ...wire, method: "GET" }, secretAccessKey)).toBe("another signature")
  expect(verifyPresigned({ ...wire, headers: { ...wire.headers, "x-amz-meta-a": "2" } }, secretAccessKey)).toBe(
    "another signature",
  )
})

test("a presigned URL does not outlive the credentials that signed it", async () => {
  const expiration = new Date("2013-05-24T00:10:00Z")
  const signer = s3({ credentials: { ...documented, expiration } })
  const request = { method: "GET", origin, path: "/a" }
  expect((await signer.presign(request, 3600)).expires).toEqual(expiration)
  expect((await signer.presign(request, 60)).expires).toEqual(new Date("2013-05-24T00:01:00Z"))
})

test("what could be changed on the way is refused before any I/O, and never quoted", async () => {
  const request = { method: "GET", origin, path: "/a" }
  const bad: ReadonlyArray<readonly [SignableRequest, string]> = [
    [{ ...request, path: "a" }, "InvalidInput"],
    [{ ...request, path: "/a/../b" }, "InvalidKey"],
    [{ ...request, headers: { "x-amz-meta-a": "secret é" } }, "InvalidInput"],
    [{ ...request, headers: { "x-amz-meta-a": "secret\r\nx: y" } }, "InvalidInput"],
    [{ ...request, headers: { "X-Amz-Meta-A": "secret" } }, "InvalidInput"],
    [{ ...request, headers: { host: "secret" } }, "InvalidInput"],
    [{ ...request, headers: { authorization: "secret" } }, "InvalidInput"],
    [{ ...request, origin: "https://user:secret@example.com" }, "Config"],
    [{ ...request, origin: "https://example.com/secret" }, "Config"],
    [{ ...request, origin: "https://EXAMPLE.com" }, "Config"],
    [{ ...request, origin: "secret" }, "Config"],
    [{ ...request, origin: "ftp://secret" }, "Config"],
  ]
  for (const [wrong, reason] of bad) {
    const error = await rejection(s3().sign(wrong, emptyPayload))
    expect([wrong, error.reason as string]).toEqual([wrong, reason])
    expect(error.message).not.toContain("secret")
  }
  expect(() => s3({ region: "" })).toThrow(/region/)
  expect(() => s3({ region: "x/../y" })).toThrow(/region/)
})

test("WebCrypto and node:crypto make the same signatures", async () => {
  const request = { method: "GET", origin, path: "/é", query: { list: "" } }
  const one = await s3({ hash: WebHash }).sign(request, emptyPayload)
  const other = await s3({ hash: nativeHash(nodeCrypto) }).sign(request, emptyPayload)
  expect(one.headers).toEqual(other.headers)
  for (const Hash of [WebHash, nativeHash(nodeCrypto)]) {
    const hash = new Hash("")
    hash.update(new TextEncoder().encode("x"))
    hash.reset()
    hash.update(new TextEncoder().encode("ab"))
    expect(Array.from(await hash.digest())).toEqual(
      Array.from(nodeCrypto.createHmac("sha256", "").update("ab").digest()),
    )
  }
})

test("fault 50: every attempt is signed with the time and the credentials of that moment", async () => {
  let now = Date.parse("2026-01-01T23:59:59Z")
  let key = "AKIAONE"
  const source = refreshing(() => Promise.resolve({ accessKeyId: key, secretAccessKey: `${key}-secret` }))
  const signer = new Signer({ region: "auto", credentials: source, clock: new Clock(() => now) })
  const request = { method: "GET", origin, path: "/a" }
  const first = await signer.sign(request, emptyPayload)
  now += 600_000
  key = "AKIATWO"
  source.invalidate(first.signedBy)
  const second = await signer.sign(request, emptyPayload)
  expect(first.headers["authorization"]).toContain("Credential=AKIAONE/20260101/auto/s3/aws4_request")
  expect(second.headers["authorization"]).toContain("Credential=AKIATWO/20260102/auto/s3/aws4_request")
  expect(second.headers["x-amz-date"]).toBe("20260102T000959Z")
  expect(verify(onWire("GET", second.url, second.headers), "AKIATWO-secret", emptyPayload)).toBe("ok")
})

const refused = (code: string | undefined, date: string, status = 403): Parameters<Signer["learn"]>[1] => ({
  status,
  code,
  headers: new Headers({ date }),
})

test("fault 49: 50 requests refused for a clock an hour off all go through signed again", async () => {
  const truth = Date.parse("2026-01-01T12:00:00Z")
  for (const skew of [-3_600_000, 3_600_000]) {
    const signer = new Signer({ region: "us-east-1", credentials: documented, clock: new Clock(() => truth + skew) })
    const request = { method: "GET", origin, path: "/a" }
    const attempts = await Promise.all(Array.from({ length: 50 }, () => signer.sign(request, emptyPayload)))
    const reply = refused("RequestTimeTooSkewed", new Date(truth).toUTCString())
    expect(attempts.map((attempt) => signer.learn(attempt, reply))).toEqual(Array(50).fill(true))
    const again = await signer.sign(request, emptyPayload)
    expect(again.headers["x-amz-date"]).toBe("20260101T120000Z")
    expect(signer.learn(again, reply)).toBe(false)
  }
})

test("fault 125: ExpiredToken makes the next attempt use new credentials, once for all that were in flight", async () => {
  let calls = 0
  const signer = new Signer({
    region: "us-east-1",
    credentials: () => Promise.resolve({ ...documented, sessionToken: `token${++calls}` }),
  })
  const request = { method: "PUT", origin, path: "/a", query: { partNumber: "2", uploadId: "u" } }
  const attempts = await Promise.all(Array.from({ length: 10 }, () => signer.sign(request, emptyPayload)))
  expect(calls).toBe(1)
  const reply = refused("ExpiredToken", new Date().toUTCString(), 400)
  const again = []
  for (const attempt of attempts) {
    expect(signer.learn(attempt, reply)).toBe(true)
    again.push((await signer.sign(request, emptyPayload)).headers["x-amz-security-token"])
  }
  expect(again).toEqual(Array(10).fill("token2"))
  expect(calls).toBe(2)
})

test("fixed credentials that have expired, and refusals for other causes, are not worth another try", async () => {
  const signer = new Signer({ region: "us-east-1", credentials: documented })
  const signed = await signer.sign({ method: "GET", origin, path: "/a" }, emptyPayload)
  const now = new Date().toUTCString()
  expect(signer.learn(signed, refused("ExpiredToken", now, 400))).toBe(false)
  expect(signer.learn(signed, refused("AccessDenied", now))).toBe(false)
  expect(signer.learn(signed, refused("SignatureDoesNotMatch", now))).toBe(false)
})

test("fault 129: a signer shows no secret to those who print it", async () => {
  const signer = s3({ credentials: { ...documented, sessionToken: "CANARYTOKEN" } })
  const signed = await signer.sign({ method: "GET", origin, path: "/a" }, emptyPayload)
  const util = await import("node:util")
  const shown = [
    util.inspect([signer, signed.signedBy], { depth: 10, showHidden: true }),
    JSON.stringify([signer, signed.signedBy]),
    `${signed.signedBy}`,
    inspectNatively([signer, signed.signedBy]),
  ].join("\n")
  expect(shown).not.toContain(secretAccessKey)
  expect(shown).not.toContain("CANARYTOKEN")
})
