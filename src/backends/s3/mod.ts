/**
 * Objects in Amazon S3, and in services that speak its protocol: Cloudflare R2, Ceph, MinIO and others. Nothing of
 * Amazon's software is needed, and the same code runs in Bun, Deno, Node, Workers and browsers.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import type { Backend } from "../../backend.ts"
import { StoreError } from "../../error.ts"
import { ObjectStore } from "../../object-store.ts"
import type { StoreOptions } from "../../options.ts"
import { makeBackend } from "./backend.ts"
import { type S3Options, settle } from "./options.ts"

export { Clock, type Refusal } from "../../aws/clock.ts"
export { Credentials, type CredentialsLike, type CredentialsProvider } from "../../aws/credentials.ts"
export { Refreshing, refreshing, type RefreshOptions } from "../../aws/refresh.ts"
export {
  emptyPayload,
  maxExpires,
  type PresignedRequest,
  type SignableRequest,
  type SignedRequest,
  Signer,
  type SignerOptions,
  unsignedPayload,
} from "../../aws/sign.ts"
export type { S3Options } from "./options.ts"
export { type Profile, type ProfileName, profileOf, profiles } from "./profiles.ts"

/**
 * Makes a {@link Backend} of a bucket. Nothing is asked of the service. Fails with `Config` when an option is wrong,
 * and says what to write.
 */
export const make = (options: S3Options): Effect.Effect<Backend, StoreError> =>
  Effect.tryPromise({
    try: async () => {
      const { region, endpoint } = options
      // Where a region is missing, the machine may know; a Worker has no such thing and is not made to look.
      const unknown = region === undefined && endpoint === undefined
      const here = unknown ? await (await import("../../aws/region.ts")).resolveRegion() : undefined
      return makeBackend(settle(options, here))
    },
    catch: (error) => {
      if (StoreError.is(error)) return error
      throw error
    },
  })

/**
 * Provides an {@link ObjectStore} in a bucket.
 *
 * @example A store in a bucket
 * ```ts
 * import { ObjectStore } from "@holdfast/holdfast"
 * import * as S3 from "@holdfast/holdfast/s3"
 * import { makeS3Peer, peerCredentials } from "@holdfast/holdfast/testing"
 * import * as Effect from "effect/Effect"
 *
 * // A service in this process; leave out `fetch` for a real one.
 * const peer = makeS3Peer({ buckets: ["snapshots"] })
 * const store = S3.layer({ bucket: "snapshots", region: "us-east-1", ...peerCredentials, fetch: peer.fetch })
 * const save = Effect.flatMap(ObjectStore, (store) => store.save("greeting", "hello"))
 * const info = await Effect.runPromise(Effect.provide(save, store))
 * console.assert(info.length === 5)
 * ```
 */
export const layer = (options: S3Options & StoreOptions): Layer.Layer<ObjectStore, StoreError> =>
  ObjectStore.layer(make(options), options)
