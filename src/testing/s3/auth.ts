/**
 * AWS Signature Version 4, verified: the headers or the query of a request against the secret keys the peer knows.
 *
 * What a maintainer must keep: this shares no code with the signer. It derives everything from the request as it
 * stood on the wire and from the specification, and it refuses in the words and with the codes of S3.
 *
 * @module
 */
import type { Hashing } from "./hashing.ts"
import { S3Failure } from "./message.ts"
import { parameter, percentEncode, type Target } from "./target.ts"

/** A key that the peer knows. */
export interface PeerCredentials {
  /** Public name of the key. */
  readonly accessKeyId: string
  /** What is signed with. */
  readonly secretAccessKey: string
  /** Temporary keys only: the token that every request must carry. */
  readonly sessionToken?: string | undefined
  /** When the token ends; later requests are `ExpiredToken`. Default: never. */
  readonly expires?: Date | undefined
}

/** What the peer demands of a signature. */
export interface AuthRules {
  readonly credentials: ReadonlyArray<PeerCredentials>
  readonly region: string
  /** Whether the region in a scope must be `region`. */
  readonly checksRegion: boolean
  /** Whether a request without a signature is served. */
  readonly anonymous: boolean
  /** The status of the answer to a key that is not known. */
  readonly unknownKey: 401 | 403
}

/** A signature that held, with what the signatures of the body's chunks go on from. */
export interface Signed {
  readonly signature: string
  readonly signingKey: Uint8Array
  readonly time: string
  readonly scope: string
}

/** A request, as far as its signature covers it. */
export interface Signable {
  readonly method: string
  readonly target: Target
  readonly headers: ReadonlyMap<string, string>
  /** What `x-amz-content-sha256` says of the body. A presigned request may do without. */
  readonly payloadHash: string | undefined
  /** Milliseconds since 1970, by the peer's clock. */
  readonly now: number
}

const algorithm = "AWS4-HMAC-SHA256"

/** https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html: RequestTimeTooSkewed. */
const maxSkew = 15 * 60 * 1000

/** https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html: seven days. */
const maxExpires = 604_800

/** What a client claims, from the header or the query. */
interface Claim {
  readonly credential: string
  readonly signedHeaders: ReadonlyArray<string>
  readonly signature: string
  readonly time: string | undefined
  readonly token: string | undefined
  /** Seconds; absent when the header is signed. */
  readonly expires: number | undefined
}

const latin1 = (text: string): Uint8Array => Uint8Array.from(text, (char) => char.charCodeAt(0))

const iso = (millis: number): string => new Date(millis).toISOString().replace(/\.\d+Z$/, "Z")

const denied = (message: string, details: Readonly<Record<string, string>> = {}): S3Failure =>
  new S3Failure(403, "AccessDenied", message, { details })

const malformed = (message: string, details: Readonly<Record<string, string>> = {}): S3Failure =>
  new S3Failure(400, "AuthorizationHeaderMalformed", `The authorization header is malformed; ${message}`, { details })

const queryError = (message: string): S3Failure => new S3Failure(400, "AuthorizationQueryParametersError", message)

