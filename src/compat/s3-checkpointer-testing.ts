/**
 * The thirteen tests that PERSIST-003 lists, for any S3 service, with assertions that can fail.
 *
 * @module
 */
import { expect } from "bun:test"
import {
  type CheckpointError,
  S3Checkpointer,
  type S3CheckpointerOptions,
  type S3ConfigInput,
} from "./s3-checkpointer.ts"

/** A service to test on. */
export interface CheckpointerTarget {
  /** Where it is; the bucket need not exist. Each case has a prefix of its own. */
  readonly config: S3ConfigInput
  /** Who signs, and how requests are sent. */
  readonly options: S3CheckpointerOptions
  /** The service says that it encrypts with AES-256. */
  readonly encrypts: boolean
  /** Fetches a signed URL. */
  readonly fetch: (url: string) => Promise<Response>
}

/** One of the thirteen. */
export interface CheckpointerCase {
  /** What is true. */
  readonly name: string
  readonly run: (target: CheckpointerTarget) => Promise<void>
}

let count = 0
const run = crypto.randomUUID()

/** A checkpointer with a prefix of its own, on a bucket that is there. */
const open = async (target: CheckpointerTarget, config: S3ConfigInput = {}, options: S3CheckpointerOptions = {}) => {
  const key_prefix = `checkpoints-${run}/${++count}/`
  const merged = { ...target.config, key_prefix, ...config }
  const checkpointer = new S3Checkpointer(merged, { ...target.options, ...options })
  await checkpointer.ensureBucketExists()
  return checkpointer
}

const failure = (promise: Promise<unknown>): Promise<CheckpointError> =>
  promise.then(() => Promise.reject(new Error("it did not fail")), (error: CheckpointError) => error)

/** A state as the original makes it. */
const graphState = (values: Readonly<Record<string, unknown>>) => ({
  values,
  history: [],
  current_node: "node",
  thread_id: null,
  metadata: { started_at: 1_758_924_900, updated_at: 1_758_924_900, transition_count: 0, custom: null },
})

/** Text that does not compress: 3 bytes in 4 characters. */
const noise = (bytes: number): string => {
  let text = ""
  for (let left = bytes; left > 0; left -= 49_152) {
    text += btoa(String.fromCharCode(...crypto.getRandomValues(new Uint8Array(Math.min(49_152, left)))))
  }
  return text
}

