/**
 * Store URLs and the environment: what a text like `s3://bucket/prefix?region=eu-central-1` says, without opening
 * anything. What the URL leaves out comes from the environment, and what that leaves out from the files and services
 * that the backend knows; options given in code go before all of them.
 *
 * @module
 */
import type { EncryptionInput } from "./options.ts"
import { StoreError } from "./error.ts"

/** The variable that names the store when no URL is given. */
export const storeVariable = "HOLDFAST_STORE"

/** The variables of a process, by name. */
export type Environment = Readonly<Record<string, string | undefined>>

/** An S3 bucket, as a URL and the environment describe it. */
export interface S3Location {
  readonly bucket: string
  readonly prefix?: string | undefined
  readonly region?: string | undefined
  readonly endpoint?: string | undefined
  readonly profile?: string | undefined
  readonly accessKeyId?: string | undefined
  readonly secretAccessKey?: string | undefined
  readonly sessionToken?: string | undefined
  readonly credentials?: "anonymous" | undefined
  readonly pathStyle?: boolean | undefined
  readonly dualstack?: boolean | undefined
  readonly fips?: boolean | undefined
  readonly accelerate?: boolean | undefined
  readonly requesterPays?: boolean | undefined
  readonly expectedBucketOwner?: string | undefined
}

/** An R2 bucket, likewise. */
export interface R2Location {
  readonly accountId: string
  readonly bucket: string
  readonly prefix?: string | undefined
  readonly jurisdiction?: string | undefined
  readonly accessKeyId?: string | undefined
  readonly secretAccessKey?: string | undefined
}

/** A folder on a WebDAV server, likewise. */
export interface WebdavLocation {
  readonly url: string
  readonly user?: string | undefined
  readonly password?: string | undefined
  readonly token?: string | undefined
}

/** What a store URL means. */
export type Location =
  | { readonly kind: "memory" }
  | { readonly kind: "disk"; readonly root: string }
  | { readonly kind: "s3"; readonly options: S3Location; readonly encryption: EncryptionInput | undefined }
  | { readonly kind: "r2"; readonly options: R2Location }
  | { readonly kind: "remote"; readonly options: { readonly url: string; readonly token: string | undefined } }
  | { readonly kind: "webdav"; readonly options: WebdavLocation }

const config = (detail: string, hint: string): StoreError =>
  new StoreError({ reason: "Config", detail, hint, operation: "open" })

const examples =
  'use "file:PATH", "mem:", "s3://bucket/prefix", "r2://account/bucket/prefix", "https://host/base" or ' +
  '"webdav+https://host/folder"'

/** Reads a store URL. Throws a `Config` error that says what to write instead. */
export const parseStoreUrl = (url: string, env: Environment): Location => {
  const scheme = /^([a-z][a-z0-9+.-]*):/i.exec(url)?.[1]?.toLowerCase()
  const rest = scheme === undefined ? url : url.slice(scheme.length + 1)
  switch (scheme) {
    case "mem":
      if (rest === "" || rest === "//") return { kind: "memory" }
      throw config(`"mem:" takes nothing after the colon, this has ${JSON.stringify(rest)}`, 'use "mem:"')
    case "file":
      return { kind: "disk", root: filePath(rest) }
    case "s3":
      return s3(rest, env)
    case "r2":
      return r2(rest, env)
    case "http":
    case "https":
      return remote(url, env)
    case "webdav+http":
    case "webdav+https":
      return webdav(url.slice("webdav+".length), env)
    case undefined:
      throw config(
        `${JSON.stringify(url)} is not a store URL: it has no scheme`,
        `for a folder use ${JSON.stringify(`file:${url}`)}`,
      )
    default:
      throw config(`stores of the kind "${scheme}:" are not known`, examples)
  }
}

const filePath = (rest: string): string => {
  if (!rest.startsWith("//")) {
    if (rest === "") throw config('"file:" names no folder', 'give one, such as "file:./data"')
    if (rest.includes("\0")) throw config("the path of the store holds a NUL character", "give the path of a folder")
    return rest
  }
  const url = new URL(`file:${rest}`)
  if (url.host !== "") {
    throw config(
      `"file:${rest}" names the host "${url.host}"`,
      `use "file:///…" for an absolute path, "file:./…" for another`,
    )
  }
  if (url.search !== "" || url.hash !== "") {
    throw config(`"file:" takes no options, this has "${url.search}${url.hash}"`, "percent-encode ? and # in the path")
  }
  try {
    return decodeURIComponent(url.pathname)
  } catch {
    throw config(`"file:${rest}" is not percent-encoded well`, 'write "%" as "%25", or use "file:/path"')
  }
}

