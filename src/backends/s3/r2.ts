/**
 * Cloudflare R2 through its S3 interface: a preset of the S3 backend. In a Worker prefer a binding, which needs no
 * keys.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import type { Backend } from "../../backend.ts"
import { StoreError } from "../../error.ts"
import { ObjectStore } from "../../object-store.ts"
import type { StoreOptions } from "../../options.ts"
import { make as makeS3 } from "./mod.ts"
import type { S3Options } from "./options.ts"

/** A bucket of R2. */
export interface R2Options extends
  Pick<
    S3Options,
    "bucket" | "prefix" | "accessKeyId" | "secretAccessKey" | "sessionToken" | "credentials" | "fetch"
  > {
  /** The account's id: 32 hex digits, as the dashboard shows it. */
  readonly accountId: string
  /** Where the bucket's data must stay; what it was made with. Default: no such bound. */
  readonly jurisdiction?: "eu" | "fedramp" | undefined
}

/** Makes a {@link Backend} of a bucket of R2. Fails with `Config` when an option is wrong. */
export const make = (options: R2Options): Effect.Effect<Backend, StoreError> =>
  Effect.suspend(() => {
    const { accountId, jurisdiction, ...rest } = options
    const wrong = (detail: string, hint: string) =>
      Effect.fail(new StoreError({ reason: "Config", detail, hint, operation: "open", backend: "s3" }))
    if (!/^[0-9a-f]{32}$/i.test(accountId)) {
      return wrong("the accountId is not an account of Cloudflare", "give the 32 hex digits that the dashboard shows")
    }
    if (jurisdiction !== undefined && jurisdiction !== "eu" && jurisdiction !== "fedramp") {
      return wrong("the jurisdiction is unknown", 'give "eu" or "fedramp", or leave it out')
    }
    const host = `${accountId.toLowerCase()}.${
      jurisdiction === undefined ? "" : `${jurisdiction}.`
    }r2.cloudflarestorage.com`
    return makeS3({ ...rest, endpoint: `https://${host}` })
  })

/**
 * Provides an {@link ObjectStore} in a bucket of R2.
 *
 * @example A store in R2
 * ```ts
 * import * as R2 from "@holdfast/holdfast/r2"
 *
 * const store = R2.layer({
 *   accountId: "0123456789abcdef0123456789abcdef",
 *   bucket: "snapshots",
 *   accessKeyId: "key",
 *   secretAccessKey: "secret",
 * })
 * console.assert(store !== undefined)
 * ```
 */
export const layer = (options: R2Options & StoreOptions): Layer.Layer<ObjectStore, StoreError> =>
  ObjectStore.layer(make(options), options)
