/**
 * `S3Checkpointer` of PERSIST-003: its constructor, options, methods and counters, over Holdfast's checkpoints in S3.
 *
 * What the original has stored is read as it is, and what is stored here its reader reads. Methods have the original's
 * names in camel case. Where it fell short, this does what its page promises: keys are the same in every call,
 * metadata and parent are kept, a load without an id gives the latest checkpoint, lists are complete, and every
 * operation is under breaker, retries and timeout.
 *
 * @module
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { Bucket, LifecycleRule } from "../backends/s3/bucket.ts"
import type { S3Options } from "../backends/s3/mod.ts"
import { StoreError } from "../error.ts"
import type { RetrySchedule } from "../policy.ts"
import { run } from "../run.ts"
import { openBackend, type Store } from "../store.ts"
import { type CheckpointCounters, CheckpointMetrics } from "../stores/checkpoint-metrics.ts"
import type { Checkpoint, CheckpointsService } from "../stores/checkpoint-contract.ts"
import { makeCheckpoints } from "../stores/checkpoint-service.ts"
import { CircuitBreaker } from "./s3-checkpointer-breaker.ts"
import { type S3Config, s3Config, type S3ConfigInput } from "./s3-checkpointer-config.ts"
import { pooledFetch } from "./s3-checkpointer-pool.ts"
import { retrySchedule } from "./s3-checkpointer-retry.ts"

export { defaultS3Config, type S3Config, s3Config, s3ConfigFrom, type S3ConfigInput } from "./s3-checkpointer-config.ts"

/** The kinds of {@link CheckpointError}, as the original has them. */
export type CheckpointErrorKind = keyof typeof kinds

const kinds = {
  NotFound: "Checkpoint not found",
  SaveFailed: "Failed to save checkpoint",
  LoadFailed: "Failed to load checkpoint",
  InvalidData: "Invalid checkpoint data",
  StorageError: "Storage error",
  SerializationError: "Serialization error",
} as const

/** A failed call. `cause` is the {@link StoreError}, which says more: its `reason`, its `hint`, whether to try again. */
export class CheckpointError extends Error {
  /** `"CheckpointError"` */
  override readonly name: string = "CheckpointError"
  /** What kind of failure it is. */
  readonly kind: CheckpointErrorKind

  /** The message is the original's: `"Storage error: …"`. */
  constructor(kind: CheckpointErrorKind, detail: string, cause?: unknown) {
    super(`${kinds[kind]}: ${detail}`, cause === undefined ? {} : { cause })
    this.kind = kind
  }
}

/** What `getCheckpointMetadata` tells. */
export interface CheckpointFacts {
  /** Stored bytes. */
  readonly size_bytes: number
  /** When it was saved. */
  readonly last_modified: Date
  /** How the service says it is encrypted: `"AES256"`, `"aws:kms"`. */
  readonly server_side_encryption: string | undefined
}

/** What becomes of checkpoints as they grow old. */
export interface S3LifecyclePolicy {
  /** Days until they are removed. */
  readonly days_until_deletion: number
  /** Days until they are archived. Default: never. */
  readonly days_until_archive?: number | undefined
  /** Archive to Intelligent-Tiering instead of Glacier. */
  readonly enable_intelligent_tiering: boolean
}

/** What the original takes from its surroundings. */
export interface S3CheckpointerOptions
  extends Pick<S3Options, "accessKeyId" | "secretAccessKey" | "sessionToken" | "credentials" | "profile" | "fetch"> {
  /** Where `logMetrics` writes its line. Default `console.info`. */
  readonly log?: ((line: string) => void) | undefined
}

/** Name of the one rule that `setLifecyclePolicy` writes. */
const ruleId = "checkpoint-lifecycle"

const MiB = 2 ** 20
/** The least size of a part that S3 takes. */
const leastPart = 5 * MiB

const archives = { true: "INTELLIGENT_TIERING", false: "GLACIER" } as const

interface Opened {
  readonly store: Store
  readonly bucket: Bucket
  readonly checkpoints: CheckpointsService
}

/** An error in the original's words. */
const checkpointError = (error: unknown, doing: string): unknown => {
  if (!StoreError.is(error)) return error
  if (error.reason === "NotFound") return new CheckpointError("NotFound", error.detail, error)
  if (error.reason === "Corrupt" || error.reason === "Truncated") {
    return new CheckpointError("InvalidData", error.detail, error)
  }
  if (error.reason === "InvalidInput" || error.reason === "TooLarge") {
    return new CheckpointError("SerializationError", error.detail, error)
  }
  const detail = error.attempts === 0 ? error.detail : `${doing}: ${error.detail}`
  return new CheckpointError("StorageError", detail, error)
}

