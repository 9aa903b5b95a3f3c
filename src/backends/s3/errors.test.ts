import { expect, test } from "bun:test"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { type Reason, StoreError } from "../../error.ts"
import type { PeerFault } from "../../testing/s3/mod.ts"
import { bytes, expectReason, putOptions } from "../conformance.ts"
import { noAnswer, readError, refusal, scrub } from "./errors.ts"
import { minPartSize, open } from "./testing.ts"

const refused = (
  status: number,
  code: string | undefined,
  more: string = "",
  headers: Record<string, string> = {},
) => ({
  status,
  headers: new Headers(headers),
  document: readError(code === undefined ? "" : `<Error><Code>${code}</Code>${more}</Error>`),
})

const read = { operation: "get", key: "k", mutates: false }
const write = { operation: "put", key: "k", mutates: true }

test("refusal() gives every code its reason, and says whether to try again", () => {
  const table: ReadonlyArray<readonly [status: number, code: string | undefined, reason: Reason, transient: boolean]> =
    [
      [404, "NoSuchKey", "NotFound", false],
      [404, "NoSuchVersion", "NotFound", false],
      [404, "NoSuchUpload", "NotFound", false],
      [404, "NoSuchBucket", "Config", false],
      [404, undefined, "NotFound", false],
      [403, "AccessDenied", "Forbidden", false],
      [403, undefined, "Forbidden", false],
      [403, "InvalidObjectState", "Forbidden", false],
      [403, "InvalidAccessKeyId", "Unauthorized", false],
      [403, "SignatureDoesNotMatch", "Unauthorized", false],
      [403, "RequestTimeTooSkewed", "Unauthorized", false],
      [400, "ExpiredToken", "Unauthorized", false],
      [401, "Unauthorized", "Unauthorized", false],
      [401, undefined, "Unauthorized", false],
      [400, "AuthorizationHeaderMalformed", "Config", false],
      [301, "PermanentRedirect", "Config", false],
      [307, undefined, "Config", false],
      [412, "PreconditionFailed", "PreconditionFailed", false],
      [412, undefined, "PreconditionFailed", false],
      [304, undefined, "NotModified", false],
      [409, "ConditionalRequestConflict", "Conflict", true],
      [409, "OperationAborted", "Conflict", true],
      [409, "XMinioObjectExistsAsDirectory", "Conflict", false],
      [503, "SlowDown", "RateLimited", true],
      [429, undefined, "RateLimited", true],
      [400, "RequestTimeout", "Timeout", true],
      [408, undefined, "Timeout", true],
      [500, "InternalError", "Unavailable", true],
      [200, "InternalError", "Unavailable", true],
      [502, undefined, "Unavailable", true],
      [599, "Whatever", "Unavailable", true],
      [400, "BadDigest", "Corrupt", true],
      [400, "XAmzContentSHA256Mismatch", "Corrupt", true],
      [400, "EntityTooLarge", "TooLarge", false],
      [400, "EntityTooSmall", "InvalidInput", false],
      [400, "InvalidPart", "InvalidInput", false],
      [400, "KeyTooLongError", "InvalidKey", false],
      [400, undefined, "InvalidInput", false],
      [416, "InvalidRange", "RangeNotSatisfiable", false],
      [501, "NotImplemented", "Unsupported", false],
      [507, "XMinioStorageFull", "NoSpace", false],
      [403, "QuotaExceeded", "NoSpace", false],
      [418, undefined, "Protocol", false],
      [400, "constructor", "InvalidInput", false],
    ]
  for (const [status, code, reason, transient] of table) {
    const error = refusal(write, refused(status, code), "test")
    expect([`${status} ${code}`, [error.reason, error.transient]]).toEqual([`${status} ${code}`, [reason, transient]])
    // A refusal is known not to have taken effect; only a service in trouble leaves it open.
    expect([`${status} ${code}`, error.ambiguous]).toEqual([
      `${status} ${code}`,
      reason === "Unavailable" || reason === "Protocol",
    ])
    expect(refusal(read, refused(status, code), "test").ambiguous).toBe(false)
    expect([error.backend, error.operation, error.key]).toEqual(["s3", "put", "k"])
    expect(error.hint.length).toBeGreaterThan(10)
  }
})

test("refusal() reads a failed condition as what was asked for", () => {
  const create = { ...write, condition: "create" as const }
  const match = { ...write, condition: "match" as const }
  expect(refusal(create, refused(412, "PreconditionFailed"), "test").reason).toBe("AlreadyExists")
  expect(refusal(match, refused(412, "PreconditionFailed"), "test").reason).toBe("PreconditionFailed")
  expect(refusal(match, refused(404, "NoSuchKey"), "test").reason).toBe("PreconditionFailed")
  expect(refusal(match, refused(404, "NoSuchUpload"), "test").reason).toBe("NotFound")
  expect(refusal(match, refused(404, "NoSuchBucket"), "test").reason).toBe("Config")
  const marker = refused(405, "MethodNotAllowed", "", { "x-amz-delete-marker": "true" })
  expect(refusal(read, marker, "test").reason).toBe("NotFound")
})

