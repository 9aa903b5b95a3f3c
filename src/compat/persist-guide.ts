/**
 * What Persist's guides hold besides words: its table of backends, and the policy for its bucket.
 *
 * @module
 */

/** What a backend can do, as in "Supported Backends Summary". */
export interface BackendFeatures {
  /** It can be used. */
  readonly implemented: boolean
  /** Snapshots are compressed. */
  readonly compression: boolean
  /** Snapshots larger than the memory are saved and loaded. */
  readonly streaming: boolean
  /** Transient failures are tried again; `"n/a"` where there are none. */
  readonly retry: boolean | "n/a"
  /** How what is stored can be encrypted. */
  readonly encryption: "file-level" | "server-side" | "kms"
}

/**
 * The guide's table for the backends of this version. Beyond it: the local disk streams, and snapshots can be encrypted
 * on this side on every backend (`encryption_key`). Google Cloud Storage is not implemented yet.
 */
export const supportedBackends: Readonly<Record<"local" | "s3" | "gcs", BackendFeatures>> = {
  local: { implemented: true, compression: true, streaming: true, retry: "n/a", encryption: "file-level" },
  s3: { implemented: true, compression: true, streaming: true, retry: true, encryption: "server-side" },
  gcs: { implemented: false, compression: true, streaming: true, retry: true, encryption: "kms" },
}

/** A policy of a bucket, as JSON takes it. */
export interface BucketPolicy {
  /** The language's version. */
  readonly Version: "2012-10-17"
  /** What is allowed to whom. */
  readonly Statement: ReadonlyArray<{
    readonly Effect: "Allow"
    readonly Principal: { readonly AWS: string }
    readonly Action: ReadonlyArray<string>
    readonly Resource: ReadonlyArray<string>
  }>
}

/** The guide's policy for a bucket that one user or role may use, such as `arn:aws:iam::123456789012:user/persist-user`. */
export const bucketPolicy = (bucket: string, principal: string): BucketPolicy => {
  if (!/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/.test(bucket)) {
    throw new TypeError(`${JSON.stringify(bucket)} is not the name of a bucket`)
  }
  if (!/^arn:aws[a-z-]*:(iam|sts)::\d{12}:\S+$/.test(principal)) {
    throw new TypeError(`${JSON.stringify(principal)} is not the ARN of a user or role`)
  }
  return {
    Version: "2012-10-17",
    Statement: [{
      Effect: "Allow",
      Principal: { AWS: principal },
      Action: ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:ListBucket"],
      Resource: [`arn:aws:s3:::${bucket}`, `arn:aws:s3:::${bucket}/*`],
    }],
  }
}
