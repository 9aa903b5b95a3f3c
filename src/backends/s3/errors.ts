/**
 * What a refusal means: an answer of the service, or none, as a `StoreError`. The service's error code decides, and
 * the status only where there is no code; the table below is the whole of it.
 *
 * What a maintainer must keep: nothing that came from the service goes into a message unless {@link scrub} has been
 * over it, since services echo tokens, strings that were signed and whole URLs; and a change that the service
 * has refused is never `ambiguous`, so that nobody looks for its traces.
 *
 * @module
 */
import { type Reason, StoreError, type StoreErrorArgs } from "../../error.ts"
import { noAnswerFrom } from "../../network.ts"
import { parseXml, textOf, type XmlElement } from "./xml.ts"

/** The request that failed, as far as its error cares. */
export interface Asked {
  /** The contract's name of the call: `"putPart"`. */
  readonly operation: string
  /** The object's key as the caller knows it. */
  readonly key?: string | undefined
  /** The request changes what is stored. */
  readonly mutates: boolean
  /** The condition it carries: on the target, and what its failure means. */
  readonly condition?: "create" | "match" | undefined
}

/** An answer that is not the one hoped for. */
export interface Refused {
  /** HTTP status; 200 for an error in the body of a success. */
  readonly status: number
  /** Headers. */
  readonly headers: Headers
  /** What its body says. */
  readonly document: ErrorDocument
}

/** What an error document says. */
export interface ErrorDocument {
  /** The service's code, or `undefined` where the body is no error document. */
  readonly code: string | undefined
  /** Its words, fit to be shown. */
  readonly message: string | undefined
  /** The region that it names. */
  readonly region: string | undefined
  /** The condition that did not hold. */
  readonly condition: string | undefined
  /** The service's id of the request. */
  readonly requestId: string | undefined
}

/** A service's text without what could be a secret: tokens, queries, control characters; and not too long. */
export const scrub = (text: string): string =>
  text.replace(/\?\S*/g, "").replace(/[A-Za-z0-9+/=_%-]{20,}/g, "…")
    // deno-lint-ignore no-control-regex
    .replace(/[\u0000-\u001f\u007f]+/g, " ").trim().slice(0, 200)

const plain = (text: string | undefined): string | undefined =>
  text !== undefined && /^[\w.-]{1,64}$/.test(text) ? text : undefined

/** Reads an `Error` element, which is an answer by itself or stands for one key of many. */
export const errorFrom = (element: XmlElement): ErrorDocument => ({
  code: plain(textOf(element, "Code")),
  message: scrub(textOf(element, "Message") ?? "") || undefined,
  region: plain(textOf(element, "Region")),
  condition: textOf(element, "Condition"),
  requestId: plain(textOf(element, "RequestId")),
})

/** Reads an error document; all `undefined` where the body is something else. */
export const readError = (body: string): ErrorDocument => {
  try {
    const root = parseXml(body)
    if (root.name === "Error") return errorFrom(root)
  } catch {
    // A proxy's page, or half a document: the status has to do.
  }
  return { code: undefined, message: undefined, region: undefined, condition: undefined, requestId: undefined }
}

/** What a code or a status means: the reason, and what differs from the reason's defaults. */
type Meaning = readonly [
  reason: Reason,
  more?: Partial<Pick<StoreErrorArgs, "transient" | "ambiguous" | "hint" | "detail">>,
]

const credentialsHint =
  "check the access key and its secret, and that they belong to this service (Ceph says so of an unknown KMS key, too)"
const again = { transient: true, ambiguous: false } as const