test("messages name the bucket, the region and what to do, and keep the request id", () => {
  const missing = refusal(read, refused(404, "NoSuchBucket", "<RequestId>ABC123</RequestId>"), "my-bucket")
  expect(missing.message).toBe('Cannot get "k": bucket "my-bucket" not found')
  expect(missing.requestId).toBe("ABC123")
  expect(refusal(read, refused(403, "AccessDenied"), "my-bucket").message).toContain(
    'access denied to bucket "my-bucket"',
  )
  const region = refusal(read, refused(400, "AuthorizationHeaderMalformed", "<Region>eu-west-1</Region>"), "my-bucket")
  expect(region.hint).toContain('set region: "eu-west-1"')
  const header = refusal(read, refused(301, undefined, "", { "x-amz-bucket-region": "eu-west-2" }), "my-bucket")
  expect(header.hint).toContain('set region: "eu-west-2"')
  const invalid = refusal(write, refused(400, "InvalidArgument", "<Message>Bad tag value</Message>"), "my-bucket")
  expect(invalid.message).toContain("InvalidArgument: Bad tag value")
  const later = refused(503, "SlowDown", "", { "retry-after": new Date(Date.now() + 60_000).toUTCString() })
  expect(refusal(read, later, "my-bucket").retryAfter).toBeGreaterThan(30_000)
  expect(refusal(read, refused(503, "SlowDown", "", { "retry-after": "soon" }), "my-bucket").retryAfter).toBeUndefined()
})

test("fault 130: what a service echoes is scrubbed", () => {
  const token = "FwoGZXIvYXdzEJr//////////wEaDKjkASDF1234567890"
  for (const text of [token, `the token ${token} is bad`, `https://host/k?X-Amz-Signature=abc`, "a\nb\u0000c"]) {
    expect(scrub(text)).not.toContain(token)
    expect(scrub(text)).not.toContain("abc")
    expect(scrub(text)).toMatch(/^[^\n\0]*$/)
  }
  expect(scrub("x ".repeat(1000)).length).toBeLessThanOrEqual(200)
  const signature = refused(
    403,
    "SignatureDoesNotMatch",
    `<Message>${token}</Message><StringToSign>${token}</StringToSign>`,
  )
  expect(JSON.stringify(refusal(read, signature, "test"))).not.toContain(token)
  const odd = readError(
    `<Error><Code>${token}${token}</Code><Region>a b</Region><RequestId>${token}==</RequestId></Error>`,
  )
  expect([odd.code, odd.region, odd.requestId]).toEqual([undefined, undefined, undefined])
})

test("fault 23: a certificate that cannot be trusted is told, and not tried again", () => {
  const cases: ReadonlyArray<readonly [message: string, code?: string]> = [
    ["certificate has expired", "CERT_HAS_EXPIRED"],
    ["fetch failed", "ERR_TLS_CERT_ALTNAME_INVALID"],
    ["self signed certificate", "DEPTH_ZERO_SELF_SIGNED_CERT"],
    ["client error (Connect): invalid peer certificate: UnknownIssuer"],
  ]
  for (const [message, code] of cases) {
    const error = noAnswer(write, Object.assign(new TypeError(message), { code }), "host:1")
    expect([error.reason, error.transient, error.ambiguous]).toEqual(["Unavailable", false, false])
    expect(error.message).toContain("the certificate of host:1 cannot be trusted")
  }
  const inner = new TypeError("fetch failed", { cause: Object.assign(new Error("x"), { code: "CERT_HAS_EXPIRED" }) })
  expect(noAnswer(write, inner, "host").transient).toBe(false)
})

test("a request without an answer may have taken effect; one that was never sent has not", () => {
  const reset = noAnswer(write, Object.assign(new Error("socket hang up"), { code: "ECONNRESET" }), "host")
  expect([reset.reason, reset.transient, reset.ambiguous]).toEqual(["Unavailable", true, true])
  const unsent = noAnswer(write, Object.assign(new Error("x"), { code: "ECONNREFUSED" }), "host")
  expect([unsent.reason, unsent.transient, unsent.ambiguous]).toEqual(["Unavailable", true, false])
  expect(noAnswer(read, new Error("x"), "host").ambiguous).toBe(false)
  const url = new TypeError("error sending request for url (http://host/b/k?uploadId=abc&X-Amz-Signature=def): closed")
  const shown = noAnswer(write, url, "host").cause as Error
  expect(shown.message).toBe("error sending request for url (http://host/b/k): closed")
})

const canaries = {
  secretAccessKey: "CANARYsecretCANARYsecretCANARYsecret0001",
  sessionToken: "CANARYtokenCANARYtokenCANARYtokenCANARY2",
}

