/**
 * Signature Version 4: requests that S3 and its kin accept, and URLs that anyone can use for a while.
 *
 * The signer builds the URL itself, from unescaped parts, with the one encoding of `encode.ts`. What it signs is
 * therefore byte for byte what `fetch` sends, and a caller cannot escape twice or not at all. Signed are `host`,
 * `content-type`, `content-md5`, `range`, `if-*` and all `x-amz-*` headers; others may be changed on the way
 * (Google's S3 interface rewrites `accept-encoding`) and are sent unsigned. Sign every attempt anew: a signature is
 * good for minutes, and what a refusal taught ({@link Signer.learn}) takes effect with the next one.
 *
 * The signature itself is computed by `@smithy/signature-v4`.
 *
 * @module
 */
import { SignatureV4 } from "@smithy/signature-v4"
import { StoreError } from "../error.ts"
import { Clock, type Refusal } from "./clock.ts"
import { Credentials, type CredentialsLike, credentialsOf, type CredentialsProvider } from "./credentials.ts"
import { encodeKey, encodeQuery } from "./encode.ts"
import { fastestHash, type HashConstructor } from "./hash.ts"
import { type Refreshing, refreshing } from "./refresh.ts"

/** The payload hash of a body that is protected by something else than the signature. */
export const unsignedPayload = "UNSIGNED-PAYLOAD"

/** The payload hash of no body: SHA-256 of nothing. */
export const emptyPayload = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

/** Most seconds a presigned URL may be good for: 7 days. Source: Amazon S3, "Authenticating requests: query". */
export const maxExpires = 604_800

/** What a {@link Signer} is made from. */
export interface SignerOptions {
  /** The region in the signature: `"us-east-1"`; `"auto"` for R2. */
  readonly region: string
  /** Fixed credentials, or where to get them. What a function gives is kept and renewed by {@link refreshing}. */
  readonly credentials: CredentialsLike | CredentialsProvider | Refreshing
  /** The service in the signature. Default `"s3"`, which adds `x-amz-content-sha256`. */
  readonly service?: string | undefined
  /** The time. Default: one of its own over the system's. Share one to share what is learnt. */
  readonly clock?: Clock | undefined
  /** SHA-256. Default: the fastest this runtime has. */
  readonly hash?: HashConstructor | undefined
}

/** A request to be signed. Nothing in it is escaped; headers have lower-case names. */
export interface SignableRequest {
  /** `"GET"`, `"PUT"` … */
  readonly method: string
  /** Scheme, host and port: `"https://bucket.s3.us-east-1.amazonaws.com"`. */
  readonly origin: string
  /** Path, not escaped, starting with `/`: `"/a key"`. */
  readonly path: string
  /** Query, not escaped. Default: none. */
  readonly query?: Readonly<Record<string, string>> | undefined
  /** Headers that will be sent. Values in printable ASCII, since runtimes disagree about the bytes of others. */
  readonly headers?: Readonly<Record<string, string>> | undefined
}

/** A signed request, to be sent exactly as it is. */
export interface SignedRequest {
  /** The text for `fetch`. */
  readonly url: string
  /** All headers for `fetch`: those given and the signature's. `host` comes from the URL. */
  readonly headers: Record<string, string>
  /** When it was signed, by the signer's clock, in milliseconds since 1970. */
  readonly signedAt: number
  /** With what it was signed. */
  readonly signedBy: Credentials
}

/** A URL that works without credentials. It is as good as a key while it lasts: keep it out of logs. */
export interface PresignedRequest {
  /** The method it works with. */
  readonly method: string
  /** The URL. */
  readonly url: string
  /** Headers that must be sent along, because they are part of the signature. */
  readonly headers: Readonly<Record<string, string>>
  /** When it ends: as asked, or with the credentials that signed it. */
  readonly expires: Date
}

const invalid = (detail: string): StoreError => new StoreError({ reason: "InvalidInput", detail, operation: "sign" })

const isSigned = (name: string): boolean =>
  name.startsWith("x-amz-") || name.startsWith("if-") || name === "content-type" || name === "content-md5" ||
  name === "range"

