/**
 * What callers can say of an S3 store, and what follows from it: the service's profile, where requests go, who signs
 * them. Everything that can be found wrong without asking the service is found here, as `Config`, and says what to
 * write.
 *
 * @module
 */
import * as Redacted from "effect/Redacted"
import { Clock } from "../../aws/clock.ts"
import { Credentials, type CredentialsLike, type CredentialsProvider } from "../../aws/credentials.ts"
import { type Refreshing, refreshing } from "../../aws/refresh.ts"
import { prefixFlaw } from "../../key.ts"
import { StoreError } from "../../error.ts"
import { type Profile, type ProfileName, profileOf, profiles, regionOf } from "./profiles.ts"

/** Where the objects are, and how to get at them. */
export interface S3Options {
  /** The bucket. It must exist. */
  readonly bucket: string
  /** Put in front of every key, as a folder: `"runs"` keeps `a` as `runs/a`, and nothing else is in sight. Default: none. */
  readonly prefix?: string | undefined
  /**
   * The bucket's region. Default: what the endpoint's host name says, else `AWS_REGION`, `AWS_DEFAULT_REGION` or the
   * profile's region on Amazon, else `us-east-1`. On Amazon a wrong one is put right by the first answer.
   */
  readonly region?: string | undefined
  /** The service: `"https://minio.example.com:9000"`. Default: Amazon's for the region. */
  readonly endpoint?: string | undefined
  /** The service's peculiarities, by name or your own. Default: by the endpoint's host, else `"generic"`. */
  readonly profile?: ProfileName | Profile | undefined
  /** Which key signs. Together with `secretAccessKey`; instead of `credentials`. */
  readonly accessKeyId?: string | undefined
  /** The secret of that key. */
  readonly secretAccessKey?: string | Redacted.Redacted<string> | undefined
  /** The token of temporary credentials. */
  readonly sessionToken?: string | Redacted.Redacted<string> | undefined
  /**
   * Who signs: fixed credentials, or a function that gives them and is asked again before they end (those of
   * `@aws-sdk/credential-providers` fit); `"anonymous"`: nobody. Default: where Amazon's tools look, see `src/aws`.
   */
  readonly credentials?: CredentialsLike | CredentialsProvider | Refreshing | "anonymous" | undefined
  /** The bucket in the path instead of the host name. Default: `false` on Amazon, unless the name has dots; else `true`. */
  readonly pathStyle?: boolean | undefined
  /** Amazon's endpoints for IPv6. Default `false`. */
  readonly dualstack?: boolean | undefined
  /** Amazon's FIPS endpoints. Default `false`. */
  readonly fips?: boolean | undefined
  /** Amazon's Transfer Acceleration. Default `false`. */
  readonly accelerate?: boolean | undefined
  /** Pay for requests to a bucket whose owner asks for that. Default `false`: such requests are refused. */
  readonly requesterPays?: boolean | undefined
  /** The account that must own the bucket; another owner's is refused by the service. Default: any. */
  readonly expectedBucketOwner?: string | undefined
  /**
   * Let the signature cover the bytes also where a checksum of the service protects them. Default: over plain http
   * to another machine, since a checksum keeps off accidents and not people. It costs a SHA-256 of every byte.
   */
  readonly signPayload?: boolean | undefined
  /** How requests are sent. Default: the runtime's `fetch`. */
  readonly fetch?: ((url: string, init: RequestInit) => Promise<Response>) | undefined
}

/** An S3 store, ready to be asked. */
export interface Settings {
  /** The bucket's name. */
  readonly bucket: string
  /** Ends with `/` unless it is empty. */
  readonly prefix: string
  /** What the service can do. */
  readonly profile: Profile
  /** Where signatures are for, as far as is known. */
  readonly region: string
  /** Whether the region may be corrected by the service, because the endpoint follows from it. */
  readonly followsRegion: boolean
  /** Scheme, host and port of requests in a region. */
  readonly originIn: (region: string) => string
  /** In front of every key in the path: `/` or `/bucket/`. */
  readonly base: string
  /** Who signs; `undefined`: nobody. */
  readonly credentials: CredentialsLike | Refreshing | undefined
  /** The service's time. */
  readonly clock: Clock
  /** Sent with every request. */
  readonly headers: Readonly<Record<string, string>>
  /** The signature covers bodies in any case. */
  readonly signPayload: boolean
  /** Requests are encrypted, or do not leave the machine. */
  readonly confidential: boolean
  /** How requests are sent. */
  readonly fetch: (url: string, init: RequestInit) => Promise<Response>
}

const wrong = (detail: string, hint?: string): StoreError =>
  new StoreError({ reason: "Config", detail, hint, operation: "open", backend: "s3" })