/**
 * Checkpoints in S3, or in a service that speaks its protocol.
 *
 * @example Save, load and look at the counters
 * ```ts
 * import { S3Checkpointer } from "@holdfast/holdfast/s3-checkpointer"
 * import { makeS3Peer, peerCredentials } from "@holdfast/holdfast/testing"
 *
 * // A service in this process; leave the second argument out for a real one.
 * const peer = makeS3Peer({ buckets: [] })
 * await using checkpointer = new S3Checkpointer({ bucket_name: "agents" }, { ...peerCredentials, fetch: peer.fetch })
 * await checkpointer.ensureBucketExists()
 * const id = await checkpointer.saveCheckpoint("thread-1", { values: { step: 1 } })
 * const state = await checkpointer.loadCheckpoint("thread-1", id) as { values: { step: number } }
 * console.assert(state.values.step === 1)
 * console.assert(checkpointer.getMetrics().saves_total === 1)
 * ```
 */
export class S3Checkpointer implements AsyncDisposable {
  /** The configuration, defaults included. */
  readonly config: S3Config
  readonly #input: S3ConfigInput
  readonly #options: S3CheckpointerOptions
  readonly #metrics = new CheckpointMetrics()
  readonly #breaker: CircuitBreaker
  readonly #retry: RetrySchedule | "none"
  #opened: Promise<Opened> | undefined