/** Set by the signer or by `fetch`; a caller's own would be signed and then not sent. */
const ours: ReadonlySet<string> = new Set([
  "host",
  "authorization",
  "date",
  "x-amz-date",
  "x-amz-security-token",
  "x-amz-content-sha256",
])

/** Codes by which a service refuses credentials that newer ones may replace. */
const stale: ReadonlySet<string> = new Set([
  "ExpiredToken",
  "ExpiredTokenException",
  "TokenRefreshRequired",
  "InvalidToken",
  "InvalidAccessKeyId",
])

/**
 * Signs requests for one service in one region.
 *
 * @example Sign a request and send it
 * ```ts
 * import { Signer, unsignedPayload } from "@holdfast/holdfast/s3"
 *
 * const signer = new Signer({ region: "us-east-1", credentials: { accessKeyId: "AKIA", secretAccessKey: "secret" } })
 * const { url, headers } = await signer.sign(
 *   { method: "GET", origin: "https://bucket.s3.us-east-1.amazonaws.com", path: "/a key" },
 *   unsignedPayload,
 * )
 * console.assert(url.endsWith("/a%20key") && headers["authorization"]?.startsWith("AWS4-HMAC-SHA256"))
 * ```
 */
export class Signer {
  readonly #region: string
  readonly #service: string
  readonly #hash: HashConstructor
  readonly #clock: Clock
  readonly #credentials: Credentials | Refreshing
  /** The last signature's machinery; it is bound to credentials, which rarely change. */
  #last: { readonly by: Credentials; readonly v4: SignatureV4 } | undefined
  #host: { readonly origin: string; readonly host: string } | undefined

  /** Fails with `Config` if the credentials given are incomplete or there is no region. */
  constructor(options: SignerOptions) {
    const { credentials } = options
    if (!/^[a-z0-9-]+$/i.test(options.region)) {
      throw new StoreError({
        reason: "Config",
        detail: `the region ${JSON.stringify(options.region)} is not a region's name`,
        operation: "sign",
      })
    }
    this.#region = options.region
    this.#service = options.service ?? "s3"
    this.#hash = options.hash ?? fastestHash()
    const clock = this.#clock = options.clock ?? new Clock()
    this.#credentials = typeof credentials === "function"
      ? refreshing(credentials, { now: () => clock.now() })
      // Not instanceof: a program may end up with two copies of a package.
      : "invalidate" in credentials
      ? credentials
      : credentialsOf(credentials)
  }

  /**
   * Signs a request whose body has the SHA-256 `payloadHash` (lower-case hex), or {@link unsignedPayload} for a body
   * that a checksum protects, or {@link emptyPayload} for none. Fails as the credentials' provider does, and with
   * `InvalidKey` or `InvalidInput` for what no request could carry unchanged.
   */
  async sign(request: SignableRequest, payloadHash: string): Promise<SignedRequest> {
    const path = this.#path(request)
    const query = request.query === undefined ? "" : encodeQuery(request.query)
    const headers = checked(request.headers)
    const signable: Record<string, string> = { host: this.#hostOf(request.origin) }
    for (const name in headers) if (isSigned(name)) signable[name] = headers[name]!
    // Also tells smithy the hash, which it would compute from a body otherwise.
    signable["x-amz-content-sha256"] = payloadHash
    const hidden = this.#service === "s3" ? undefined : hashHeader
    const signedBy = await this.#current()
    const signedAt = this.#clock.now()
    const signed = await this.#v4(signedBy).sign(
      { ...emptyRequest, method: request.method, path, query: { ...request.query }, headers: signable },
      { signingDate: new Date(signedAt), ...(hidden === undefined ? {} : { unsignableHeaders: hidden }) },
    )
    const all: Record<string, string> = { ...headers }
    for (const name of ["authorization", "x-amz-date", "x-amz-security-token"]) {
      const value = signed.headers[name]
      if (value !== undefined) all[name] = value
    }
    if (hidden === undefined) all["x-amz-content-sha256"] = payloadHash
    return { url: `${request.origin}${path}${query === "" ? "" : `?${query}`}`, headers: all, signedAt, signedBy }
  }

