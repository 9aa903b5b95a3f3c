/** What store URLs and the environment mean, and what is said of those that mean nothing. */
import { expect, test } from "bun:test"
import { StoreError } from "./error.ts"
import { type Environment, parseStoreUrl } from "./store-url.ts"

const refusal = (url: string, env: Environment = {}): StoreError => {
  try {
    parseStoreUrl(url, env)
  } catch (error) {
    if (StoreError.is(error)) return error
    throw error
  }
  throw new Error(`${url} was taken`)
}

/** The options of an s3: or r2: URL that are set. */
const optionsOf = (url: string, env: Environment = {}): Record<string, unknown> => {
  const location = parseStoreUrl(url, env)
  if (!("options" in location)) throw new Error("this is no bucket")
  return Object.fromEntries(Object.entries(location.options).filter(([, value]) => value !== undefined))
}

test("an s3: URL names bucket, prefix and options", () => {
  expect(optionsOf("s3://snapshots")).toEqual({ bucket: "snapshots" })
  expect(optionsOf("s3://snapshots/")).toEqual({ bucket: "snapshots" })
  expect(optionsOf("s3://snapshots/agents/a%20b/")).toEqual({ bucket: "snapshots", prefix: "agents/a b" })
  expect(
    optionsOf("s3://b/p?region=eu-central-1&endpoint=http://127.0.0.1:9000&forcePathStyle=true&profile=ceph"),
  ).toEqual({
    bucket: "b",
    prefix: "p",
    region: "eu-central-1",
    endpoint: "http://127.0.0.1:9000",
    pathStyle: true,
    profile: "ceph",
  })
  expect(optionsOf("s3://b?anonymous=true", { S3_ACCESS_KEY_ID: "k", S3_SECRET_ACCESS_KEY: "s" })).toEqual({
    bucket: "b",
    credentials: "anonymous",
  })
  expect(optionsOf("s3://b?requesterPays=1&fips=0&dualstack=true")).toEqual({
    bucket: "b",
    requesterPays: true,
    fips: false,
    dualstack: true,
  })
})

test("rows 155, 156, 157, 165: what the URL leaves out comes from the environment, and the URL goes before it", () => {
  const env = {
    AWS_S3_BUCKET: "from-env",
    AWS_REGION: "eu-west-1",
    AWS_ENDPOINT_URL: "https://all.example",
    S3_FORCE_PATH_STYLE: "true",
  }
  const found = { bucket: "from-env", region: "eu-west-1", endpoint: "https://all.example", pathStyle: true }
  for (const url of ["s3:", "s3://"]) expect(optionsOf(url, env)).toEqual(found)
  expect(optionsOf("s3:///runs", env)).toEqual({ ...found, prefix: "runs" })
  expect(optionsOf("s3://mine?region=us-east-2&pathStyle=false&endpoint=https://mine.example", env)).toEqual({
    bucket: "mine",
    region: "us-east-2",
    endpoint: "https://mine.example",
    pathStyle: false,
  })
  const order = ["S3_ENDPOINT", "S3_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"]
  for (let i = 0; i < order.length; i++) {
    const set = Object.fromEntries(order.slice(i).map((name) => [name, `https://${name.toLowerCase()}`]))
    expect(optionsOf("s3://b", set)["endpoint"]).toBe(`https://${order[i]!.toLowerCase()}`)
  }
  for (const name of ["AWS_S3_BUCKET", "AWS_BUCKET", "S3_BUCKET", "S3_BUCKET_NAME"]) {
    expect(optionsOf("s3:", { [name]: "b-env" })["bucket"]).toBe("b-env")
  }
  for (const name of ["S3_REGION", "AWS_REGION", "AWS_DEFAULT_REGION"]) {
    expect(optionsOf("s3://b", { [name]: "eu-north-1" })["region"]).toBe("eu-north-1")
  }
  expect(optionsOf("s3://b", { S3_ACCESS_KEY_ID: "k", S3_SECRET_ACCESS_KEY: "s", S3_SESSION_TOKEN: "t" })).toEqual({
    bucket: "b",
    accessKeyId: "k",
    secretAccessKey: "s",
    sessionToken: "t",
  })
  // Those are found by the backend itself, with all that Amazon's tools know about them.
  expect(optionsOf("s3://b", { AWS_ACCESS_KEY_ID: "k", AWS_SECRET_ACCESS_KEY: "s" })).toEqual({ bucket: "b" })
})