  /** Nothing is asked of the service. Throws a `StoreError` with the reason `Config` for options that make no sense. */
  constructor(config: S3ConfigInput = {}, options: S3CheckpointerOptions = {}) {
    this.config = s3Config(config)
    this.#input = config
    this.#options = options
    this.#breaker = new CircuitBreaker(
      this.config.circuit_breaker_threshold,
      this.config.circuit_breaker_timeout_seconds * 1000,
      this.#metrics,
    )
    this.#retry = this.config.max_retries === 0 ? "none" : this.#metrics.counting(retrySchedule(this.config))
  }

  /** The store below, and Holdfast's own verbs on it; opened when first needed. */
  #open(): Promise<Opened> {
    return this.#opened ??= this.#make().catch((error) => {
      this.#opened = undefined
      throw error
    })
  }

  async #make(): Promise<Opened> {
    const { config } = this
    const { log: _, fetch: inner = (url, init) => fetch(url, init), ...rest } = this.#options
    const [S3, { makeBucket }] = await Promise.all([
      import("../backends/s3/mod.ts"),
      import("../backends/s3/bucket.ts"),
    ])
    const s3: S3Options = {
      ...rest,
      bucket: config.bucket_name,
      region: config.region,
      endpoint: config.endpoint_url,
      pathStyle: config.force_path_style || undefined,
      fetch: pooledFetch(config.connection_pool_size, inner),
    }
    const timeout = Duration.seconds(config.timeout_seconds)
    const store = await openBackend(S3.make(s3), {
      idleTimeout: timeout,
      policy: {
        retry: this.#retry,
        breaker: "none",
        concurrency: config.connection_pool_size,
        attemptTimeout: timeout,
      },
    })
    const asked = this.#input.enable_encryption ?? this.#input.enableEncryption
    const confirmed = store.capabilities.encryption?.includes("sse-s3") === true
    const checkpoints = makeCheckpoints(store.service, {
      prefix: config.key_prefix,
      compression: config.compression,
      partSize: Math.max(config.multipart_threshold_mb * MiB, leastPart),
      encryption: asked ?? confirmed ? { type: "sse-s3" } : undefined,
      metrics: this.#metrics,
      labels: { bucket: config.bucket_name },
    })
    return { store, bucket: await run(makeBucket(s3)), checkpoints }
  }

  /** Runs an operation behind the breaker; its failure comes out in the original's words. */
  async #do<A>(doing: string, work: (opened: Opened) => Effect.Effect<A, StoreError>): Promise<A> {
    try {
      const opened = await this.#open()
      return await run(this.#breaker.guard(work(opened)))
    } catch (error) {
      throw checkpointError(error, doing)
    }
  }

  /** A request about the bucket, with the retries and the timeout that those about objects have. */
  #ask<A>(doing: string, work: (bucket: Bucket) => Effect.Effect<A, StoreError>): Promise<A> {
    const duration = Duration.seconds(this.config.timeout_seconds)
    const late = new StoreError({ reason: "Timeout", detail: `no answer within ${Duration.format(duration)}` })
    return this.#do(doing, ({ bucket }) => {
      const attempt = Effect.timeoutOrElse(work(bucket), { duration, orElse: () => Effect.fail(late) })
      const schedule = this.#retry
      return schedule === "none" ? attempt : Effect.retry(attempt, { schedule, while: (error) => error.transient })
    })
  }

  /** Makes the bucket unless it is there, and has it keep versions where the configuration says so. */
  async ensureBucketExists(): Promise<void> {
    await this.#ask(
      "Failed to create bucket",
      (bucket) => Effect.flatMap(bucket.exists, (there) => there ? Effect.void : bucket.create),
    )
    if (this.config.enable_versioning) await this.enableBucketVersioning()
  }

  /** Has the bucket keep what is replaced and removed. */
  enableBucketVersioning(): Promise<void> {
    return this.#ask("Failed to enable versioning", (bucket) => bucket.setVersioning("Enabled"))
  }

  /** Saves a state under a new id, which becomes the thread's latest. */
  saveCheckpoint(threadId: string, state: unknown): Promise<string> {
    return this.#do("Failed to save checkpoint", ({ checkpoints }) => checkpoints.save(threadId, state))
  }

  /** A state; without an id the latest. None: `undefined`. */
  async loadCheckpoint(threadId: string, checkpointId?: string): Promise<unknown> {
    return (await this.#find(threadId, checkpointId))?.state
  }

  #find(threadId: string, id?: string, versionId?: string): Promise<Checkpoint | undefined> {
    return this.#do("Failed to load checkpoint", ({ checkpoints }) => checkpoints.find(threadId, id, { versionId }))
  }

  /** The ids of a thread's checkpoints, the newest first. */
  listCheckpoints(threadId: string): Promise<ReadonlyArray<string>> {
    return this.#do(
      "Failed to list checkpoints",
      ({ checkpoints }) => Stream.runCollect(Stream.map(checkpoints.list(threadId), ({ id }) => id)),
    )
  }

  /** Removes a checkpoint; one that is missing counts as removed. */
  deleteCheckpoint(threadId: string, checkpointId: string): Promise<void> {
    return this.#do("Failed to delete checkpoint", ({ checkpoints }) => checkpoints.remove(threadId, checkpointId))
  }

  /** `Checkpointer::save`: a checkpoint with its metadata and its parent; its id. */
  save(
    threadId: string,
    checkpoint: unknown,
    metadata: Readonly<Record<string, unknown>> = {},
    parentCheckpointId?: string,
  ): Promise<string> {
    return this.#do(
      "Failed to save checkpoint",
      ({ checkpoints }) => checkpoints.save(threadId, checkpoint, { metadata, parent: parentCheckpointId }),
    )
  }

  /** `Checkpointer::load`: checkpoint and metadata; without an id the latest. None: `undefined`. */
  async load(
    threadId: string,
    checkpointId?: string,
  ): Promise<
    readonly [checkpoint: unknown, metadata: Readonly<Record<string, unknown>>, parent: string | undefined] | undefined
  > {
    const found = await this.#find(threadId, checkpointId)
    return found && [found.state, found.metadata, found.parent]
  }

  /** `Checkpointer::list`: ids with their metadata, the newest of a thread first. */
  list(
    threadId?: string,
    limit: number = Infinity,
  ): Promise<ReadonlyArray<readonly [id: string, metadata: Readonly<Record<string, unknown>>]>> {
    return this.#do("Failed to list checkpoints", ({ checkpoints }) => {
      const threads = threadId === undefined ? checkpoints.threads() : Stream.succeed(threadId)
      const all = Stream.flatMap(threads, (thread) => checkpoints.history(thread, { limit }))
      return Stream.runCollect(Stream.take(all, limit).pipe(Stream.map(({ id, metadata }) => [id, metadata] as const)))
    })
  }

  /** `Checkpointer::delete`: a checkpoint, or all of a thread. */
  delete(threadId: string, checkpointId?: string): Promise<void> {
    return this.#do("Failed to delete checkpoint", ({ checkpoints }) => checkpoints.remove(threadId, checkpointId))
  }

  /** Whether there is such a checkpoint. */
  checkpointExists(threadId: string, checkpointId: string): Promise<boolean> {
    return this.#do("Failed to check existence", ({ checkpoints }) => checkpoints.exists(threadId, checkpointId))
  }

  /** A URL from which whoever has it can load the checkpoint's object until it expires: `"1 hour"`. Treat it like a password. */
  async generateSignedUrl(threadId: string, checkpointId: string, expiration: Duration.Input): Promise<string> {
    const { url } = await this.#do(
      "Failed to generate signed URL",
      ({ checkpoints }) => checkpoints.presign(threadId, checkpointId, { expires: expiration }),
    )
    return url
  }

  /** Facts of the object that holds a checkpoint. */
  getCheckpointMetadata(threadId: string, checkpointId: string): Promise<CheckpointFacts> {
    return this.#do(
      "Failed to get metadata",
      ({ checkpoints }) =>
        Effect.map(checkpoints.stat(threadId, checkpointId), ({ size, modified, encryption }) => ({
          size_bytes: size,
          last_modified: modified,
          server_side_encryption: encryption && (encryption.type === "sse-s3" ? "AES256" : "aws:kms"),
        })),
    )
  }

  /** The versions of a checkpoint, the newest first, without the marks of its removals. */
  listCheckpointVersions(threadId: string, checkpointId: string): Promise<ReadonlyArray<string>> {
    return this.#do(
      "Failed to list versions",
      ({ checkpoints }) =>
        Stream.runCollect(
          checkpoints.versions(threadId, checkpointId).pipe(
            Stream.filter(({ removed }) => !removed),
            Stream.map(({ versionId }) => versionId),
          ),
        ),
    )
  }

  /** The state that a version of a checkpoint holds; without a version the current one. */
  async loadCheckpointVersion(threadId: string, checkpointId: string, versionId?: string): Promise<unknown> {
    return (await this.#find(threadId, checkpointId, versionId))?.state
  }

  /** Replaces a checkpoint's state under its own id; a bucket that keeps versions keeps what it was. */
  async replaceCheckpoint(threadId: string, checkpointId: string, state: unknown): Promise<void> {
    await this.#do(
      "Failed to save checkpoint",
      ({ checkpoints }) => checkpoints.save(threadId, state, { id: checkpointId }),
    )
  }

  /** Saves many states at once; their ids in the order given. */
  batchSaveCheckpoints(
    states: ReadonlyArray<readonly [threadId: string, state: unknown]>,
  ): Promise<ReadonlyArray<string>> {
    return this.#do(
      "Batch save failed",
      ({ checkpoints }) => checkpoints.saveMany(states.map(([thread, state]) => ({ thread, state }))),
    )
  }

  /** Removes the checkpoints of both lists, position by position. Throws where one could not be removed. */
  async batchDeleteCheckpoints(threadIds: ReadonlyArray<string>, checkpointIds: ReadonlyArray<string>): Promise<void> {
    if (threadIds.length !== checkpointIds.length) {
      throw new CheckpointError("StorageError", "Thread IDs and checkpoint IDs must have same length")
    }
    const pairs = threadIds.map((thread, index) => ({ thread, id: checkpointIds[index]! }))
    const results = await this.#do("Batch delete failed", ({ checkpoints }) => checkpoints.removeMany(pairs))
    const failed = results.filter(({ error }) => error !== undefined)
    if (failed.length === 0) return
    const first = failed[0]!.error!
    throw new CheckpointError(
      "StorageError",
      `Batch delete failed: ${failed.length} of ${pairs.length} are still there: ${first.detail}`,
      first,
    )
  }

  /** Has the service remove and archive checkpoints by their age. Other rules of the bucket stay. */
  setLifecyclePolicy(policy: S3LifecyclePolicy): Promise<void> {
    const { days_until_deletion, days_until_archive, enable_intelligent_tiering } = policy
    const rule: LifecycleRule = {
      id: ruleId,
      prefix: this.config.key_prefix,
      expireDays: days_until_deletion,
      transition: days_until_archive === undefined
        ? undefined
        : { days: days_until_archive, storageClass: archives[`${enable_intelligent_tiering}`] },
    }
    return this.#ask("Failed to set lifecycle policy", (bucket) => bucket.setLifecycle(rule))
  }

  /** The policy that is in force for checkpoints; `undefined`: none. */
  async getLifecyclePolicy(): Promise<S3LifecyclePolicy | undefined> {
    const rules = await this.#ask("Failed to get lifecycle policy", (bucket) => bucket.lifecycle)
    const rule = rules.find(({ id, expireDays }) => id === ruleId && expireDays !== undefined)
    return rule && {
      days_until_deletion: rule.expireDays!,
      days_until_archive: rule.transition?.days,
      enable_intelligent_tiering: rule.transition?.storageClass === archives.true,
    }
  }

  /** The fourteen counters now. */
  getMetrics(): CheckpointCounters {
    return this.#metrics.counters()
  }

  /** The counters for Prometheus and CloudWatch, and failures by reason. */
  get metrics(): CheckpointMetrics {
    return this.#metrics
  }

  /** Writes one line with all counters. */
  logMetrics(): void {
    const log = this.#options.log ?? ((line: string) => console.info(line))
    log(`S3 checkpointer metrics: ${this.#metrics.summary()}`)
  }

  /** Frees what is held open. */
  async close(): Promise<void> {
    const opened = await this.#opened?.catch(() => undefined)
    await opened?.store.close()
  }

  /** Same as {@link S3Checkpointer.close}. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }
}