/** Everything that a program could print of an error, its causes included. */
const printed = (error: StoreError): string => {
  const runtime = (Reflect.get(globalThis, "Deno") ?? Reflect.get(globalThis, "Bun")) as {
    inspect: (value: unknown, options: object) => string
  }
  const causes: Array<unknown> = []
  for (let at: unknown = error; at !== undefined && at !== null; at = (at as { cause?: unknown }).cause) causes.push(at)
  return [
    ...causes.flatMap((one) => [
      String(one),
      String((one as Error).stack),
      JSON.stringify(one),
      runtime.inspect(one, { depth: 20, showHidden: true }),
    ]),
  ].join("\n")
}

test("fault 129: no secret, signature or query shows in any error, whatever goes wrong with any call", async () => {
  const customerKey = bytes(99, 32)
  const { peer, backend, store } = await Effect.runPromise(
    open({
      accessKeyId: "AKIACANARY",
      ...canaries,
      credentials: undefined,
      peer: { credentials: [{ accessKeyId: "AKIACANARY", ...canaries }] },
    }),
  )
  const data = bytes(1, 3 * minPartSize)
  const echo = (headers: Headers): string => [...headers].map(([name, value]) => `${name}: ${value}`).join("\n")
  let sent = ""
  const faults: ReadonlyArray<PeerFault> = [
    { kind: "drop" },
    { kind: "error", status: 500, code: "InternalError" },
    { kind: "error", status: 403, code: "SignatureDoesNotMatch", message: canaries.secretAccessKey },
    { kind: "error", status: 400, code: "InvalidArgument", message: canaries.sessionToken },
    { kind: "error", status: 403, code: "AccessDenied", details: { Token: canaries.sessionToken } },
    { kind: "reply", status: 200, body: `<html>${canaries.sessionToken}</html>` },
    { kind: "reply", status: 301, headers: { location: `http://host/?X-Amz-Security-Token=${canaries.sessionToken}` } },
    { kind: "raw", bytes: canaries.sessionToken },
  ]
  const errors: Array<StoreError> = []
  for (const fault of faults) {
    peer.script([{ fault }])
    const encryption = { type: "sse-c", key: customerKey } as const
    const calls: ReadonlyArray<Effect.Effect<unknown, StoreError>> = [
      store.save("k", data, { encryption, partSize: minPartSize, retry: "none" }),
      store.save("k", data, { encryption, retry: "none" }),
      store.load("k", { customerKey, retry: "none" }),
      store.stat("k", { customerKey, retry: "none" }),
      store.copy("k", "c", { sourceCustomerKey: customerKey, encryption, retry: "none" }),
      store.remove("k", { retry: "none" }),
      backend.list(),
      backend.removeMany(["k"]),
      backend.listUploads!(),
      backend.listVersions!(),
      backend.abortUpload({ id: "secret-upload-id", key: "k" }),
    ]
    for (const call of calls) {
      errors.push(await Effect.runPromise(Effect.flip(Effect.andThen(call, wrong))).catch(() => wrong))
    }
  }
  sent = peer.requests.map(({ headers }) => echo(new Headers(headers as Array<[string, string]>))).join("\n")
  // The test can see what it looks for: all of it was on the wire.
  const secret = btoa(String.fromCharCode(...customerKey))
  const signatures = [...sent.matchAll(/Signature=([0-9a-f]{64})/g)].map((match) => match[1]!)
  expect([sent.includes(canaries.sessionToken), sent.includes(secret), signatures.length > 50]).toEqual([
    true,
    true,
    true,
  ])
  expect(errors.length).toBe(faults.length * 11)
  for (const error of errors) {
    const text = printed(error)
    for (const canary of [...Object.values(canaries), secret, ...signatures, "uploadId=", "X-Amz-"]) {
      expect([`${canary.slice(0, 12)} in ${error.message}`, text.includes(canary)]).toEqual([
        `${canary.slice(0, 12)} in ${error.message}`,
        false,
      ])
    }
  }
})

/** Stands for a call that succeeded although its answer was a fault. */
const wrong = new StoreError({ reason: "Protocol", detail: "it succeeded" })

test("a missing bucket is Config for every call, so that exists never says false for it", async () => {
  const { backend, store } = await Effect.runPromise(open({ bucket: "other-bucket" }))
  const data = new Uint8Array(1)
  for (const call of [backend.get("k"), backend.put("k", data, putOptions(data)), backend.list()]) {
    const error = await Effect.runPromise(expectReason<unknown, never>(call, "Config"))
    expect(error.message).toContain('bucket "other-bucket" not found')
  }
  expect(await Effect.runPromise(Effect.flip(store.list().pipe(Stream.runCollect))).then(({ reason }) => reason)).toBe(
    "Config",
  )
})
