/**
 * A URL or the environment in, a store out. Backends are loaded when they are asked for.
 *
 * @module
 */
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { Backend } from "./backend.ts"
import type { S3Options } from "./backends/s3/mod.ts"
import type { R2Options } from "./backends/s3/r2.ts"
import { StoreError } from "./error.ts"
import type { StoreOptions } from "./options.ts"
import { openBackend, type Store } from "./store.ts"
import { type Location, parseStoreUrl, storeVariable } from "./store-url.ts"

/** Options of {@link open}. */
export interface OpenOptions extends StoreOptions {
  /** Where `HOLDFAST_STORE` is read from when no URL is given. Default: the process's environment. */
  readonly env?: Readonly<Record<string, string | undefined>> | undefined
}

/**
 * Opens a store by its URL, or by `HOLDFAST_STORE` when there is none.
 *
 * - `file:PATH` (relative or absolute, taken as it is) or `file:///path` (percent-decoded): a folder on a local disk
 * - `mem:`: this process's memory, a fresh store each time
 * - `s3://bucket/prefix?region=…&endpoint=…&forcePathStyle=true&profile=…`: a bucket of Amazon S3, or of a service that
 *   speaks its protocol. What is left out comes from the environment (`AWS_REGION`, `AWS_ENDPOINT_URL_S3`,
 *   `S3_ACCESS_KEY_ID` …) and then from where Amazon's own tools look. Keys never go into a URL.
 * - `r2://account/bucket/prefix?jurisdiction=eu`: a bucket of Cloudflare R2; keys from `R2_ACCESS_KEY_ID` and
 *   `R2_SECRET_ACCESS_KEY`
 * - `https://host/base`: behind a Holdfast server, which is asked once what its store can do; a token comes from
 *   `HOLDFAST_TOKEN`; calls are tried again for 30 s, so that the server may be restarted meanwhile
 * - `webdav+https://host/folder`: a folder on a WebDAV server; `WEBDAV_USER` and `WEBDAV_PASSWORD`, or `WEBDAV_TOKEN`
 *
 * Opening asks nothing of any other service and changes nothing: a folder is made by the first save, a bucket must be there.
 *
 * @example Save and load
 * ```ts
 * import { open } from "@holdfast/holdfast"
 *
 * await using store = await open("mem:")
 * const info = await store.save("runs/42/state.json", JSON.stringify({ step: 1 }), { ifNoneMatch: "*" })
 * await store.save("runs/42/state.json", JSON.stringify({ step: 2 }), { ifMatch: info.etag })
 * const state = await (await store.load("runs/42/state.json")).json<{ step: number }>()
 * console.assert(state.step === 2)
 * ```
 */
export const open = async (url?: string | URL, options: OpenOptions = {}): Promise<Store> => {
  const env = options.env ??
    (globalThis as { process?: { env?: Record<string, string | undefined> } }).process?.env ?? {}
  const text = url === undefined ? env[storeVariable] : String(url)
  if (text === undefined || text === "") {
    throw new StoreError({
      reason: "Config",
      operation: "open",
      detail: url === undefined ? `no store URL was given and ${storeVariable} is not set` : "the store URL is empty",
      hint: 'give a URL such as "file:./data", "s3://bucket/prefix" or "mem:"',
    })
  }
  const location = parseStoreUrl(text, env)
  const encryption = options.encryption ?? (location.kind === "s3" ? location.encryption : undefined)
  const policy = location.kind === "remote"
    ? (await import("./backends/http/mod.ts")).patientPolicy(options.policy)
    : options.policy
  return await openBackend(await backendOf(location), { ...options, encryption, policy })
}

const backendOf = async (location: Location): Promise<Effect.Effect<Backend, StoreError, Scope.Scope>> => {
  switch (location.kind) {
    case "memory":
      return (await import("./backends/memory.ts")).make()
    case "disk":
      return (await import("./backends/disk/mod.ts")).make({ root: location.root })
    case "s3":
      // Names that the types do not allow are refused there, with the ones that there are.
      return (await import("./backends/s3/mod.ts")).make(location.options as S3Options)
    case "remote":
      return (await import("./backends/http/mod.ts")).make(location.options)
    case "webdav":
      return (await import("./backends/webdav/mod.ts")).make(location.options)
    case "r2":
      return (await import("./backends/s3/r2.ts")).make(location.options as R2Options)
  }
}