/** Milliseconds since 1970 of `20130524T000000Z`, or `undefined`. */
const parseTime = (text: string): number | undefined => {
  const match = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(text)
  if (match === null) return undefined
  const [, year, month, day, hour, minute, second] = match
  return Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`)
}

const headerClaim = (headers: ReadonlyMap<string, string>, authorization: string): Claim => {
  if (!authorization.startsWith(`${algorithm} `)) {
    throw new S3Failure(400, "InvalidArgument", "Unsupported Authorization Type", {
      details: { ArgumentName: "Authorization", ArgumentValue: authorization.split(" ")[0]! },
    })
  }
  const fields = new Map(
    authorization.slice(algorithm.length).split(",").map((field) => {
      const equals = field.indexOf("=")
      return [field.slice(0, equals).trim(), field.slice(equals + 1).trim()] as const
    }),
  )
  const required = (name: string): string => {
    const value = fields.get(name)
    if (value === undefined || value === "") throw malformed(`the authorization header requires a ${name} component.`)
    return value
  }
  return {
    credential: required("Credential"),
    signedHeaders: required("SignedHeaders").split(";"),
    signature: required("Signature"),
    time: headers.get("x-amz-date"),
    token: headers.get("x-amz-security-token"),
    expires: undefined,
  }
}

const queryClaim = ({ query }: Target): Claim => {
  const required = (name: string): string => {
    const value = parameter(query, name)
    if (value === undefined || value === "") {
      throw queryError(
        "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, X-Amz-Signature, " +
          "X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters.",
      )
    }
    return value
  }
  if (required("X-Amz-Algorithm") !== algorithm) {
    throw queryError('X-Amz-Algorithm only supports "AWS4-HMAC-SHA256 and AWS4-ECDSA-P256-SHA256"')
  }
  const expires = required("X-Amz-Expires")
  if (!/^-?\d+$/.test(expires)) throw queryError("X-Amz-Expires should be a number")
  if (Number(expires) < 0) throw queryError("X-Amz-Expires must be non-negative")
  if (Number(expires) > maxExpires) {
    throw queryError(
      "X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be less than " +
        `${maxExpires} seconds`,
    )
  }
  return {
    credential: required("X-Amz-Credential"),
    signedHeaders: required("X-Amz-SignedHeaders").split(";"),
    signature: required("X-Amz-Signature"),
    time: required("X-Amz-Date"),
    token: parameter(query, "X-Amz-Security-Token"),
    expires: Number(expires),
  }
}

/** The request in the form that is signed. */
const canonicalRequest = (request: Signable, signedHeaders: ReadonlyArray<string>): string => {
  const query = request.target.query
    .filter(([name]) => name !== "X-Amz-Signature")
    .map(([name, value]) => `${percentEncode(name)}=${percentEncode(value)}`)
    .toSorted((a, b) => {
      const [left, right] = [a.replace("=", "\u0000"), b.replace("=", "\u0000")]
      return left < right ? -1 : left > right ? 1 : 0
    })
  const headers = signedHeaders.map((name) =>
    `${name}:${(request.headers.get(name) ?? "").trim().replaceAll(/ +/g, " ")}\n`
  )
  return [
    request.method,
    percentEncode(request.target.path, "/"),
    query.join("&"),
    headers.join(""),
    signedHeaders.join(";"),
    request.payloadHash ?? "UNSIGNED-PAYLOAD",
  ].join("\n")
}

/** Equal, in a time that does not tell where the difference is. */
const sameText = (a: string, b: string): boolean => {
  let difference = a.length ^ b.length
  for (let i = 0; i < a.length; i++) difference |= a.charCodeAt(i) ^ b.charCodeAt(i)
  return difference === 0
}

const checkToken = (known: PeerCredentials, claim: Claim, now: number): void => {
  if (claim.token !== known.sessionToken) {
    throw new S3Failure(400, "InvalidToken", "The provided token is malformed or otherwise invalid.", {
      details: claim.token === undefined ? {} : { "Token-0": claim.token },
    })
  }
  if (known.expires !== undefined && known.expires.getTime() <= now) {
    throw new S3Failure(400, "ExpiredToken", "The provided token has expired.", {
      details: claim.token === undefined ? {} : { "Token-0": claim.token },
    })
  }
}

const checkTime = (claim: Claim, time: number, now: number): void => {
  if (claim.expires === undefined) {
    if (Math.abs(now - time) <= maxSkew) return
    throw new S3Failure(
      403,
      "RequestTimeTooSkewed",
      "The difference between the request time and the current time is too large.",
      {
        details: {
          RequestTime: claim.time ?? "",
          ServerTime: iso(now),
          MaxAllowedSkewMilliseconds: String(maxSkew),
        },
      },
    )
  }
  if (time - now > maxSkew) throw denied("Request is not yet valid")
  const end = time + claim.expires * 1000
  if (now > end) {
    throw denied("Request has expired", {
      "X-Amz-Expires": String(claim.expires),
      Expires: iso(end),
      ServerTime: iso(now),
    })
  }
}

/** `host` and every `x-amz-…` header must be covered, or someone on the way could add what the client never said. */
const checkCoverage = (claim: Claim, headers: ReadonlyMap<string, string>): void => {
  const uncovered = [...headers.keys()].filter((name) =>
    (name === "host" || name.startsWith("x-amz-")) && !claim.signedHeaders.includes(name)
  )
  if (uncovered.length > 0) {
    throw denied("There were headers present in the request which were not signed", {
      HeadersNotSigned: uncovered.join(", "),
    })
  }
}

/** Verifies who sent `request`. Nothing signed and allowed: `undefined`. Everything else that does not hold throws. */
export const authenticate = (request: Signable, rules: AuthRules, hashing: Hashing): Signed | undefined => {
  const { headers, target, now } = request
  const authorization = headers.get("authorization")
  const presigned = target.query.some(([name]) => name === "X-Amz-Algorithm" || name === "X-Amz-Signature")
  if (authorization === undefined && !presigned) {
    if (rules.anonymous) return undefined
    throw denied("Access Denied")
  }
  if (authorization !== undefined && presigned) {
    throw new S3Failure(
      400,
      "InvalidArgument",
      "Only one auth mechanism allowed; only the X-Amz-Algorithm query " +
        "parameter, Signature query string parameter or the Authorization header should be specified",
      {
        details: { ArgumentName: "Authorization" },
      },
    )
  }
  const claim = authorization === undefined ? queryClaim(target) : headerClaim(headers, authorization)
  if (claim.expires === undefined && request.payloadHash === undefined) {
    throw new S3Failure(400, "InvalidRequest", "Missing required header for this request: x-amz-content-sha256")
  }

  const scope = claim.credential.split("/")
  const [accessKeyId, date, region, service, end] = scope
  if (scope.length !== 5 || accessKeyId === undefined || date === undefined || region === undefined) {
    throw malformed('the Credential is mal-formed; expecting "<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request".')
  }
  if (service !== "s3" || end !== "aws4_request") {
    throw malformed(`incorrect service "${service}". This endpoint belongs to "s3".`)
  }
  if (rules.checksRegion && region !== rules.region) {
    throw new S3Failure(
      400,
      "AuthorizationHeaderMalformed",
      `The authorization header is malformed; the region '${region}' is wrong; expecting '${rules.region}'`,
      { details: { Region: rules.region }, headers: { "x-amz-bucket-region": rules.region } },
    )
  }
  const time = claim.time === undefined ? undefined : parseTime(claim.time)
  if (claim.time === undefined || time === undefined) {
    throw denied("AWS authentication requires a valid Date or x-amz-date header")
  }
  if (!claim.time.startsWith(date)) {
    throw malformed(`Invalid credential date "${date}". This date is not the same as X-Amz-Date: "${claim.time}".`)
  }
  const known = rules.credentials.find((one) => one.accessKeyId === accessKeyId)
  if (known === undefined) {
    if (rules.unknownKey === 401) throw new S3Failure(401, "Unauthorized", "Unauthorized")
    throw new S3Failure(
      403,
      "InvalidAccessKeyId",
      "The AWS Access Key Id you provided does not exist in our records.",
      { details: { AWSAccessKeyId: accessKeyId } },
    )
  }
  checkTime(claim, time, now)
  checkToken(known, claim, now)
  checkCoverage(claim, headers)

  const canonical = canonicalRequest(request, claim.signedHeaders)
  const scopeText = [date, region, service, end].join("/")
  const stringToSign = [
    algorithm,
    claim.time,
    scopeText,
    // Header values are one character a byte, and so is the rest: it is percent-encoded.
    hashing.digest("sha256", latin1(canonical)).toHex(),
  ].join("\n")
  const secret = new TextEncoder().encode(`AWS4${known.secretAccessKey}`)
  const signingKey = [date, region, service, end].reduce((key, part) => hashing.hmac(key, part), secret as Uint8Array)
  const expected = hashing.hmac(signingKey, stringToSign).toHex()
  if (!sameText(expected, claim.signature)) {
    const asHex = (text: string): string =>
      [...latin1(text)].map((byte) => byte.toString(16).padStart(2, "0")).join(" ")
    throw new S3Failure(
      403,
      "SignatureDoesNotMatch",
      "The request signature we calculated does not match the signature you provided. Check your key and signing " +
        "method.",
      {
        details: {
          AWSAccessKeyId: accessKeyId,
          StringToSign: stringToSign,
          SignatureProvided: claim.signature,
          StringToSignBytes: asHex(stringToSign),
          CanonicalRequest: canonical,
          CanonicalRequestBytes: asHex(canonical),
        },
      },
    )
  }
  return { signature: expected, signingKey, time: claim.time, scope: scopeText }
}