/** A value for a message; never more of it than a reader needs. */
const quoted = (text: unknown): string => JSON.stringify(typeof text === "string" ? text.slice(0, 100) : typeof text)

/** https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html */
const strictName = /^(?!xn--|\d+\.\d+\.\d+\.\d+$)[a-z0-9](?:[a-z0-9-]|\.(?!\.)){1,61}[a-z0-9]$/
/** What other services allow in a path. */
const looseName = /^[A-Za-z0-9][A-Za-z0-9._:-]{1,253}[A-Za-z0-9]$/

const checkBucket = (bucket: unknown, strict: boolean): string => {
  if (typeof bucket !== "string" || bucket === "") throw wrong("there is no bucket", 'give bucket: "my-bucket"')
  if (bucket.startsWith("arn:")) {
    throw wrong("the bucket is an ARN", "give the bucket's name, or the alias of the access point")
  }
  if (bucket.includes("/")) {
    throw wrong(`the bucket ${quoted(bucket)} holds a /`, "give the part after it as prefix")
  }
  if (bucket.endsWith("--x-s3")) {
    throw wrong("directory buckets (S3 Express) are not supported", "use a general purpose bucket")
  }
  if (!(strict ? strictName : looseName).test(bucket)) {
    const rule = strict ? "3 to 63 lower-case letters, digits, dots and hyphens" : "letters, digits, dots and hyphens"
    throw wrong(`the bucket ${quoted(bucket)} is not a bucket's name`, `a name has ${rule}`)
  }
  return bucket
}

/** The endpoint's own path, not escaped; `undefined` where its escapes are broken. */
const pathOf = ({ pathname }: URL): string | undefined => {
  try {
    return decodeURIComponent(pathname).replace(/\/+$/, "")
  } catch {
    return undefined
  }
}

const checkEndpoint = (endpoint: string): URL => {
  const parsed = URL.canParse(endpoint) ? new URL(endpoint) : undefined
  // None of these messages repeats the text: people put passwords into it.
  if (parsed === undefined || !/^https?:$/.test(parsed.protocol) || pathOf(parsed) === undefined) {
    throw wrong("the endpoint is not an http or https URL", 'give one like "https://minio.example.com:9000"')
  }
  if (parsed.username !== "" || parsed.password !== "") {
    throw wrong("the endpoint holds a user or a password", "give accessKeyId and secretAccessKey instead")
  }
  if (parsed.search !== "" || parsed.hash !== "") throw wrong("the endpoint has a query or a fragment", "leave it out")
  if (/(?:^|\/)\.\.?(?:\/|$)/.test(endpoint.slice(endpoint.indexOf("//") + 2))) {
    throw wrong("the endpoint's path has a . or .. segment", "write the path it leads to")
  }
  return parsed
}

const checkRegion = (region: string): string => {
  if (/^[a-z0-9-]{1,64}$/i.test(region)) return region
  throw wrong(`the region ${quoted(region)} is not a region's name`, 'give one like "eu-central-1"')
}

const checkPrefix = (prefix: string): string => {
  const flaw = prefixFlaw(prefix)
  if (flaw !== undefined) throw wrong(flaw)
  if (prefix.startsWith("/")) throw wrong("the prefix starts with /", "leave it out: keys have no root")
  return prefix === "" || prefix.endsWith("/") ? prefix : `${prefix}/`
}

const isLoopback = (hostname: string): boolean => /^(?:(?:.+\.)?localhost|127\.\d+\.\d+\.\d+|\[::1\])$/i.test(hostname)

/** https://docs.aws.amazon.com/general/latest/gr/s3.html */
const amazonHost = (options: S3Options, region: string): string => {
  const domain = region.startsWith("cn-") ? "amazonaws.com.cn" : "amazonaws.com"
  if (options.accelerate === true) return `s3-accelerate${options.dualstack === true ? ".dualstack" : ""}.${domain}`
  return `s3${options.fips === true ? "-fips" : ""}${
    options.dualstack === true ? ".dualstack" : ""
  }.${region}.${domain}`
}

const secretOf = (value: string | Redacted.Redacted<string> | undefined): string | undefined =>
  Redacted.isRedacted(value) ? Redacted.value(value as Redacted.Redacted<string>) : value as string | undefined

const credentialsFrom = (options: S3Options, clock: Clock): Settings["credentials"] => {
  const { credentials, accessKeyId, sessionToken } = options
  const secretAccessKey = secretOf(options.secretAccessKey)
  const now = (): number => clock.now()
  if (accessKeyId !== undefined || secretAccessKey !== undefined || sessionToken !== undefined) {
    if (credentials !== undefined) {
      throw wrong("there are both credentials and an accessKeyId", "give one of the two")
    }
    return new Credentials({
      accessKeyId: accessKeyId ?? "",
      secretAccessKey: secretAccessKey ?? "",
      sessionToken: secretOf(sessionToken),
    })
  }
  if (credentials === "anonymous") return undefined
  if (typeof credentials === "function") return refreshing(credentials, { now })
  if (credentials === undefined) {
    // Loaded when first needed: it is of no use in a Worker, and larger than all of this.
    return refreshing(async () => (await import("../../aws/chain.ts")).findCredentials(), { now })
  }
  return "invalidate" in credentials ? credentials : new Credentials(credentials)
}

