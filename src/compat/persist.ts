/**
 * Persist's functions, with its names, defaults and texts: snapshots of agents on the local disk or in S3. Files are the
 * same, so that snapshots of either program are read by the other. Options are understood as `s3_bucket` and as
 * `s3Bucket`.
 *
 * A setting comes from the first that has it: the call's argument, its `config`, its `config_file`, the environment, the
 * default. `RUST_LOG` in the environment asks for lines about calls and requests on standard error, as in Persist.
 *
 * @module
 */
import { StoreError } from "../error.ts"
import {
  type Health,
  type Redact,
  type SnapshotKey,
  type SnapshotMetadata,
  SnapshotStore,
} from "../stores/snapshots.ts"
import { type ConfigOptions, type EitherCase, fieldOf, resolveConfig } from "./persist-config.ts"
import { PersistConfigurationError, persistError } from "./persist-errors.ts"
import { callAt, type Opened, openPlace } from "./persist-storage.ts"
import { type LogFields, logged, rustLog } from "./rust-log.ts"

export {
  type CamelCase,
  type ConfigOptions,
  type EitherCase,
  type Environment,
  resolveConfig,
  StorageBackend,
  StorageConfig,
  type StorageConfigFields,
  type StorageConfigInput,
} from "./persist-config.ts"
export { SnapshotEngine } from "./persist-engine.ts"
export {
  PersistCompressionError,
  PersistConfigurationError,
  PersistError,
  type PersistErrorArgs,
  type PersistErrorTag,
  PersistIntegrityError,
  PersistS3Error,
} from "./persist-errors.ts"
export { type BackendFeatures, type BucketPolicy, bucketPolicy, supportedBackends } from "./persist-guide.ts"
export {
  LocalFileStorage,
  MemoryStorage,
  type OpenPlaceOptions,
  S3StorageAdapter,
  type StorageAdapter,
  storageAdapter,
} from "./persist-storage.ts"

/** What every function takes. */
interface CommonFields {
  /** 32 bytes that snapshots are encrypted with before they leave the program. Default: none. */
  readonly encryption_key: SnapshotKey
}

/** What {@link snapshot} takes beside the place. */
interface SnapshotOptionFields extends CommonFields {
  /** Whose state it is. Default `"default_agent"`. */
  readonly agent_id: string
  /** Of which session. Default `"default_session"`. */
  readonly session_id: string
  /** Number of the snapshot within its session. Default 0. */
  readonly snapshot_index: number
  /** Words for people. Default: none. */
  readonly description: string
  /** What is not to be stored. Default: nothing. */
  readonly redact: Redact
}

/** What {@link restore} takes beside the place. */
interface RestoreOptionFields extends CommonFields {
  /** Secrets that were left out of the snapshot, by name; for `loads`. */
  readonly secrets_map: Readonly<Record<string, string>>
  /**
   * Makes the agent out of its JSON: LangChain's `load`, as
   * `(json, secrets) => load(json, { secretsMap: secrets })`. Default: the plain value that the JSON stands for.
   */
  readonly loads: (json: string, secrets: Readonly<Record<string, string>>) => unknown
}

/** Options of every function: the place, in either spelling, and a key. */
export type PersistOptions = ConfigOptions & EitherCase<CommonFields>

/** Options of {@link snapshot}. */
export type PersistSnapshotOptions = ConfigOptions & EitherCase<SnapshotOptionFields>

/** Options of {@link restore}. */
export type PersistRestoreOptions = ConfigOptions & EitherCase<RestoreOptionFields>

/** What {@link get_metadata} gives: Persist's dictionary. */
export interface PersistMetadata {
  /** Whose state it is. */
  readonly agent_id: string
  /** Of which session. */
  readonly session_id: string
  /** Number of the snapshot within its session. */
  readonly snapshot_index: number
  /** When it was made, in seconds since 1970. */
  readonly timestamp: number
  /** Version of the file format. */
  readonly format_version: number
  /** SHA-256 of the state in normal form. */
  readonly content_hash: string
  /** `"gzip"` or `"none"`. */
  readonly compression_algorithm: string
  /** Words for people, where there are some. */
  readonly description?: string
  /** Stored bytes. */
  readonly compressed_size?: number
  /** A UUID of this snapshot alone. */
  readonly snapshot_id: string
}

/** What a call is made with, beside the snapshots. */
interface Call extends Pick<Opened, "key"> {
  /** A failure as Persist reports it. */
  readonly failed: (cause: unknown) => unknown
  /** What the log is to say of the call. */
  readonly note: (fields: LogFields) => void
}

/** Runs a call on the place that the options mean; its failure is one of Persist's. */
const call = async <A>(
  operation: string,
  path: string,
  options: PersistOptions,
  use: (snapshots: SnapshotStore, call: Call) => Promise<A>,
): Promise<A> => {
  const config = await resolveConfig(options)
  const log = rustLog(options.env)
  const failed = (cause: unknown) => persistError(cause, { backend: config.backend, bucket: config.s3_bucket, path })
  return await logged(log, callAt(config, operation, path), async (note) => {
    try {
      await using place = await openPlace(config, path, { env: options.env }, log)
      const encryptionKey = fieldOf(options, "encryption_key")
      return await use(new SnapshotStore(place.store, { encryptionKey }), { key: place.key, failed, note })
    } catch (cause) {
      throw failed(cause)
    }
  })
}

