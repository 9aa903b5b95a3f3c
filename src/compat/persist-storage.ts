/**
 * Persist's port for places, `StorageAdapter`: four functions on whole files. Everything that has them can hold
 * snapshots, and every place that Holdfast knows has them.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import type { Backend, ObjectInfo } from "../backend.ts"
import * as Memory from "../backends/memory.ts"
import { StoreError } from "../error.ts"
import { keyFlaw } from "../key.ts"
import { defaultRetry } from "../policy.ts"
import { openBackend, type Store } from "../store.ts"
import { type Environment, StorageConfig, variableOf } from "./persist-config.ts"
import { PersistConfigurationError, persistError } from "./persist-errors.ts"
import { type LogFields, logged, type LoggedCall, type RustLog, rustLog } from "./rust-log.ts"

/** A place for whole files: Persist's port. A new kind of place is one object with these four. */
export interface StorageAdapter {
  /** Stores bytes under a path; what was there is replaced. */
  readonly save: (data: Uint8Array, path: string) => Promise<void>
  /** The bytes under a path; rejects when there are none. */
  readonly load: (path: string) => Promise<Uint8Array>
  /** Whether there is something under a path. */
  readonly exists: (path: string) => Promise<boolean>
  /** Removes what is under a path; nothing there is fine. */
  readonly delete: (path: string) => Promise<void>
}

/** A store and a key in it. */
export interface Opened extends AsyncDisposable {
  readonly store: Store
  readonly key: string
}

/** What a place is opened with. */
export interface OpenPlaceOptions {
  /** Where variables are read from. Default: the process's environment. */
  readonly env?: Environment | undefined
}

let memory: Promise<Backend> | undefined

/**
 * Opens the place that a configuration means, for one path. For S3 the endpoint (`AWS_ENDPOINT_URL_S3`,
 * `AWS_ENDPOINT_URL`), the keys, `PERSIST_S3_MAX_RETRIES` (default 2, at most 4) and `PERSIST_S3_TIMEOUT` (seconds of an
 * attempt, default 60) are from the environment. With a `log`, each request to S3 is told there.
 */
export const openPlace = async (
  config: StorageConfig,
  path: string,
  options: OpenPlaceOptions = {},
  log?: RustLog,
): Promise<Opened> => {
  config.validate()
  const opened = (store: Store, key: string): Opened => ({
    store,
    key,
    [Symbol.asyncDispose]: () => store.close(),
  })
  switch (config.backend) {
    case "local":
      return await openLocal(path, config.local_base_path, opened)
    case "s3":
      return opened(await openS3(config, options.env, log), path)
    case "memory":
      // One for the process: a place that is gone after each call would hold nothing.
      memory ??= Effect.runPromise(Memory.make())
      return opened(await openBackend(Effect.succeed(await memory)), path)
    case "gcs":
    case "azure": {
      const name = config.backend === "gcs" ? "Google Cloud Storage" : "Azure Blob Storage"
      const detail = `${name} is not supported by this version`
      const hint = "use storage_mode 's3' or 'local'"
      throw new PersistConfigurationError({
        message: `Configuration error: ${detail}`,
        tag: "Configuration",
        hint,
        cause: new StoreError({ reason: "Unsupported", detail, hint, operation: "open" }),
      })
    }
  }
}

/** How the lines about a call on a place name it. */
export const callAt = (config: StorageConfig, operation: string, path: string): LoggedCall => ({
  target: `persist_core::storage::${config.backend}`,
  operation,
  fields: config.backend === "s3" ? { bucket: config.s3_bucket, key: path } : { base: config.local_base_path, path },
})

/** Retries of a call on S3 unless `PERSIST_S3_MAX_RETRIES` says otherwise: three attempts, as Persist's guide has it. */
const defaultRetries = 2

/** A number above or at zero that a variable holds. */
const numberOf = (name: string, value: string | undefined): number | undefined => {
  if (value === undefined) return undefined
  const number = Number(value)
  if (number >= 0 && Number.isFinite(number)) return number
  throw new PersistConfigurationError({
    message: `Configuration error: ${name} is ${JSON.stringify(value)}; give a number`,
    tag: "Configuration",
  })
}

const openS3 = async (
  config: StorageConfig,
  env: Environment | undefined,
  log: RustLog | undefined,
): Promise<Store> => {
  const variable = variableOf(env)
  const accessKeyId = variable("AWS_ACCESS_KEY_ID")
  const retries = numberOf("PERSIST_S3_MAX_RETRIES", variable("PERSIST_S3_MAX_RETRIES")) ?? defaultRetries
  const timeout = numberOf("PERSIST_S3_TIMEOUT", variable("PERSIST_S3_TIMEOUT"))
  const S3 = await import("../backends/s3/mod.ts")
  return await openBackend(
    S3.make({
      bucket: config.s3_bucket!,
      region: config.s3_region,
      endpoint: variable("AWS_ENDPOINT_URL_S3") ?? variable("AWS_ENDPOINT_URL"),
      fetch: log === undefined ? undefined : (await import("./rust-log-requests.ts")).loggedFetch(log),
      ...(accessKeyId === undefined ? {} : {
        accessKeyId,
        secretAccessKey: variable("AWS_SECRET_ACCESS_KEY"),
        sessionToken: variable("AWS_SESSION_TOKEN"),
      }),
    }),
    {
      policy: {
        retry: Schedule.upTo(defaultRetry, { times: Math.floor(retries) }),
        attemptTimeout: timeout === undefined || timeout === 0 ? undefined : timeout * 1000,
      },
    },
  )
}