  /**
   * A URL that does `request` for whoever has it, for `expires` seconds (1 to {@link maxExpires}), body unsigned.
   * Headers given become part of the signature and must be sent with it; none is moved into the URL, where a
   * customer's encryption key would end up in logs.
   */
  async presign(request: SignableRequest, expires: number): Promise<PresignedRequest> {
    if (!Number.isInteger(expires) || expires < 1 || expires > maxExpires) {
      throw invalid(`a presigned URL is good for 1 to ${maxExpires} seconds, not ${expires}`)
    }
    const path = this.#path(request)
    // All of them: whoever uses the URL cannot know which ones matter.
    const headers = checked(request.headers)
    const signable: Record<string, string> = { host: this.#hostOf(request.origin), ...headers }
    signable["x-amz-content-sha256"] = unsignedPayload
    const signedBy = await this.#current()
    const signedAt = this.#clock.now()
    const signed = await this.#v4(signedBy).presign(
      { ...emptyRequest, method: request.method, path, query: { ...request.query }, headers: signable },
      {
        signingDate: new Date(signedAt),
        expiresIn: expires,
        unhoistableHeaders: new Set(Object.keys(signable)),
        signableHeaders: new Set(Object.keys(headers)),
        unsignableHeaders: hashHeader,
      },
    )
    const ends = Math.floor(signedAt / 1000) * 1000 + expires * 1000
    return {
      method: request.method,
      url: `${request.origin}${path}?${encodeQuery(signed.query as Record<string, string>)}`,
      headers: { ...headers },
      expires: new Date(Math.min(ends, signedBy.expiration?.getTime() ?? ends)),
    }
  }

  /**
   * Learns from a refused request: a wrong clock is put right, refused credentials are asked for anew. `true` if the
   * same request signed again has a chance; then try it at once.
   */
  learn(signed: SignedRequest, refusal: Refusal): boolean {
    if (refusal.code !== undefined && stale.has(refusal.code)) {
      if (this.#credentials instanceof Credentials) return false
      this.#credentials.invalidate(signed.signedBy)
      return true
    }
    return this.#clock.learn(refusal, signed.signedAt)
  }

  #current(): Promise<Credentials> | Credentials {
    return this.#credentials instanceof Credentials ? this.#credentials : this.#credentials.get()
  }

  #v4(by: Credentials): SignatureV4 {
    if (this.#last?.by !== by) {
      const v4 = new SignatureV4({
        credentials: () => Promise.resolve(by),
        region: this.#region,
        service: this.#service,
        sha256: this.#hash,
        // S3 escapes once, and `path` is escaped already.
        uriEscapePath: false,
        applyChecksum: false,
      })
      this.#last = { by, v4 }
    }
    return this.#last!.v4
  }

  #path({ path }: SignableRequest): string {
    if (!path.startsWith("/")) throw invalid("the path of a request starts with /")
    return encodeKey(path)
  }

  #hostOf(origin: string): string {
    if (this.#host?.origin !== origin) this.#host = { origin, host: hostOf(origin) }
    return this.#host!.host
  }
}

/** Where smithy's type wants parts of a URL that its signature does not depend on. */
const emptyRequest = { protocol: "https:", hostname: "" }

const hashHeader: Set<string> = new Set(["x-amz-content-sha256"])

/** The `host` header that `fetch` makes out of an origin: without the scheme's own port, in lower case. */
const hostOf = (origin: string): string => {
  let url: URL | undefined
  try {
    url = new URL(origin)
  } catch {
    // Told below, without the parser's words, which hold the whole text.
  }
  if (url === undefined || url.origin !== origin || !/^https?:$/.test(url.protocol)) {
    throw new StoreError({
      reason: "Config",
      detail: "the origin of a request must be scheme, host and port alone, in lower case: https://example.com:8443",
      operation: "sign",
    })
  }
  return url.host
}

/** Headers that arrive as they were signed. */
const checked = (headers: Readonly<Record<string, string>> = {}): Readonly<Record<string, string>> => {
  for (const name in headers) {
    if (!/^[a-z0-9!#$%&'*+.^_`|~-]+$/.test(name)) throw invalid("a header's name must be a token in lower case")
    if (ours.has(name)) throw invalid(`the header ${name} is set by the signer`)
    if (!/^[\t\x20-\x7e]*$/.test(headers[name]!)) {
      throw invalid(`the value of the header ${name} is not printable ASCII; encode it`)
    }
  }
  return headers
}