/**
 * Saves a snapshot of an agent; returns what it says about itself. What has a `toJSON`, such as LangChain's objects, says
 * itself what is stored of it, and leaves out its secrets.
 *
 * @example Save and restore on the local disk
 * ```ts
 * import * as persist from "@holdfast/holdfast/persist"
 *
 * await persist.snapshot({ memory: ["hello"] }, "snapshots/agent1.json.gz", { agent_id: "bot" })
 * const agent = await persist.restore<{ memory: Array<string> }>("snapshots/agent1.json.gz")
 * console.assert(agent.memory[0] === "hello")
 * await persist.delete_snapshot("snapshots/agent1.json.gz")
 * ```
 */
export const snapshot = (
  agent: unknown,
  path: string,
  options: PersistSnapshotOptions = {},
): Promise<SnapshotMetadata> =>
  call("snapshot", path, options, async (snapshots, { key, note }) => {
    const { metadata, size } = await snapshots.snapshot(key, agent, {
      agentId: fieldOf(options, "agent_id"),
      sessionId: fieldOf(options, "session_id"),
      snapshotIndex: fieldOf(options, "snapshot_index"),
      description: options.description,
      redact: options.redact,
    })
    note({ bytes: size })
    return metadata
  })

/** Restores an agent; its hash is checked first. */
export const restore = <A = unknown>(path: string, options: PersistRestoreOptions = {}): Promise<A> =>
  call("restore", path, options, async (snapshots, { key, note }) => {
    const secrets = fieldOf(options, "secrets_map")
    const { loads } = options
    if (loads === undefined && secrets !== undefined) {
      throw new PersistConfigurationError({
        message: "secrets_map needs loads, which puts the secrets in",
        tag: "Configuration",
        hint: "give loads: (json, secretsMap) => load(json, { secretsMap }), with load of @langchain/core/load",
      })
    }
    if (loads === undefined) {
      const { state, size } = await snapshots.restore<A>(key)
      note({ bytes: size })
      return state
    }
    const { body, size } = await snapshots.loadStream(key)
    note({ bytes: size })
    return await loads(await new Response(body).text(), secrets ?? {}) as A
  })

/** What a snapshot says about itself. Only its head is read. */
export const get_metadata = (path: string, options: PersistOptions = {}): Promise<PersistMetadata> =>
  call("get_metadata", path, options, async (snapshots, { key, note }) => {
    const { metadata, size } = await snapshots.getMetadata(key)
    note({ bytes: size })
    const { description, compressed_size } = metadata
    return {
      agent_id: metadata.agent_id,
      session_id: metadata.session_id,
      snapshot_index: metadata.snapshot_index,
      timestamp: Math.floor(Date.parse(metadata.timestamp) / 1000),
      format_version: metadata.format_version,
      content_hash: metadata.content_hash,
      compression_algorithm: metadata.compression_algorithm,
      ...(typeof description === "string" ? { description } : {}),
      ...(typeof compressed_size === "number" ? { compressed_size } : {}),
      snapshot_id: metadata.snapshot_id,
    }
  })

/** Checks a snapshot; rejects with {@link PersistIntegrityError} when it is not what was saved. */
export const verify_snapshot = (path: string, options: PersistOptions = {}): Promise<void> =>
  call("verify_snapshot", path, options, async (snapshots, { key, note }) => {
    const { size } = await snapshots.verifySnapshot(key)
    note({ bytes: size })
  })

/**
 * Whether there is such a snapshot. As in Persist, `false` also where the bucket is missing or may not be read; other
 * failures reject. {@link health_check} tells the cases apart.
 */
export const snapshot_exists = (path: string, options: PersistOptions = {}): Promise<boolean> =>
  call("snapshot_exists", path, options, async (snapshots, { key, note }) => {
    const exists = await snapshots.snapshotExists(key).catch((error) => {
      if (StoreError.is(error) && (error.reason === "Forbidden" || error.reason === "Config")) return false
      throw error
    })
    note({ exists })
    return exists
  })

/** Removes a snapshot; one that is missing counts as removed. */
export const delete_snapshot = (path: string, options: PersistOptions = {}): Promise<void> =>
  call("delete_snapshot", path, options, (snapshots, { key }) => snapshots.deleteSnapshot(key))

/** What {@link health_check} finds. */
export interface PersistHealth extends Pick<Health, "status"> {
  /** What went wrong, in Persist's words; absent when all is well. */
  readonly error: unknown
}

/** Asks the place for something harmless, once, and says what the answer means: a working one, or what is wrong. */
export const health_check = (options: PersistOptions = {}): Promise<PersistHealth> =>
  call("health_check", "health-check.test", options, async (snapshots, { failed, note }) => {
    const { status, error } = await snapshots.healthCheck()
    note({ status })
    return { status, error: error === undefined ? undefined : failed(error) }
  })