/** https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html, and codes of other services. */
const byCode: Readonly<Record<string, Meaning>> = {
  NoSuchKey: ["NotFound", { detail: "there is no such object" }],
  NoSuchVersion: ["NotFound", { detail: "there is no such version" }],
  NoSuchUpload: ["NotFound", { detail: "there is no such upload: it is over, or was never begun" }],
  // A missing bucket is a wrong setting: were it NotFound, `exists` would say that an object is not there.
  NoSuchBucket: ["Config", { hint: "create the bucket, or correct its name, the region or the endpoint" }],
  InvalidBucketName: ["Config"],
  InvalidBucketState: ["Config"],
  PermanentRedirect: ["Config"],
  TemporaryRedirect: ["Config"],
  IllegalLocationConstraintException: ["Config"],
  AuthorizationHeaderMalformed: ["Config"],
  AuthorizationQueryParametersError: ["Config"],

  AccessDenied: ["Forbidden", { hint: "ask the owner of the bucket to allow this for these credentials" }],
  AllAccessDisabled: ["Forbidden"],
  AccountProblem: ["Forbidden", { hint: "the service has a problem with the account; see its console" }],
  InvalidPayer: ["Forbidden"],
  NotSignedUp: ["Forbidden"],
  OptInRequired: ["Forbidden"],
  InvalidObjectState: ["Forbidden", { hint: "the object is archived; restore it first with the service's own tools" }],
  InvalidAccessKeyId: ["Unauthorized", { hint: credentialsHint }],
  SignatureDoesNotMatch: ["Unauthorized", {
    hint: "check the secret access key, and that no proxy changes the host or the headers",
  }],
  InvalidToken: ["Unauthorized", { hint: "get new temporary credentials" }],
  ExpiredToken: ["Unauthorized", { hint: "the temporary credentials have ended; get new ones" }],
  TokenRefreshRequired: ["Unauthorized", { hint: "get new temporary credentials" }],
  Unauthorized: ["Unauthorized", { hint: credentialsHint }],
  MissingSecurityHeader: ["Unauthorized"],
  RequestTimeTooSkewed: ["Unauthorized", { hint: "set this machine's clock" }],
  RequestExpired: ["Unauthorized", { hint: "set this machine's clock" }],

  PreconditionFailed: ["PreconditionFailed"],
  // Another writer was at it at the same time, and neither has won for good.
  ConditionalRequestConflict: ["Conflict", again],
  OperationAborted: ["Conflict", again],
  XMinioParentIsObject: ["Conflict"],
  XMinioObjectExistsAsDirectory: ["Conflict"],

  SlowDown: ["RateLimited"],
  Throttling: ["RateLimited"],
  ThrottlingException: ["RateLimited"],
  RequestLimitExceeded: ["RateLimited"],
  BandwidthLimitExceeded: ["RateLimited"],
  TooManyRequests: ["RateLimited"],
  "KMS.ThrottlingException": ["RateLimited"],
  InternalError: ["Unavailable"],
  ServiceUnavailable: ["Unavailable"],
  // The service waited for the rest of a body in vain, so nothing has happened.
  RequestTimeout: ["Timeout", { ambiguous: false }],
  IncompleteBody: ["Unavailable", again],

  // Sent again, the bytes may arrive as they are.
  BadDigest: ["Corrupt", { ...again, detail: "the service received other bytes than were sent" }],
  InvalidDigest: ["Corrupt"],
  XAmzContentSHA256Mismatch: ["Corrupt", { ...again, detail: "the service received other bytes than were sent" }],

  InvalidRange: ["RangeNotSatisfiable"],
  EntityTooLarge: ["TooLarge"],
  EntityTooSmall: ["InvalidInput", { hint: "all parts but the last need the least size; raise partSize" }],
  InvalidPart: ["InvalidInput"],
  InvalidPartOrder: ["InvalidInput"],
  InvalidArgument: ["InvalidInput"],
  InvalidRequest: ["InvalidInput"],
  InvalidTag: ["InvalidInput"],
  InvalidStorageClass: ["InvalidInput"],
  MetadataTooLarge: ["InvalidInput", { hint: "keep less metadata, or save it as an object of its own" }],
  KeyTooLongError: ["InvalidKey"],
  InvalidURI: ["InvalidKey"],
  "KMS.NotFoundException": ["Config", { hint: "correct encryption.keyId" }],
  "KMS.DisabledException": ["Forbidden", { hint: "enable the KMS key" }],
  "KMS.KMSInvalidStateException": ["Forbidden", { hint: "the KMS key is not in a state that can be used" }],

  QuotaExceeded: ["NoSpace"],
  XMinioStorageFull: ["NoSpace"],
  InsufficientCapacity: ["Unavailable"],
  NotImplemented: ["Unsupported"],
  MethodNotAllowed: ["Unsupported"],
  MissingContentLength: ["Unsupported"],
}

