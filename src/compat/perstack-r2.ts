/**
 * Perstack's `R2Storage`. Nothing that is imported here needs a file system or anything of `node:`, so that a Worker
 * can be made of it.
 *
 * @module
 */
import { make, type S3Options } from "../backends/s3/mod.ts"
import { StoreError } from "../error.ts"
import { openBackend } from "../store.ts"
import { type PerstackOptions, PerstackStorage } from "./perstack-storage.ts"

/** Options of {@link R2Storage}. */
export interface R2StorageConfig extends PerstackOptions {
  /** The account of Cloudflare: 32 hex digits. */
  readonly accountId: string
  /** The bucket. */
  readonly bucket: string
  /** The id of an R2 API token's key. */
  readonly accessKeyId: string
  /** Its secret. */
  readonly secretAccessKey: string
  /** In front of all keys; a `/` is put after it unless it ends in one. Default `""`. */
  readonly prefix?: string | undefined
  /** How requests are sent. Default: the runtime's `fetch`. */
  readonly fetch?: S3Options["fetch"]
}

/** How to get the keys of R2, in the three steps of Perstack's guide. */
export const r2CredentialSteps: string = "1. go to Cloudflare Dashboard > R2 > Manage R2 API Tokens; " +
  '2. create an API token with "Object Read & Write" permissions; ' +
  "3. copy the Access Key ID and Secret Access Key"

/** One label of a host's name: an account stands in front of R2's host, and must not lead to another one. */
const hostLabel = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/i

/**
 * Perstack's execution state in a bucket of Cloudflare R2, from anywhere: also from a Worker, in which a bucket can be
 * bound instead and needs no keys. Keys that R2 refuses are explained with the way to get them.
 *
 * @example Made with the keys of an API token
 * ```ts
 * import { R2Storage } from "@holdfast/holdfast/perstack"
 *
 * const storage = new R2Storage({
 *   accountId: "your-cloudflare-account-id",
 *   bucket: "my-perstack-bucket",
 *   accessKeyId: "your-r2-access-key-id",
 *   secretAccessKey: "your-r2-secret-access-key",
 *   prefix: "perstack/",
 * })
 * console.assert(storage !== undefined)
 * ```
 */
export class R2Storage extends PerstackStorage {
  /** Asks nothing of the service yet. */
  constructor({ accountId, bucket, accessKeyId, secretAccessKey, prefix, fetch, ...options }: R2StorageConfig) {
    super(
      async () => {
        if (!hostLabel.test(accountId)) {
          throw new StoreError({
            reason: "Config",
            detail: "the accountId is not an account of Cloudflare",
            hint: "give the 32 hex digits that the dashboard shows",
            operation: "open",
          })
        }
        const endpoint = `https://${accountId.toLowerCase()}.r2.cloudflarestorage.com`
        return await openBackend(
          make({ bucket, accessKeyId, secretAccessKey, fetch, endpoint, region: "auto", profile: "r2" }),
        )
      },
      { ...options, prefix },
      (error) =>
        error.reason === "Unauthorized" || error.reason === "Forbidden"
          ? error.with({ hint: `${error.hint}; for new keys: ${r2CredentialSteps}` })
          : error,
    )
  }
}
