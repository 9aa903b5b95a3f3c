/**
 * Perstack's `S3Storage`.
 *
 * @module
 */
import { make, type ProfileName, type S3Options } from "../backends/s3/mod.ts"
import { openBackend } from "../store.ts"
import { type PerstackOptions, PerstackStorage } from "./perstack-storage.ts"

/** Options of {@link S3Storage}. */
export interface S3StorageConfig extends PerstackOptions {
  /** The bucket. */
  readonly bucket: string
  /** Its region. */
  readonly region: string
  /** In front of all keys; a `/` is put after it unless it ends in one. Default `""`. */
  readonly prefix?: string | undefined
  /** Who signs, or a function that says. Default: where Amazon's tools look (environment, shared files, roles). */
  readonly credentials?: S3Options["credentials"]
  /** Another service than Amazon's, such as MinIO or LocalStack. */
  readonly endpoint?: string | undefined
  /** The bucket in the path. Default: `true` with an `endpoint` that is not Amazon's, else `false`. */
  readonly forcePathStyle?: boolean | undefined
  /**
   * What the service at the endpoint is, such as `"minio"`: Holdfast then knows that it checks conditions, and no writer
   * loses another's work there. Default: by the endpoint's host, else what any such service can do.
   */
  readonly profile?: ProfileName | undefined
  /** How requests are sent. Default: the runtime's `fetch`. */
  readonly fetch?: S3Options["fetch"]
}

/**
 * Perstack's execution state in a bucket of S3, or of a service that speaks its protocol: `{prefix}/jobs/…`.
 *
 * @example A service in this process stands for Amazon's
 * ```ts
 * import { S3Storage } from "@holdfast/holdfast/perstack"
 * import { makeS3Peer, peerCredentials } from "@holdfast/holdfast/testing"
 *
 * const { fetch } = makeS3Peer({ buckets: ["my-perstack-bucket"] })
 * const storage = new S3Storage({
 *   bucket: "my-perstack-bucket",
 *   region: "us-east-1",
 *   prefix: "perstack/",
 *   credentials: peerCredentials,
 *   fetch,
 * })
 * console.assert(await storage.retrieveJob("none") === undefined)
 * ```
 */
export class S3Storage extends PerstackStorage {
  /** Asks nothing of the service yet. */
  constructor({ prefix, redact, onUnreadable, forcePathStyle, ...options }: S3StorageConfig) {
    super(() => openBackend(make({ ...options, pathStyle: forcePathStyle })), { prefix, redact, onUnreadable })
  }
}
