/**
 * S3 stores whose options come from Effect's `Config`. An entry of its own, since `Config` doubles the time that a
 * program takes to start.
 *
 * @module
 */
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { StoreError } from "../../error.ts"
import { ObjectStore } from "../../object-store.ts"
import type { StoreOptions } from "../../options.ts"
import { layer, type S3Options } from "./mod.ts"

/** An option of {@link S3Options} that can be read from configuration; the others are given in code. */
export type Configurable =
  | "bucket"
  | "prefix"
  | "region"
  | "endpoint"
  | "accessKeyId"
  | "secretAccessKey"
  | "sessionToken"
  | "pathStyle"

/** Where each option is read from; what is left out keeps its default. */
export type S3Config = { readonly [name in Configurable]?: Config.Config<S3Options[name] | undefined> }

const optional = <A>(config: Config.Config<A>): Config.Config<A | undefined> =>
  Config.withDefault(config as Config.Config<A | undefined>, undefined)

const either = (...names: readonly [string, ...ReadonlyArray<string>]): Config.Config<string> => {
  const [first, ...rest] = names
  return rest.reduce(
    (config, name) => Config.orElse(config, () => Config.NonEmptyString(name)),
    Config.NonEmptyString(first),
  )
}

/**
 * What the environment says, by the names that Amazon's and Bun's tools use: `AWS_S3_BUCKET`, `AWS_BUCKET` or
 * `S3_BUCKET`; `S3_REGION`, `AWS_REGION` or `AWS_DEFAULT_REGION`; `S3_ENDPOINT`, `AWS_ENDPOINT_URL_S3` or
 * `AWS_ENDPOINT_URL`; `S3_ACCESS_KEY_ID`, `S3_SECRET_ACCESS_KEY`, `S3_SESSION_TOKEN`; `S3_FORCE_PATH_STYLE`. Without
 * such keys the backend looks where Amazon's tools do, `AWS_ACCESS_KEY_ID` first.
 */
export const environment: S3Config = {
  bucket: optional(either("AWS_S3_BUCKET", "AWS_BUCKET", "S3_BUCKET")),
  region: optional(either("S3_REGION", "AWS_REGION", "AWS_DEFAULT_REGION")),
  endpoint: optional(either("S3_ENDPOINT", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")),
  accessKeyId: optional(Config.NonEmptyString("S3_ACCESS_KEY_ID")),
  secretAccessKey: optional(Config.Redacted("S3_SECRET_ACCESS_KEY")),
  sessionToken: optional(Config.Redacted("S3_SESSION_TOKEN")),
  pathStyle: optional(Config.Boolean("S3_FORCE_PATH_STYLE")),
}

/**
 * Provides an `ObjectStore` in a bucket that configuration names. `options` are given in code and go before it.
 *
 * @example A store that the environment describes
 * ```ts
 * import { ObjectStore } from "@holdfast/holdfast"
 * import * as S3Config from "@holdfast/holdfast/s3-config"
 * import { makeS3Peer, peerCredentials } from "@holdfast/holdfast/testing"
 * import * as Config from "effect/Config"
 * import * as ConfigProvider from "effect/ConfigProvider"
 * import * as Effect from "effect/Effect"
 *
 * const env = ConfigProvider.fromEnvRecord({ AWS_S3_BUCKET: "snapshots", AGENT: "runs/7", AWS_REGION: "us-east-1" })
 * const store = S3Config.layerConfig(
 *   { ...S3Config.environment, prefix: Config.String("AGENT") },
 *   { ...peerCredentials, fetch: makeS3Peer({ buckets: ["snapshots"] }).fetch },
 * )
 * const program = Effect.flatMap(ObjectStore, (store) => store.save("greeting", "hello"))
 * const info = await Effect.runPromise(
 *   program.pipe(Effect.provide(store), Effect.provideService(ConfigProvider.ConfigProvider, env)),
 * )
 * console.assert(info.length === 5)
 * ```
 */
export const layerConfig = (
  config: S3Config = environment,
  options?: Partial<S3Options> & StoreOptions,
): Layer.Layer<ObjectStore, StoreError | Config.ConfigError> =>
  Layer.unwrap(
    Effect.map(Config.all(config), (found) => {
      const set = Object.fromEntries(Object.entries(found).filter(([, value]) => value !== undefined))
      const bucket = options?.bucket ?? set["bucket"] as string | undefined
      if (bucket !== undefined) return layer({ ...set, ...options, bucket })
      const detail = "neither the configuration nor the options name a bucket"
      const hint = 'set AWS_S3_BUCKET, or give bucket: "my-bucket"'
      const unnamed = new StoreError({ reason: "Config", operation: "open", backend: "s3", detail, hint })
      return ObjectStore.layer(Effect.fail(unnamed))
    }),
  )