/**
 * A local file is kept by the disk backend with the file's folder as its root, so that a file has one lock whichever way
 * its path is written. Beside it stands `.holdfast/`, with what Holdfast knows of the folder's files.
 */
const openLocal = async (
  path: string,
  base: string | undefined,
  opened: (store: Store, key: string) => Opened,
): Promise<Opened> => {
  const flaw = base === undefined ? undefined : path.startsWith("/") ? "it is absolute" : keyFlaw(path)
  if (flaw !== undefined) {
    throw new StoreError({ reason: "InvalidKey", detail: `the path leaves local_base_path: ${flaw}`, key: path })
  }
  const whole = base === undefined ? path : `${base.replace(/\/+$/, "")}/${path}`
  const cut = whole.lastIndexOf("/")
  const root = cut < 0 ? "." : cut === 0 ? "/" : whole.slice(0, cut)
  const Disk = await import("../backends/disk/mod.ts")
  return opened(await openBackend(Effect.map(Disk.make({ root }), trusting)), whole.slice(cut + 1))
}

/**
 * The disk refuses a file that something else has replaced since Holdfast saved it. Here that is fine: another program
 * may be Persist itself, and every snapshot has a hash of its own.
 */
const trusting = (disk: Backend): Backend => {
  const foreign = (info: ObjectInfo): ObjectInfo => ({
    key: info.key,
    size: info.size,
    etag: info.etag,
    modified: info.modified,
    metadata: {},
  })
  const onCorrupt = <A>(call: Effect.Effect<A, StoreError>, again: Effect.Effect<A, StoreError>) =>
    Effect.catchIf(call, (error) => error.reason === "Corrupt", () => again)
  return {
    ...disk,
    stat: (key, options) =>
      onCorrupt(disk.stat(key, options), Effect.map(disk.stat(key, { ...options, damaged: true }), foreign)),
    get: (key, options) =>
      onCorrupt(
        disk.get(key, options),
        Effect.map(disk.get(key, { ...options, damaged: true }), (got) => ({ ...got, info: foreign(got.info) })),
      ),
  }
}

/** Files of a place that a configuration means. */
class PlaceStorage implements StorageAdapter {
  readonly #config: StorageConfig
  readonly #options: OpenPlaceOptions

  constructor(config: StorageConfig, options: OpenPlaceOptions) {
    this.#config = config
    this.#options = options
  }

  save(data: Uint8Array, path: string): Promise<void> {
    return this.#at("save", path, async (store, key, note) => {
      note({ bytes: data.length })
      await store.save(key, data, { compression: "none" })
    })
  }

  load(path: string): Promise<Uint8Array> {
    return this.#at("load", path, async (store, key, note) => {
      const data = await (await store.load(key)).bytes()
      note({ bytes: data.length })
      return data
    })
  }

  exists(path: string): Promise<boolean> {
    return this.#at("exists", path, async (store, key, note) => {
      const exists = await store.exists(key)
      note({ exists })
      return exists
    })
  }

  delete(path: string): Promise<void> {
    return this.#at("delete", path, (store, key) => store.remove(key))
  }

  #at<A>(
    operation: string,
    path: string,
    use: (store: Store, key: string, note: (fields: LogFields) => void) => Promise<A>,
  ): Promise<A> {
    const log = rustLog(this.#options.env)
    return logged(log, callAt(this.#config, operation, path), async (note) => {
      try {
        await using place = await openPlace(this.#config, path, this.#options, log)
        return await use(place.store, place.key, note)
      } catch (cause) {
        throw persistError(cause, { backend: this.#config.backend, bucket: this.#config.s3_bucket, path })
      }
    })
  }
}

/** The adapter for a configuration. Throws when the configuration lacks something; nothing is asked of any service. */
export const storageAdapter = (config: StorageConfig, options: OpenPlaceOptions = {}): StorageAdapter => {
  config.validate()
  return new PlaceStorage(config, options)
}

/** Files on the local disk, below a folder if one is given. */
export class LocalFileStorage extends PlaceStorage {
  /** Paths are taken as they are, or below `base_dir`, which they cannot leave. */
  constructor(base_dir?: string) {
    super(new StorageConfig({ local_base_path: base_dir }), {})
  }
}

/** Files in a bucket of S3. Each function is one request: PUT, GET, HEAD, DELETE. */
export class S3StorageAdapter extends PlaceStorage {
  /** Region, endpoint and credentials come from where Amazon's tools look, unless they are given. */
  constructor(bucket: string, options: OpenPlaceOptions & { readonly region?: string | undefined } = {}) {
    const config = new StorageConfig({ backend: "s3", s3_bucket: bucket, s3_region: options.region })
    config.validate()
    super(config, options)
  }
}

/** Files in this process's memory, of this object alone. */
export class MemoryStorage implements StorageAdapter {
  readonly #files = new Map<string, Uint8Array>()

  /** Keeps a copy of the bytes. */
  save(data: Uint8Array, path: string): Promise<void> {
    this.#files.set(path, data.slice())
    return Promise.resolve()
  }

  /** The bytes, as a copy. */
  load(path: string): Promise<Uint8Array> {
    const found = this.#files.get(path)
    return found === undefined
      ? Promise.reject(new Error(`there is no file ${JSON.stringify(path)}`))
      : Promise.resolve(found.slice())
  }

  /** Whether there is such a file. */
  exists(path: string): Promise<boolean> {
    return Promise.resolve(this.#files.has(path))
  }

  /** Forgets the file. */
  delete(path: string): Promise<void> {
    this.#files.delete(path)
    return Promise.resolve()
  }
}