const byStatus: Readonly<Record<number, Meaning>> = {
  301: ["Config"],
  302: ["Config"],
  307: ["Config"],
  308: ["Config"],
  304: ["NotModified"],
  400: ["InvalidInput"],
  401: ["Unauthorized"],
  403: ["Forbidden"],
  404: ["NotFound", { detail: "there is no such object" }],
  405: ["Unsupported"],
  408: ["Timeout", { ambiguous: false }],
  409: ["Conflict", again],
  411: ["Unsupported"],
  412: ["PreconditionFailed"],
  413: ["TooLarge"],
  416: ["RangeNotSatisfiable"],
  429: ["RateLimited"],
  501: ["Unsupported"],
  507: ["NoSpace"],
}

const meaningOf = (status: number, code: string | undefined): Meaning => {
  const known = code === undefined || !Object.hasOwn(byCode, code) ? undefined : byCode[code]
  return known ?? byStatus[status] ?? (status >= 500 || status === 200 ? ["Unavailable"] : ["Protocol"])
}

/** Milliseconds that the service asks to wait, given in seconds or as a date. */
const retryAfter = (headers: Headers): number | undefined => {
  const value = headers.get("retry-after")
  if (value === null) return undefined
  const millis = /^\d{1,6}$/.test(value) ? Number(value) * 1000 : Date.parse(value) - Date.now()
  return millis >= 0 ? millis : undefined
}

/** The service's own id of a request. */
export const requestIdOf = (headers: Headers): string | undefined =>
  plain(headers.get("x-amz-request-id") ?? headers.get("x-amz-id-2") ?? headers.get("cf-ray") ?? undefined)

/** A refusal as an error. */
export const refusal = (asked: Asked, refused: Refused, bucket: string): StoreError => {
  const { status, headers } = refused
  const { code, message, region, condition, requestId } = refused.document
  const [found, more] = meaningOf(status, code)
  let reason = found
  // With a condition that names an etag, "gone" is "not that one"; a version that marks a removal has no object.
  if (reason === "NotFound" && code !== "NoSuchUpload" && asked.condition === "match") reason = "PreconditionFailed"
  if (reason === "PreconditionFailed" && asked.condition === "create" && !/copy-source/i.test(condition ?? "")) {
    reason = "AlreadyExists"
  }
  if (headers.get("x-amz-delete-marker") === "true") reason = "NotFound"
  // Ceph's word for a conditional write that another one has overtaken.
  const overtaken = code === "UnknownError" && asked.condition !== undefined
  if (overtaken) reason = "Conflict"
  const said = code === undefined ? `the service answered with status ${status}` : `the service answered ${code}`
  const words = more?.detail ??
    (code === "NoSuchBucket" ? `bucket ${JSON.stringify(bucket)} not found` : undefined) ??
    (code === "AccessDenied" ? `access denied to bucket ${JSON.stringify(bucket)}` : undefined) ??
    // Words about signatures repeat what was signed.
    (message === undefined || reason === "Unauthorized" ? said : `${said}: ${message}`)
  const elsewhere = region ?? plain(headers.get("x-amz-bucket-region") ?? undefined)
  return new StoreError({
    reason,
    detail: words,
    hint: reason === "Config" && elsewhere !== undefined
      ? `the bucket is in the region ${elsewhere}; set region: ${JSON.stringify(elsewhere)}`
      : reason === "InvalidInput" && /encryption/i.test(message ?? "")
      ? "give the customerKey that the object was saved with, or none if it was saved without"
      : reason === found
      ? more?.hint
      : undefined,
    transient: overtaken || (reason === found ? more?.transient : undefined),
    ambiguous: asked.mutates && (reason === "Unavailable" || reason === "Protocol") ? more?.ambiguous : false,
    operation: asked.operation,
    key: asked.key,
    requestId: requestId ?? requestIdOf(headers),
    retryAfter: retryAfter(headers),
    backend: "s3",
  })
}

/** An answer that is no answer of S3: a captive portal's page, half a document, another object's bytes. */
export const oddAnswer = (asked: Asked, detail: string, more?: Partial<StoreErrorArgs>): StoreError =>
  new StoreError({
    reason: "Protocol",
    detail,
    hint: "check that the endpoint is an S3 service and that no proxy stands in between",
    ambiguous: asked.mutates,
    operation: asked.operation,
    key: asked.key,
    backend: "s3",
    ...more,
  })

/** A request that got no answer. */
export const noAnswer = ({ operation, key, mutates }: Asked, error: unknown, host = "the service"): StoreError =>
  new StoreError({ ambiguous: mutates, ...noAnswerFrom(host, error), operation, key, backend: "s3" })
