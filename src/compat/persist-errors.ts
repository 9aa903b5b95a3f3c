/**
 * Persist's exceptions, with the texts of its guide. The `StoreError` underneath is their `cause`.
 *
 * @module
 */
import { StoreError } from "../error.ts"
import { FormatError } from "../streams/format-error.ts"

/**
 * What kind of failure it is: `StorageIO` (the network, or a local disk), `CloudStorage` (the service refuses),
 * `Integrity` (what is stored is not what was saved), `Compression` (it is not packed as a snapshot is), `Format` (it is
 * no snapshot), `Configuration`, `Validation`.
 */
export type PersistErrorTag =
  | "StorageIO"
  | "CloudStorage"
  | "Integrity"
  | "Compression"
  | "Format"
  | "Configuration"
  | "Validation"

/** What a {@link PersistError} is made from. */
export interface PersistErrorArgs {
  /** The text. */
  readonly message: string
  /** What kind of failure it is. */
  readonly tag: PersistErrorTag
  /** What to do about it. */
  readonly hint?: string | undefined
  /** The error underneath. */
  readonly cause?: unknown
}

/**
 * A failed call of this module. As a string it says what to do as well, so that a caller who looks for "credentials",
 * "bucket" or "network" in it finds the word.
 */
export class PersistError extends Error {
  /** The name of the class. */
  override readonly name: string = "PersistError"
  /** What kind of failure it is. */
  readonly tag: PersistErrorTag
  /** What to do about it. */
  readonly hint: string | undefined

  /** An error with that text. */
  constructor({ message, tag, hint, cause }: PersistErrorArgs) {
    super(message, cause === undefined ? {} : { cause })
    this.tag = tag
    this.hint = hint
  }

  /** The text and what to do. */
  override toString(): string {
    return `${this.name}: ${this.message}${this.hint === undefined ? "" : ` (${this.hint})`}`
  }
}

/** A setting that is missing, unknown or wrong. */
export class PersistConfigurationError extends PersistError {
  /** The name of the class. */
  override readonly name: string = "PersistConfigurationError"
}

/** What is stored is not what was saved. */
export class PersistIntegrityError extends PersistError {
  /** The name of the class. */
  override readonly name: string = "PersistIntegrityError"
}

/** A failed call on S3. */
export class PersistS3Error extends PersistError {
  /** The name of the class. */
  override readonly name: string = "PersistS3Error"
}

/** A file that is not packed as a snapshot is. */
export class PersistCompressionError extends PersistError {
  /** The name of the class. */
  override readonly name: string = "PersistCompressionError"
}

/** Where a call went. */
export interface Asked {
  readonly backend: string
  /** The bucket, where there is one. */
  readonly bucket: string | undefined
  readonly path: string
}

const credentials = "configure AWS credentials with environment variables, config files or IAM roles"
const permissions = "verify that the IAM permissions of these credentials include s3:GetObject, s3:PutObject, " +
  "s3:DeleteObject and s3:ListBucket on the bucket"
const network = "check network connectivity; transient errors were tried again"

/** A failure as Persist reports it. What is no {@link StoreError} stays as it is. */
export const persistError = (cause: unknown, asked: Asked): unknown => {
  if (!StoreError.is(cause)) return cause
  const { reason, detail, hint } = cause
  const { bucket, path } = asked
  const onS3 = asked.backend === "s3"
  const storage = (message: string, tag: PersistErrorTag, more: string | undefined = hint): PersistError =>
    new (onS3 ? PersistS3Error : PersistError)({ message, tag, hint: more, cause })
  switch (reason) {
    case "Unauthorized":
      if (!onS3) return storage(`Storage error: ${detail}`, "CloudStorage")
      return /credentials not found/.test(detail)
        ? storage("Storage error: AWS credentials not found", "CloudStorage", credentials)
        : storage("Storage error: AWS credentials were refused", "CloudStorage", credentials)
    case "Forbidden":
      return onS3
        ? storage(`Storage error: Access denied to S3 bucket '${bucket}'`, "CloudStorage", permissions)
        : storage(`Storage I/O error: Permission denied: ${path}`, "StorageIO")
    case "NotFound":
      return onS3
        ? storage(`Storage error: Snapshot not found in S3 (bucket: ${bucket}, key: ${path})`, "CloudStorage")
        : storage(`Storage error: Snapshot not found: ${path}`, "StorageIO")
    case "Config":
      return /^bucket ".*" not found$/.test(detail)
        ? storage(
          `Storage error: Bucket '${bucket}' not found`,
          "CloudStorage",
          "create the bucket, or verify the bucket name and region",
        )
        : new PersistConfigurationError({
          message: `Configuration error: ${detail}`,
          tag: "Configuration",
          hint,
          cause,
        })
    case "Timeout":
      return storage("Storage I/O error: Request timeout", "StorageIO", network)
    case "Unavailable":
    case "RateLimited":
      return storage(`Storage I/O error: ${detail}`, "StorageIO", network)
    case "Corrupt":
    case "Truncated":
      return damaged(cause)
    case "InvalidInput":
    case "InvalidKey":
      return new PersistError({ message: `Validation error: ${detail}`, tag: "Validation", hint, cause })
    case "Unsupported":
      return detail.startsWith("Incompatible snapshot format version")
        ? new PersistError({ message: detail, tag: "Format", hint, cause })
        : new PersistConfigurationError({
          message: `Configuration error: ${detail}`,
          tag: "Configuration",
          hint,
          cause,
        })
    default:
      return storage(`Storage error: ${detail}`, onS3 ? "CloudStorage" : "StorageIO")
  }
}

/** Stored bytes that are not what they should be. */
const damaged = (error: StoreError): PersistError => {
  const { detail, hint, cause } = error
  if (detail.startsWith("Integrity check failed")) {
    return new PersistIntegrityError({ message: detail, tag: "Integrity", hint, cause: error })
  }
  if (cause instanceof FormatError && cause.kind === "mismatch") {
    return new PersistCompressionError({
      message: `Compression error: ${detail}`,
      tag: "Compression",
      hint,
      cause: error,
    })
  }
  if (detail.startsWith("this is no snapshot")) {
    return new PersistError({ message: `Invalid snapshot format: ${detail}`, tag: "Format", hint, cause: error })
  }
  return new PersistIntegrityError({
    message: `Integrity check failed: ${detail}`,
    tag: "Integrity",
    hint,
    cause: error,
  })
}