test("row 162: encryption can be asked for in the URL", () => {
  const encryptionOf = (url: string) => {
    const location = parseStoreUrl(url, {})
    return location.kind === "s3" ? location.encryption : "none"
  }
  expect(encryptionOf("s3://b")).toBeUndefined()
  expect(encryptionOf("s3://b?encryption=sse-s3")).toEqual({ type: "sse-s3" })
  expect(encryptionOf("s3://b?encryption=sse-kms&kmsKeyId=alias/mine")).toEqual({
    type: "sse-kms",
    keyId: "alias/mine",
  })
  expect(refusal("s3://b?encryption=AES256").hint).toContain("sse-s3")
  expect(refusal("s3://b?kmsKeyId=x").hint).toContain("encryption=sse-kms")
})

test("an r2: URL names account, bucket and prefix", () => {
  const account = "0123456789abcdef0123456789abcdef"
  const keys = { R2_ACCESS_KEY_ID: "k", R2_SECRET_ACCESS_KEY: "s" }
  expect(optionsOf(`r2://${account}/b/p/q?jurisdiction=eu`, keys)).toEqual({
    accountId: account,
    bucket: "b",
    prefix: "p/q",
    jurisdiction: "eu",
    accessKeyId: "k",
    secretAccessKey: "s",
  })
  expect(optionsOf("r2://b/p", { R2_ACCOUNT_ID: account })).toEqual({ accountId: account, bucket: "b", prefix: "p" })
  expect(optionsOf("r2:", { CLOUDFLARE_ACCOUNT_ID: account, R2_BUCKET: "b" })).toEqual({
    accountId: account,
    bucket: "b",
  })
  expect(refusal("r2://b").hint).toContain("R2_ACCOUNT_ID")
  expect(refusal(`r2://${account}`).detail).toContain("no bucket")
})

test("an http or https URL names a server, and its token comes from the environment", () => {
  expect(optionsOf("https://example.com/store", { HOLDFAST_TOKEN: "t" })).toEqual({
    url: "https://example.com/store",
    token: "t",
  })
  expect(optionsOf("http://127.0.0.1:8000/store")).toEqual({ url: "http://127.0.0.1:8000/store" })
})

test("a webdav+http or webdav+https URL names a folder of a server, and who asks comes from the environment", () => {
  const env = { WEBDAV_USER: "u", WEBDAV_PASSWORD: "p" }
  expect(optionsOf("webdav+https://dav.example/files/u", env)).toEqual({
    url: "https://dav.example/files/u",
    user: "u",
    password: "p",
  })
  expect(optionsOf("webdav+http://127.0.0.1:8000", { WEBDAV_TOKEN: "t" })).toEqual({
    url: "http://127.0.0.1:8000",
    token: "t",
  })
  expect(parseStoreUrl("webdav+http://127.0.0.1:8000", {}).kind).toBe("webdav")
})

test("what is wrong with a URL is said with what to write instead, and its secrets are not repeated", () => {
  const wrong: ReadonlyArray<readonly [url: string, part: string]> = [
    ["s3:", "AWS_S3_BUCKET"],
    ["s3:bucket", "s3://bucket/prefix"],
    ["s3://b?bucket=c", "the options are region"],
    ["s3://b?fips=maybe", "fips=true"],
    ["s3://b/%zz", "%25"],
    ["gs://b", '"s3://bucket/prefix"'],
    ["s3://b?accessKeyId=AKIACANARY", "AWS_ACCESS_KEY_ID"],
    ["s3://AKIACANARY:canary@bucket/p", "AWS_ACCESS_KEY_ID"],
    ["s3://b?secretAccessKey=canary", "AWS_SECRET_ACCESS_KEY"],
    ["https://canary@example.com/store", "HOLDFAST_TOKEN"],
    ["https://example.com/store?token=canary", "HOLDFAST_TOKEN"],
    ["https://", '"https://host/base"'],
    ["webdav+https://u:canary@example.com/store", "WEBDAV_PASSWORD"],
    ["webdav+https://example.com/store?token=canary", "WEBDAV_TOKEN"],
    ["webdav+https://", '"webdav+https://host/folder"'],
  ]
  for (const [url, part] of wrong) {
    const error = refusal(url)
    expect(error.reason).toBe("Config")
    expect(error.hint).toContain(part)
    expect(`${error.message} ${error.hint}`.toLowerCase()).not.toContain("canary")
  }
  expect(refusal("s3://b", { S3_ACCESS_KEY_ID: "canary" }).detail).toBe(
    "S3_ACCESS_KEY_ID is set and S3_SECRET_ACCESS_KEY is not",
  )
})