/** Every option's name, so that a misspelt one is told. */
const known: { readonly [name in keyof S3Options]-?: true } = {
  bucket: true,
  prefix: true,
  region: true,
  endpoint: true,
  profile: true,
  accessKeyId: true,
  secretAccessKey: true,
  sessionToken: true,
  credentials: true,
  pathStyle: true,
  dualstack: true,
  fips: true,
  accelerate: true,
  requesterPays: true,
  expectedBucketOwner: true,
  signPayload: true,
  fetch: true,
}

/** Names of the options of every store, which come in the same object. */
const ofStores: ReadonlySet<string> = new Set([
  "policy",
  "idleTimeout",
  "encryption",
  "compression",
  "level",
  "frameSize",
])

/** Checks options and works out what follows from them. Throws `Config`. `regionHere`: what this machine says. */
export const settle = (options: S3Options, regionHere: string | undefined): Settings => {
  for (const name of Object.keys(options)) {
    if (!Object.hasOwn(known, name) && !ofStores.has(name)) {
      throw wrong(`there is no option ${quoted(name)}`, `the options are ${Object.keys(known).join(", ")}`)
    }
  }
  const endpoint = options.endpoint === undefined ? undefined : checkEndpoint(options.endpoint)
  const named = options.profile ?? (endpoint === undefined ? "aws" : profileOf(endpoint.hostname))
  if (typeof named === "string" && !Object.hasOwn(profiles, named)) {
    throw wrong(`there is no profile ${quoted(named)}`, `the profiles are ${Object.keys(profiles).join(", ")}`)
  }
  const profile = typeof named === "string" ? profiles[named] : named
  const amazon = endpoint === undefined || profileOf(endpoint.hostname) === "aws"
  const bucket = checkBucket(options.bucket, amazon)
  const region = checkRegion(
    options.region ?? (endpoint === undefined ? regionHere : regionOf(endpoint.hostname)) ?? profile.region,
  )

  if (endpoint !== undefined && (options.accelerate || options.fips || options.dualstack)) {
    throw wrong("accelerate, fips and dualstack choose Amazon's endpoint", "leave out endpoint, or them")
  }
  if (options.accelerate && options.fips) throw wrong("accelerate has no FIPS endpoint", "leave out one of the two")
  // A certificate for *.s3.amazonaws.com covers no second dot.
  const dotted = bucket.includes(".") && (endpoint === undefined || endpoint.protocol === "https:")
  if (options.accelerate && (options.pathStyle || dotted)) {
    throw wrong("accelerate needs the bucket in the host name, without dots", "leave out accelerate or pathStyle")
  }
  // Elsewhere a name for every bucket is the exception.
  const inPath = options.pathStyle ?? (!amazon || dotted)
  const originIn = (within: string): string => {
    const scheme = endpoint?.protocol ?? "https:"
    const host = endpoint?.host ?? amazonHost(options, within)
    return `${scheme}//${inPath ? "" : `${bucket}.`}${host}`
  }
  if (!URL.canParse(originIn(region))) {
    throw wrong("the bucket cannot stand in front of the endpoint's host", "leave out pathStyle: false")
  }
  const confidential = endpoint === undefined || endpoint.protocol === "https:" || isLoopback(endpoint.hostname)

  const headers: Record<string, string> = {}
  if (options.requesterPays) headers["x-amz-request-payer"] = "requester"
  if (options.expectedBucketOwner !== undefined) {
    if (!/^\d{12}$/.test(options.expectedBucketOwner)) {
      throw wrong("expectedBucketOwner is not an account", "give its 12 digits")
    }
    headers["x-amz-expected-bucket-owner"] = options.expectedBucketOwner
  }
  const clock = new Clock()
  return {
    bucket,
    prefix: checkPrefix(options.prefix ?? ""),
    profile,
    region,
    followsRegion: endpoint === undefined,
    originIn,
    base: (endpoint === undefined ? "" : pathOf(endpoint) ?? "") + (inPath ? `/${bucket}/` : "/"),
    credentials: credentialsFrom(options, clock),
    clock,
    headers,
    signPayload: options.signPayload ?? !confidential,
    confidential,
    fetch: options.fetch ?? ((url, init) => fetch(url, init)),
  }
}