/** The parts of `//name/path?query`. Messages never repeat the text: people put secrets into URLs. */
const parts = (scheme: string, rest: string): { segments: ReadonlyArray<string>; query: URLSearchParams } => {
  const match = /^\/\/([^?#]*)(?:\?([^#]*))?$/.exec(rest)
  if (match === null) {
    throw config(`this "${scheme}:" URL is not like "${scheme}://name/…"`, examples)
  }
  const [, path = "", query = ""] = match
  if (/^[^/]*@/.test(path)) {
    throw config(
      `this "${scheme}:" URL holds a user or a key`,
      "keep keys out of URLs, which end up in logs: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or pass them in code",
    )
  }
  try {
    const segments = path.split("/").map(decodeURIComponent)
    return { segments, query: new URLSearchParams(query) }
  } catch {
    throw config(`this "${scheme}:" URL is not percent-encoded well`, 'write "%" as "%25"')
  }
}

/** What the rest of a URL's path is as a prefix. */
const prefixOf = (segments: ReadonlyArray<string>): string | undefined => {
  const prefix = segments.join("/").replace(/\/+$/, "")
  return prefix === "" ? undefined : prefix
}

const flags = ["pathStyle", "dualstack", "fips", "accelerate", "requesterPays", "anonymous"] as const
const texts = ["region", "endpoint", "profile", "expectedBucketOwner", "encryption", "kmsKeyId"] as const

/** A flag's value; `undefined` where it is not given. */
const flag = (name: string, value: string | null | undefined): boolean | undefined => {
  if (value === null || value === undefined || value === "") return undefined
  if (/^(true|1)$/i.test(value)) return true
  if (/^(false|0)$/i.test(value)) return false
  throw config(`${name} is ${JSON.stringify(value)}`, `write ${name}=true or ${name}=false`)
}

/** The first variable that is set to something. */
const first = (env: Environment, ...names: ReadonlyArray<string>): string | undefined =>
  names.map((name) => env[name]).find((value) => value !== undefined && value !== "")

const checkNames = (scheme: string, query: URLSearchParams, names: ReadonlyArray<string>): void => {
  for (const name of query.keys()) {
    if (names.includes(name)) continue
    const secret = /key|secret|token|password/i.test(name)
    throw config(
      `"${scheme}:" URLs have no option ${JSON.stringify(name.slice(0, 40))}`,
      secret
        ? "keep keys out of URLs, which end up in logs: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or pass them in code"
        : `the options are ${names.join(", ")}`,
    )
  }
}

const s3 = (rest: string, env: Environment): Location => {
  const { segments: [named = "", ...path], query } = parts("s3", rest === "" ? "//" : rest)
  checkNames("s3", query, [...texts, ...flags, "forcePathStyle"])
  const bucket = named === "" ? first(env, "AWS_S3_BUCKET", "AWS_BUCKET", "S3_BUCKET", "S3_BUCKET_NAME") : named
  if (bucket === undefined) {
    throw config(
      'this "s3:" URL names no bucket',
      'write "s3://my-bucket", or set AWS_S3_BUCKET',
    )
  }
  const text = (name: typeof texts[number]): string | undefined => query.get(name) ?? undefined
  const encryption = text("encryption")
  const keyId = text("kmsKeyId")
  if (encryption !== undefined && encryption !== "sse-s3" && encryption !== "sse-kms") {
    throw config(`encryption is ${JSON.stringify(encryption)}`, "write encryption=sse-s3 or encryption=sse-kms")
  }
  if (keyId !== undefined && encryption !== "sse-kms") {
    throw config("kmsKeyId is given without encryption=sse-kms", "write encryption=sse-kms as well")
  }
  const anonymous = flag("anonymous", query.get("anonymous"))
  return {
    kind: "s3",
    encryption: encryption === undefined
      ? undefined
      : encryption === "sse-s3"
      ? { type: "sse-s3" }
      : { type: "sse-kms", keyId },
    options: {
      bucket,
      prefix: prefixOf(path),
      region: text("region") ?? first(env, "S3_REGION", "AWS_REGION", "AWS_DEFAULT_REGION"),
      endpoint: text("endpoint") ??
        first(env, "S3_ENDPOINT", "S3_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"),
      profile: text("profile"),
      expectedBucketOwner: text("expectedBucketOwner"),
      pathStyle: flag("pathStyle", query.get("pathStyle")) ?? flag("forcePathStyle", query.get("forcePathStyle")) ??
        flag("S3_FORCE_PATH_STYLE", first(env, "S3_FORCE_PATH_STYLE")),
      dualstack: flag("dualstack", query.get("dualstack")),
      fips: flag("fips", query.get("fips")),
      accelerate: flag("accelerate", query.get("accelerate")),
      requesterPays: flag("requesterPays", query.get("requesterPays")),
      ...(anonymous === true ? { credentials: "anonymous" as const } : keysOf(env, "S3")),
    },
  }
}

const r2 = (rest: string, env: Environment): Location => {
  const { segments, query } = parts("r2", rest === "" ? "//" : rest)
  checkNames("r2", query, ["jurisdiction"])
  const withAccount = /^[0-9a-f]{32}$/i.test(segments[0] ?? "")
  const [named = "", ...path] = withAccount ? segments.slice(1) : segments
  const accountId = withAccount ? segments[0] : first(env, "R2_ACCOUNT_ID", "CLOUDFLARE_ACCOUNT_ID")
  const bucket = named === "" ? first(env, "R2_BUCKET") : named
  if (accountId === undefined || bucket === undefined) {
    throw config(
      `this "r2:" URL names no ${accountId === undefined ? "account" : "bucket"}`,
      'write "r2://ACCOUNT/bucket/prefix" with the 32 hex digits of the account, or set R2_ACCOUNT_ID and R2_BUCKET',
    )
  }
  return {
    kind: "r2",
    options: {
      accountId,
      bucket,
      prefix: prefixOf(path),
      jurisdiction: query.get("jurisdiction") ?? undefined,
      ...keysOf(env, "R2"),
    },
  }
}

/** The URL of a server. `secrets` says where those belong that people put into URLs. */
const serverUrl = (what: string, url: string, example: string, secrets: string): string => {
  if (!URL.canParse(url)) throw config("this is no http or https URL", `write "${example}"`)
  const { username, password, search, hash } = new URL(url)
  if (username !== "" || password !== "" || search !== "" || hash !== "") {
    throw config(`the URL of a ${what} holds a user, a query or a fragment`, `leave them out; ${secrets}`)
  }
  return url
}

const remote = (url: string, env: Environment): Location => {
  const secrets = "a token comes from HOLDFAST_TOKEN, or is passed in code"
  return {
    kind: "remote",
    options: {
      url: serverUrl("Holdfast server", url, "https://host/base", secrets),
      token: first(env, "HOLDFAST_TOKEN"),
    },
  }
}

const webdav = (url: string, env: Environment): Location => {
  const secrets = "WEBDAV_USER and WEBDAV_PASSWORD, or WEBDAV_TOKEN, say who asks, or are passed in code"
  return {
    kind: "webdav",
    options: {
      url: serverUrl("WebDAV server", url, "webdav+https://host/folder", secrets),
      user: first(env, "WEBDAV_USER"),
      password: first(env, "WEBDAV_PASSWORD"),
      token: first(env, "WEBDAV_TOKEN"),
    },
  }
}

/** A key that the environment names for this kind of store; without one the backend looks where Amazon's tools do. */
const keysOf = (
  env: Environment,
  kind: "S3" | "R2",
): Pick<S3Location, "accessKeyId" | "secretAccessKey" | "sessionToken"> => {
  const accessKeyId = first(env, `${kind}_ACCESS_KEY_ID`)
  if (accessKeyId === undefined) return {}
  const secretAccessKey = first(env, `${kind}_SECRET_ACCESS_KEY`)
  if (secretAccessKey === undefined) {
    throw config(`${kind}_ACCESS_KEY_ID is set and ${kind}_SECRET_ACCESS_KEY is not`, "set both, or neither")
  }
  return { accessKeyId, secretAccessKey, sessionToken: first(env, `${kind}_SESSION_TOKEN`) }
}
