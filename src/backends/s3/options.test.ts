import { expect, test } from "bun:test"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { StoreError } from "../../error.ts"
import { make, profileOf, profiles, type S3Options } from "./mod.ts"
import { settle } from "./options.ts"
import * as R2 from "./r2.ts"
import { open } from "./testing.ts"

const keys = { accessKeyId: "AKIA", secretAccessKey: "secret" }

test("profileOf() knows services by their host", () => {
  const hosts: ReadonlyArray<readonly [host: string, name: string]> = [
    ["s3.eu-west-1.amazonaws.com", "aws"],
    ["bucket.s3.dualstack.eu-west-1.amazonaws.com", "aws"],
    ["s3.cn-north-1.amazonaws.com.cn", "aws"],
    ["S3.AMAZONAWS.COM", "aws"],
    ["abc.eu.r2.cloudflarestorage.com", "r2"],
    ["storage.googleapis.com", "gcs-interop"],
    ["s3.us-west-004.backblazeb2.com", "b2"],
    ["notamazonaws.com", "generic"],
    ["amazonaws.com.example.org", "generic"],
    ["127.0.0.1", "generic"],
  ]
  for (const [host, name] of hosts) {
    expect([host, profileOf(host)]).toEqual([host, name as ReturnType<typeof profileOf>])
  }
})

test("every profile's parts fit each other and the limits of its service", () => {
  for (const { parts, maxPut, maxCopy, name } of Object.values(profiles)) {
    expect([name, parts.minSize <= parts.recommendedSize && parts.recommendedSize <= parts.maxSize]).toEqual([
      name,
      true,
    ])
    expect([name, maxPut >= parts.recommendedSize && maxCopy > 0]).toEqual([name, true])
  }
})

/** Where a request for the key `k` goes. */
const target = (options: Partial<S3Options>, region?: string): string => {
  const settings = settle({ bucket: "test", ...keys, ...options }, region)
  return `${settings.originIn(settings.region)}${settings.base}${settings.prefix}k`
}

test("requests go to the endpoint that the options say", () => {
  expect(target({})).toBe("https://test.s3.us-east-1.amazonaws.com/k")
  expect(target({}, "eu-west-3")).toBe("https://test.s3.eu-west-3.amazonaws.com/k")
  expect(target({ region: "eu-west-1" }, "eu-west-3")).toBe("https://test.s3.eu-west-1.amazonaws.com/k")
  expect(target({ region: "cn-north-1" })).toBe("https://test.s3.cn-north-1.amazonaws.com.cn/k")
  expect(target({ pathStyle: true })).toBe("https://s3.us-east-1.amazonaws.com/test/k")
  expect(target({ bucket: "a.b" })).toBe("https://s3.us-east-1.amazonaws.com/a.b/k")
  expect(target({ dualstack: true })).toBe("https://test.s3.dualstack.us-east-1.amazonaws.com/k")
  expect(target({ fips: true })).toBe("https://test.s3-fips.us-east-1.amazonaws.com/k")
  expect(target({ fips: true, dualstack: true })).toBe("https://test.s3-fips.dualstack.us-east-1.amazonaws.com/k")
  expect(target({ accelerate: true })).toBe("https://test.s3-accelerate.amazonaws.com/k")
  expect(target({ accelerate: true, dualstack: true })).toBe("https://test.s3-accelerate.dualstack.amazonaws.com/k")
  expect(target({ endpoint: "http://127.0.0.1:9000" })).toBe("http://127.0.0.1:9000/test/k")
  expect(target({ endpoint: "https://host/sub/path/" })).toBe("https://host/sub/path/test/k")
  expect(target({ endpoint: "https://host", pathStyle: false })).toBe("https://test.host/k")
  expect(target({ prefix: "a/b" })).toBe("https://test.s3.us-east-1.amazonaws.com/a/b/k")
  expect(target({ prefix: "a/b/" })).toBe("https://test.s3.us-east-1.amazonaws.com/a/b/k")
})

test("the region comes from the option, the endpoint, this machine or the profile, in this order", () => {
  const region = (options: Partial<S3Options>, here?: string) =>
    settle({ bucket: "test", ...keys, ...options }, here).region
  expect(region({}, "eu-west-3")).toBe("eu-west-3")
  expect(region({ endpoint: "https://s3.eu-west-1.amazonaws.com" }, "eu-west-3")).toBe("eu-west-1")
  expect(region({ endpoint: "https://s3.dualstack.eu-west-2.amazonaws.com" })).toBe("eu-west-2")
  expect(region({ endpoint: "https://s3-fips.us-gov-west-1.amazonaws.com" })).toBe("us-gov-west-1")
  expect(region({ endpoint: "https://s3.us-west-004.backblazeb2.com" })).toBe("us-west-004")
  expect(region({ endpoint: "https://s3.us-west-004.backblazeb2.com", region: "x" })).toBe("x")
  expect(region({ endpoint: `https://${"a".repeat(32)}.r2.cloudflarestorage.com` })).toBe("auto")
  expect(region({ endpoint: "https://minio.example.com" }, "eu-west-3")).toBe("us-east-1")
})