/** The cases; `s3-checkpointer.test.ts` says which rows of the seed documents each proves. */
export const checkpointerCases: ReadonlyArray<CheckpointerCase> = [
  {
    name: "1: saves and loads",
    run: async (target) => {
      await using checkpointer = await open(target)
      const state = graphState({ key: "value", list: [1, 2.5, null], text: "wörld \u{1f99c}" })
      const id = await checkpointer.saveCheckpoint("thread-1", state)
      expect(await checkpointer.loadCheckpoint("thread-1", id)).toEqual(state)
      expect(await checkpointer.loadCheckpoint("thread-1")).toEqual(state)
      expect(await checkpointer.loadCheckpoint("thread-1", crypto.randomUUID())).toBeUndefined()
      expect(await checkpointer.checkpointExists("thread-1", id)).toBe(true)
      await checkpointer.deleteCheckpoint("thread-1", id)
      expect(await checkpointer.checkpointExists("thread-1", id)).toBe(false)
    },
  },
  {
    name: "1b: the trait keeps metadata and parent, loads the latest and deletes a thread",
    run: async (target) => {
      await using checkpointer = await open(target)
      const first = await checkpointer.save("t", { n: 1 }, { step: 1, tags: ["a"] })
      const second = await checkpointer.save("t", { n: 2 }, { step: 2 }, first)
      await checkpointer.save("u", { n: 3 })
      expect(await checkpointer.load("t", first)).toEqual([{ n: 1 }, { step: 1, tags: ["a"] }, undefined])
      expect(await checkpointer.load("t")).toEqual([{ n: 2 }, { step: 2 }, first])
      expect(await checkpointer.list("t")).toEqual([[second, { step: 2 }], [first, { step: 1, tags: ["a"] }]])
      expect(await checkpointer.list("t", 1)).toEqual([[second, { step: 2 }]])
      expect((await checkpointer.list()).length).toBe(3)
      await checkpointer.delete("t")
      expect(await checkpointer.load("t")).toBeUndefined()
      expect(await checkpointer.listCheckpoints("t")).toEqual([])
      expect((await checkpointer.listCheckpoints("u")).length).toBe(1)
    },
  },
  {
    name: "2: a large state goes up in parts",
    run: async (target) => {
      const methods: Array<string> = []
      const inner = target.options.fetch ?? ((url, init) => fetch(url, init))
      const spy = (url: string, init: RequestInit) => {
        methods.push(`${init.method} ${new URL(url).search.replace(/=[^&]*/g, "")}`)
        return inner(url, init)
      }
      await using checkpointer = await open(target, { compression: false }, { fetch: spy })
      const values = Object.fromEntries(Array.from({ length: 10 }, (_, n) => [`field_${n}`, noise(786_432)]))
      const id = await checkpointer.saveCheckpoint("t", graphState(values))
      expect(methods.filter((one) => one === "POST ?uploads").length).toBe(1)
      expect(methods.filter((one) => one === "PUT ?partNumber&uploadId").length).toBe(3)
      expect(methods.filter((one) => one === "POST ?uploadId").length).toBe(1)
      expect(await checkpointer.loadCheckpoint("t", id)).toEqual(graphState(values))
      const facts = await checkpointer.getCheckpointMetadata("t", id)
      expect(facts.size_bytes).toBeGreaterThan(10 * 2 ** 20)
      if (target.encrypts) expect(facts.server_side_encryption).toBe("AES256")
    },
  },
  {
    name: "3: a replaced checkpoint stays loadable by its version",
    run: async (target) => {
      const config = { bucket_name: `${target.config.bucket_name}-versioned`, enable_versioning: true }
      await using checkpointer = await open(target, config)
      const id = await checkpointer.saveCheckpoint("t", { n: 0 })
      await checkpointer.replaceCheckpoint("t", id, { n: 1 })
      await checkpointer.replaceCheckpoint("t", id, { n: 2 })
      const versions = await checkpointer.listCheckpointVersions("t", id)
      expect(versions.length).toBe(3)
      const states = []
      for (const version of versions) states.push(await checkpointer.loadCheckpointVersion("t", id, version))
      expect(states).toEqual([{ n: 2 }, { n: 1 }, { n: 0 }])
      expect(await checkpointer.loadCheckpointVersion("t", id)).toEqual({ n: 2 })
      await checkpointer.deleteCheckpoint("t", id)
      expect(await checkpointer.loadCheckpoint("t", id)).toBeUndefined()
      expect(await checkpointer.loadCheckpointVersion("t", id, versions[2])).toEqual({ n: 0 })
    },
  },
  {
    name: "4: a signed URL gives the object to whoever has it",
    run: async (target) => {
      await using checkpointer = await open(target)
      const id = await checkpointer.saveCheckpoint("t", { n: 7 })
      const url = await checkpointer.generateSignedUrl("t", id, "1 hour")
      expect(url).toMatch(/^https?:\/\//)
      expect(url).toContain("X-Amz-Signature=")
      expect(url).toContain("X-Amz-Expires=3600")
      const response = await target.fetch(url)
      expect(response.status).toBe(200)
      const plain = new Blob([await response.arrayBuffer()]).stream().pipeThrough(new DecompressionStream("gzip"))
      expect(await new Response(plain).json()).toMatchObject({ version: id, state: { n: 7 } })
      const forged = await target.fetch(url.replace(/X-Amz-Signature=./, "X-Amz-Signature=!"))
      expect(forged.status).toBe(403)
      await forged.body?.cancel()
    },
  },
  {
    name: "5: a lifecycle policy comes back as it was set",
    run: async (target) => {
      await using checkpointer = await open(target)
      const other = await open(target)
      const policy = { days_until_deletion: 30, days_until_archive: undefined, enable_intelligent_tiering: false }
      await checkpointer.setLifecyclePolicy(policy)
      expect(await checkpointer.getLifecyclePolicy()).toEqual(policy)
      await checkpointer.setLifecyclePolicy({ ...policy, days_until_deletion: 60 })
      expect(await checkpointer.getLifecyclePolicy()).toEqual({ ...policy, days_until_deletion: 60 })
      expect((await other.getLifecyclePolicy())?.days_until_deletion).toBe(60)
      await other.close()
    },
  },
  {
    name: "6: five are saved at once, and removed at once",
    run: async (target) => {
      await using checkpointer = await open(target)
      const threads = [0, 1, 2, 3, 4].map((n) => `thread-${n}`)
      const ids = await checkpointer.batchSaveCheckpoints(threads.map((thread, n) => [thread, { n }]))
      expect(ids.length).toBe(5)
      for (const [n, thread] of threads.entries()) {
        expect(await checkpointer.loadCheckpoint(thread, ids[n])).toEqual({ n })
      }
      const unequal = await failure(checkpointer.batchDeleteCheckpoints(threads, ids.slice(1)))
      expect(unequal.message).toBe("Storage error: Thread IDs and checkpoint IDs must have same length")
      await checkpointer.batchDeleteCheckpoints(threads, ids)
      for (const [n, thread] of threads.entries()) {
        expect(await checkpointer.checkpointExists(thread, ids[n]!)).toBe(false)
      }
    },
  },
  {
    name: "7: compression halves what repeats, and either kind is read by either setting",
    run: async (target) => {
      await using zipped = await open(target)
      await using plain = await open(target, { compression: false, key_prefix: zipped.config.key_prefix })
      const state = graphState({ text: "This is a repetitive string. ".repeat(450) })
      const ids = [await zipped.saveCheckpoint("t", state), await plain.saveCheckpoint("t", state)] as const
      const sizes = await Promise.all(ids.map(async (id) => (await plain.getCheckpointMetadata("t", id)).size_bytes))
      expect(sizes[0]).toBeLessThan(sizes[1]! / 2)
      for (const checkpointer of [zipped, plain]) {
        for (const id of ids) expect(await checkpointer.loadCheckpoint("t", id)).toEqual(state)
      }
    },
  },
  {
    name: "8: what is stored is encrypted where the service says so, and refused where it was asked for and is not",
    run: async (target) => {
      await using checkpointer = await open(target, { enable_encryption: true })
      const saved = checkpointer.saveCheckpoint("t", { n: 1 })
      if (!target.encrypts) {
        expect((await failure(saved)).cause).toMatchObject({ reason: "Unsupported" })
        return
      }
      const { server_side_encryption, last_modified } = await checkpointer.getCheckpointMetadata("t", await saved)
      expect(server_side_encryption).toBe("AES256")
      expect(Math.abs(Date.now() - last_modified.getTime())).toBeLessThan(600_000)
    },
  },
  {
    name: "9: after failures in a row the breaker opens, and no request is sent",
    run: async (target) => {
      let requests = 0
      const refusing = () => {
        requests++
        return Promise.reject(new TypeError("connection refused"))
      }
      const config = { circuit_breaker_threshold: 2, circuit_breaker_timeout_seconds: 5, max_retries: 1 }
      await using checkpointer = new S3Checkpointer(
        { ...target.config, ...config, initial_retry_delay_ms: 1 },
        { ...target.options, fetch: refusing },
      )
      for (let n = 0; n < 2; n++) {
        expect((await failure(checkpointer.saveCheckpoint("t", {}))).message).not.toContain("Circuit breaker")
      }
      // Two attempts of each save, and of the look at what became of it.
      expect(requests).toBe(8)
      expect((await failure(checkpointer.saveCheckpoint("t", {}))).message).toBe(
        "Storage error: Circuit breaker is open",
      )
      expect((await failure(checkpointer.listCheckpoints("t"))).message).toBe("Storage error: Circuit breaker is open")
      expect(requests).toBe(8)
      expect(checkpointer.getMetrics()).toMatchObject({ circuit_breaker_opened: 1, circuit_breaker_rejections: 2 })
    },
  },
  {
    name: "10: requests that fail for a moment are sent again",
    run: async (target) => {
      const inner = target.options.fetch ?? ((url, init) => fetch(url, init))
      let failing = 0
      const flaky = (url: string, init: RequestInit) =>
        failing-- > 0 ? Promise.resolve(new Response(null, { status: 503 })) : inner(url, init)
      const config = { initial_retry_delay_ms: 2, max_retry_delay_ms: 10, max_retries: 3 }
      await using checkpointer = await open(target, config, { fetch: flaky })
      failing = 3
      const id = await checkpointer.saveCheckpoint("t", { n: 1 })
      expect(await checkpointer.loadCheckpoint("t", id)).toEqual({ n: 1 })
      const metrics = checkpointer.getMetrics()
      expect(metrics.retries_total).toBe(3)
      expect(metrics.retry_delays_total_ms).toBeGreaterThan(0)
      expect(metrics.operation_duration_ms).toBeGreaterThan(0)
      failing = 4
      await failure(checkpointer.saveCheckpoint("t", { n: 2 }))
      expect(checkpointer.getMetrics()).toMatchObject({ retries_total: 6, saves_total: 2, saves_failed: 1 })
    },
  },
  {
    name: "11: the counters are what was done, and one call logs them",
    run: async (target) => {
      const lines: Array<string> = []
      await using checkpointer = await open(target, {}, { log: (line) => void lines.push(line) })
      const id = await checkpointer.saveCheckpoint("t", { n: 1 })
      await checkpointer.loadCheckpoint("t", id)
      const { size_bytes } = await checkpointer.getCheckpointMetadata("t", id)
      await checkpointer.deleteCheckpoint("t", id)
      const metrics = checkpointer.getMetrics()
      expect(metrics).toMatchObject({
        saves_total: 1,
        saves_failed: 0,
        loads_total: 1,
        loads_failed: 0,
        deletes_total: 1,
        deletes_failed: 0,
        retries_total: 0,
        bytes_transferred: 2 * size_bytes,
      })
      expect(Object.keys(metrics).length).toBe(14)
      checkpointer.logMetrics()
      expect(lines.length).toBe(1)
      expect(lines[0]).toContain("saves_total=1 saves_failed=0 loads_total=1")
    },
  },
  {
    name: "12: every operation ends when the service does not answer",
    run: async (target) => {
      const stalled = (_: string, init: RequestInit) =>
        new Promise<Response>((_, reject) => {
          init.signal?.addEventListener("abort", () => reject(init.signal?.reason), { once: true })
        })
      const config = { timeout_seconds: 0.02, max_retries: 0, circuit_breaker_threshold: 1000 }
      await using checkpointer = new S3Checkpointer(
        { ...target.config, ...config },
        { ...target.options, fetch: stalled },
      )
      const policy = { days_until_deletion: 30, enable_intelligent_tiering: false }
      const operations: ReadonlyArray<() => Promise<unknown>> = [
        () => checkpointer.ensureBucketExists(),
        () => checkpointer.enableBucketVersioning(),
        () => checkpointer.saveCheckpoint("t", {}),
        () => checkpointer.loadCheckpoint("t"),
        () => checkpointer.loadCheckpoint("t", "id"),
        () => checkpointer.listCheckpoints("t"),
        () => checkpointer.deleteCheckpoint("t", "id"),
        () => checkpointer.save("t", {}),
        () => checkpointer.load("t"),
        () => checkpointer.list(),
        () => checkpointer.delete("t"),
        () => checkpointer.checkpointExists("t", "id"),
        () => checkpointer.getCheckpointMetadata("t", "id"),
        () => checkpointer.listCheckpointVersions("t", "id"),
        () => checkpointer.loadCheckpointVersion("t", "id", "v"),
        () => checkpointer.replaceCheckpoint("t", "id", {}),
        () => checkpointer.batchSaveCheckpoints([["t", {}]]),
        () => checkpointer.batchDeleteCheckpoints(["t"], ["id"]),
        () => checkpointer.setLifecyclePolicy(policy),
        () => checkpointer.getLifecyclePolicy(),
      ]
      for (const operation of operations) {
        expect((await failure(operation())).cause).toMatchObject({ reason: "Timeout" })
      }
    },
  },
  {
    name: "13: a configuration for production works as it is written",
    run: async (target) => {
      const config: S3ConfigInput = {
        ...target.config,
        key_prefix: `production-${run}/`,
        enable_encryption: target.encrypts,
        compression: true,
        multipart_threshold_mb: 10,
        connection_pool_size: 20,
        max_retries: 5,
        initial_retry_delay_ms: 200,
        max_retry_delay_ms: 10_000,
        timeout_seconds: 60,
        circuit_breaker_threshold: 10,
        circuit_breaker_timeout_seconds: 120,
      }
      await using checkpointer = new S3Checkpointer(config, target.options)
      await checkpointer.ensureBucketExists()
      expect(checkpointer.config).toMatchObject({ max_retries: 5, connection_pool_size: 20, timeout_seconds: 60 })
      const id = await checkpointer.saveCheckpoint("t", graphState({ production: true }))
      expect(await checkpointer.loadCheckpoint("t", id)).toEqual(graphState({ production: true }))
      expect(checkpointer.getMetrics()).toMatchObject({ saves_failed: 0, loads_failed: 0, circuit_breaker_opened: 0 })
    },
  },
]
