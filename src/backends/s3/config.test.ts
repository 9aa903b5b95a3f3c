/** Options from configuration: which names are read, what goes before what, and what is said when one is missing. */
import { expect, test } from "bun:test"
import * as Config from "effect/Config"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import { StoreError } from "../../error.ts"
import { ObjectStore } from "../../object-store.ts"
import { makeS3Peer, type S3Peer } from "../../testing/s3/mod.ts"
import { environment, layerConfig, type S3Config } from "./config.ts"
import type { S3Options } from "./mod.ts"

/** Saves with what the variables say, and returns the peer, or what went wrong. */
const saveWith = (
  variables: Record<string, string>,
  config: S3Config = environment,
  options: Partial<S3Options> = {},
): Promise<S3Peer | unknown> => {
  const peer = makeS3Peer({
    buckets: ["one", "two"],
    region: "eu-west-1",
    credentials: [{ accessKeyId: "AKID", secretAccessKey: "canary" }],
  })
  const layer = layerConfig(config, { fetch: peer.fetch, ...options })
  const save = Effect.flatMap(ObjectStore, (store) => store.save("k", "hello", { retry: "none" }))
  const provider = ConfigProvider.fromEnvRecord(variables)
  return Effect.runPromise(
    save.pipe(
      Effect.provide(layer),
      Effect.provideService(ConfigProvider.ConfigProvider, provider),
      Effect.match({ onSuccess: () => peer, onFailure: (error) => error }),
    ),
  )
}

const full = { AWS_S3_BUCKET: "one", AWS_REGION: "eu-west-1", S3_ACCESS_KEY_ID: "AKID", S3_SECRET_ACCESS_KEY: "canary" }

const holds = (found: unknown, bucket: string, key: string): boolean =>
  (found as S3Peer).object(bucket, key) !== undefined

test("rows 155, 156, 157: the environment alone makes a store, by the names of Amazon's and Bun's tools", async () => {
  expect(holds(await saveWith(full), "one", "k")).toBe(true)
  const { AWS_S3_BUCKET: _, ...rest } = full
  for (const name of ["AWS_BUCKET", "S3_BUCKET"]) {
    expect(holds(await saveWith({ ...rest, [name]: "two" }), "two", "k")).toBe(true)
  }
})

test("row 166: what is given in code goes before configuration, and configuration of one's own is taken", async () => {
  expect(holds(await saveWith(full, environment, { bucket: "two" }), "two", "k")).toBe(true)
  const config = { ...environment, prefix: Config.String("AGENT") }
  expect(holds(await saveWith({ ...full, AGENT: "runs/7" }, config), "one", "runs/7/k")).toBe(true)
})

test("a bucket that nobody names, and a flag that is none, are told; the secret is not", async () => {
  const { AWS_S3_BUCKET: _, ...rest } = full
  const missing = await saveWith(rest)
  expect(StoreError.is(missing) && [missing.reason, missing.hint]).toEqual([
    "Config",
    'set AWS_S3_BUCKET, or give bucket: "my-bucket"',
  ])
  const flag = await saveWith({ ...full, S3_FORCE_PATH_STYLE: "perhaps" })
  for (const error of [missing, flag]) {
    expect((error as { _tag?: string })._tag).toMatch(/Error$/)
    expect(`${error} ${JSON.stringify(error)}`).not.toContain("canary")
  }
})