test("fault 142: what is wrong with the options is Config before any request, and says what to write", () => {
  const cases: ReadonlyArray<readonly [options: Record<string, unknown>, says: string]> = [
    [{ bucket: "" }, "there is no bucket"],
    [{ bucket: undefined }, "there is no bucket"],
    [{ bucket: "My_Bucket" }, "is not a bucket's name"],
    [{ bucket: "ab" }, "is not a bucket's name"],
    [{ bucket: "192.168.1.1" }, "is not a bucket's name"],
    [{ bucket: "a..b" }, "is not a bucket's name"],
    [{ bucket: "bucket/folder" }, "holds a /"],
    [{ bucket: "arn:aws:s3:us-east-1:1:accesspoint/a" }, "is an ARN"],
    [{ bucket: "logs--use1-az4--x-s3" }, "directory buckets"],
    [{ region: "eu west 1" }, "is not a region's name"],
    [{ endpoint: "minio.example.com" }, "not an http or https URL"],
    [{ endpoint: "ftp://host" }, "not an http or https URL"],
    [{ endpoint: "https://user:hunter2@host" }, "holds a user or a password"],
    [{ endpoint: "https://host?token=hunter2" }, "has a query"],
    [{ endpoint: "https://host/a/../b" }, "has a . or .. segment"],
    [{ endpoint: "https://host/%zz" }, "not an http or https URL"],
    [{ prefix: "/a" }, "starts with /"],
    [{ prefix: "a/../b" }, 'a ".." segment'],
    [{ profile: "swift" }, "there is no profile"],
    [{ accessKeyId: "AKIA", secretAccessKey: undefined }, "no secretAccessKey"],
    [{ secretAccessKey: "hunter2", accessKeyId: undefined }, "no accessKeyId"],
    [{ secretAccessKey: " hunter2" }, "starts or ends with a space"],
    [{ credentials: "anonymous" }, "both credentials and an accessKeyId"],
    [{ accelerate: true, pathStyle: true }, "accelerate needs the bucket in the host name"],
    [{ accelerate: true, bucket: "a.b" }, "accelerate needs the bucket in the host name"],
    [{ accelerate: true, fips: true }, "no FIPS endpoint"],
    [{ endpoint: "http://127.0.0.1", pathStyle: false }, "cannot stand in front"],
    [{ endpoint: "https://host/%ff" }, "not an http or https URL"],
    [{ endpoint: "https://host", fips: true }, "choose Amazon's endpoint"],
    [{ expectedBucketOwner: "me" }, "expectedBucketOwner"],
    [{ buckett: "x" }, 'no option "buckett"'],
  ]
  for (const [options, says] of cases) {
    let error: unknown
    try {
      settle({ bucket: "test", ...keys, ...options } as S3Options, undefined)
    } catch (thrown) {
      error = thrown
    }
    if (!StoreError.is(error)) throw new Error(`${says}: got ${error}`)
    expect([says, error.reason]).toEqual([says, "Config"])
    expect(error.message).toContain(says)
    expect(JSON.stringify(error)).not.toContain("hunter2")
    expect(error.hint.length).toBeGreaterThan(5)
  }
})

test("make() fails with Config, not with a throw", async () => {
  const error = await Effect.runPromise(Effect.flip(make({ bucket: "", ...keys })))
  expect([error.reason, error.operation]).toEqual(["Config", "open"])
})

test("secrets may be redacted, and show nowhere in the store that is made", async () => {
  const backend = await Effect.runPromise(
    make({ bucket: "test", region: "us-east-1", accessKeyId: "AKIA", secretAccessKey: Redacted.make("hunter2") }),
  )
  const runtime = (Reflect.get(globalThis, "Deno") ?? Reflect.get(globalThis, "Bun")) as {
    inspect: (value: unknown, options: object) => string
  }
  expect(runtime.inspect(backend, { depth: 10, showHidden: true })).not.toContain("hunter2")
})

test("requester pays, the expected owner and nobody's signature reach the wire", async () => {
  const { peer, store } = await Effect.runPromise(
    open({
      requesterPays: true,
      expectedBucketOwner: "123456789012",
      credentials: "anonymous",
      peer: { anonymous: true },
    }),
  )
  await Effect.runPromise(store.save("a", "hello"))
  await Effect.runPromise(store.copy("a", "b"))
  for (const { headers } of peer.requests) {
    const sent = Object.fromEntries(headers)
    expect(sent["x-amz-request-payer"]).toBe("requester")
    expect(sent["x-amz-expected-bucket-owner"]).toBe("123456789012")
    expect(sent["authorization"]).toBeUndefined()
  }
  const copy = Object.fromEntries(peer.requests.find(({ operation }) => operation === "CopyObject")!.headers)
  expect(copy["x-amz-source-expected-bucket-owner"]).toBe("123456789012")
})

test("R2 is a preset: the account's endpoint, the region auto, parts of one size", async () => {
  const seen: Array<string> = []
  const fetch = (url: string): Promise<Response> => {
    seen.push(url)
    return Promise.resolve(new Response(null, { status: 404 }))
  }
  const accountId = "0123456789abcdef0123456789ABCDEF"
  const backend = await Effect.runPromise(
    R2.make({ accountId, bucket: "test", ...keys, prefix: "runs", jurisdiction: "eu", fetch }),
  )
  expect(backend.capabilities.parts?.equalSize).toBe(true)
  expect((await Effect.runPromise(Effect.flip(backend.stat("a")))).reason).toBe("NotFound")
  expect(seen).toEqual([`https://${accountId.toLowerCase()}.eu.r2.cloudflarestorage.com/test/runs/a`])
  for (const wrong of [{ accountId: "me" }, { jurisdiction: "us" as "eu" }]) {
    const error = await Effect.runPromise(Effect.flip(R2.make({ accountId, bucket: "test", ...keys, ...wrong })))
    expect(error.reason).toBe("Config")
  }
})
