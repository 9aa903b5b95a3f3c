/**
 * The verbs of the execution store, over records at Perstack's keys.
 *
 * What a maintainer must keep: a listing leaves out objects that are no records, and says which; anything else that
 * goes wrong fails the whole call, so that half a list is never taken for all of it. What replaces something does so
 * under a condition on what it has seen.
 *
 * @module
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import type { ObjectEntry, WriteCondition } from "../backend.ts"
import { type Reason, StoreError } from "../error.ts"
import type { ObjectStoreService } from "../object-store.ts"
import {
  type CheckedFormat,
  checkpointFormat,
  EmptyRecord,
  eventFormat,
  eventNameFlaw,
  executionKeys,
  jobFormat,
  parseEventKey,
  runSettingFormat,
} from "./execution-records.ts"
import { redactRunSetting } from "./execution-redact.ts"
import type { Checkpoint, EventMeta, Job, RunEvent } from "./execution-schema.ts"
import type { RunSetting, StoredRunSetting } from "./execution-settings.ts"
import { checkIds, findRecord, type Found, type Listed, readRecords, updateRecord, writeRecord } from "./records.ts"

/** Options of an execution store. */
export interface ExecutionOptions {
  /** In front of all keys: `"perstack"` and `"perstack/"` both keep jobs in `perstack/jobs/`. Default: none. */
  readonly prefix?: string | undefined
  /**
   * Store run settings without their secrets: keys and tokens of the provider, the key of Perstack's service, values of
   * variables, a proxy's password. What is read back has `"[redacted]"` in their place, and `redacted` names them; a run
   * cannot be started from it alone. Default `false`, as in the original, which keeps them in the clear.
   */
  readonly redact?: boolean | undefined
  /**
   * Nothing else writes here. Only needed where a store cannot replace under a condition, and `updateJob` and
   * `storeRunSetting` are `Unsupported` without it. Default `false`.
   */
  readonly soleWriter?: boolean | undefined
  /** Told of each object that a listing leaves out because it is no such record. What it throws is ignored. */
  readonly onUnreadable?: ((error: StoreError) => void) | undefined
}

/** Which events. */
export interface EventOptions {
  /** Only events of this step and of those before it. Default: all. */
  readonly maxStep?: number | undefined
}

/**
 * The verbs on jobs, checkpoints, events and runs. An id that cannot be one segment of a key is `InvalidKey`; a value
 * that could not be read back is `InvalidInput`, and nothing is written; a record that is damaged is `Corrupt` and named
 * where it is asked for, and left out of listings.
 */
export interface ExecutionsService {
  /** Stores a checkpoint, in place of one with its id unless a condition says otherwise. */
  readonly storeCheckpoint: (
    checkpoint: Checkpoint,
    condition?: WriteCondition,
  ) => Effect.Effect<Found<Checkpoint>, StoreError>
  /** A checkpoint; missing is `NotFound`, and so is an empty object. */
  readonly retrieveCheckpoint: (jobId: string, checkpointId: string) => Effect.Effect<Checkpoint, StoreError>
  /** A job's checkpoints by ascending step. */
  readonly getCheckpointsByJobId: (jobId: string) => Effect.Effect<Array<Checkpoint>, StoreError>
  /**
   * Stores an event. One with its id, time, step and type is replaced; another one of the same time, step and type,
   * which the original would overwrite, stays: this one's name then says a thousandth of a millisecond later.
   */
  readonly storeEvent: (event: RunEvent) => Effect.Effect<Found<RunEvent>, StoreError>
  /** What the names of a run's events say, by ascending step; no event is read. */
  readonly getEventsByRun: (jobId: string, runId: string) => Effect.Effect<Array<EventMeta>, StoreError>
  /** A run's events by ascending time; of later steps than `maxStep` none is read. */
  readonly getEventContents: (
    jobId: string,
    runId: string,
    maxStep?: number,
  ) => Effect.Effect<Array<RunEvent>, StoreError>
  /** The same one by one, for runs with more events than memory should hold; only their names are held. */
  readonly events: (jobId: string, runId: string, options?: EventOptions) => Stream.Stream<RunEvent, StoreError>
  /** Stores a job, in place of one with its id unless a condition says otherwise. */
  readonly storeJob: (job: Job, condition?: WriteCondition) => Effect.Effect<Found<Job>, StoreError>
  /** A job; `undefined` when there is none, or only an empty object. */
  readonly retrieveJob: (jobId: string) => Effect.Effect<Job | undefined, StoreError>
  /** The same with its etag, for {@link ExecutionsService.storeJob}'s `ifMatch`. */
  readonly findJob: (jobId: string) => Effect.Effect<Found<Job> | undefined, StoreError>
  /**
   * Changes a job exactly once: `change` gets a copy of it, and is asked again when another writer was faster. Missing
   * is `NotFound`.
   */
  readonly updateJob: (jobId: string, change: (job: Job) => Job) => Effect.Effect<Found<Job>, StoreError>
  /** All jobs, the one begun last first. */
  readonly getAllJobs: () => Effect.Effect<Array<Job>, StoreError>
  /** All jobs in the order of their ids, read as they are taken. */
  readonly jobs: () => Stream.Stream<Job, StoreError>
  /**
   * Stores how a run was started. Where that is stored already, all of it is kept but `updatedAt`, which becomes now.
   * A stored one that is damaged is `Corrupt`.
   */
  readonly storeRunSetting: (setting: RunSetting) => Effect.Effect<Found<RunSetting>, StoreError>
  /** How a run was started; `undefined` when there is no such run. */
  readonly retrieveRunSetting: (jobId: string, runId: string) => Effect.Effect<RunSetting | undefined, StoreError>
  /** All runs, or those of a job, the one taken up last first. */
  readonly getAllRuns: (jobId?: string) => Effect.Effect<Array<RunSetting>, StoreError>
  /** The same in the order of their jobs' ids and their own, read as they are taken. */
  readonly runs: (jobId?: string) => Stream.Stream<RunSetting, StoreError>
  /**
   * Removes a job with its checkpoints and runs, and says how many objects that were. The job itself goes last, so that
   * one whose removal was cut short is still in sight and can be removed again. What others write meanwhile may stay.
   */
  readonly deleteJob: (jobId: string) => Effect.Effect<number, StoreError>
  /** Removes a run with its events, the setting last; checkpoints are the job's and stay. */
  readonly deleteRun: (jobId: string, runId: string) => Effect.Effect<number, StoreError>
}

/** Folders that are looked into at a time, as many as {@link readRecords} reads records. */
const folderConcurrency = 16

/** How often a write starts again because another writer was faster, or an event takes another name. */
const maxRounds = 1000

/** What is wrong with one object, and no reason to keep the others from being listed. */
const unreadable: ReadonlySet<Reason> = new Set<Reason>(["Corrupt", "Truncated", "TooLarge"])

/** What the original takes for granted where a stored setting does not say. */
const withDefaults = (setting: StoredRunSetting): RunSetting => ({
  ...setting,
  reasoningBudget: setting.reasoningBudget ?? "low",
  maxSteps: setting.maxSteps ?? 100,
})

/** The verbs over an object store. */
export const makeExecutions = (store: ObjectStoreService, options: ExecutionOptions = {}): ExecutionsService => {
  const keys = executionKeys(options.prefix ?? "")
  const { create, replace } = store.capabilities.conditional

  const refuse = (key: string, detail: string, cause?: unknown): Effect.Effect<never, StoreError> =>
    Effect.fail(new StoreError({ reason: "InvalidInput", detail, operation: "save", key, cause }))

  /** Fails for a value that could not be read back. */
  const check = <A>(key: string, format: CheckedFormat<A>, value: A): Effect.Effect<void, StoreError> =>
    Effect.suspend(() => {
      try {
        format.check(value)
        return Effect.void
      } catch (cause) {
        return refuse(key, `this is no ${format.what}: ${(cause as Error).message}`, cause)
      }
    })

  const conflict = (key: string, what: string): StoreError =>
    new StoreError({
      reason: "Conflict",
      detail: `this ${what} was written by others ${maxRounds} times while it was being written here`,
      backend: store.backend,
      operation: "save",
      key,
    })

  /** Stores a record over exactly what has been seen at its key: nothing, where it is `usually` new, or its etag. */
  const put = <A>(
    key: string,
    format: CheckedFormat<A>,
    value: A,
    usually: "new" | "there",
    condition: WriteCondition = {},
  ): Effect.Effect<Found<A>, StoreError> =>
    Effect.gen(function* () {
      yield* check(key, format, value)
      const asked = condition.ifMatch !== undefined || condition.ifNoneMatch !== undefined
      if (asked || !(create && replace)) return yield* writeRecord(store, key, format, value, condition)
      for (let round = 0; round < maxRounds; round++) {
        const seen = round === 0 && usually === "new" ? { ifNoneMatch: "*" as const } : yield* seenAt(key)
        const written = yield* Effect.result(writeRecord(store, key, format, value, seen))
        if (Result.isSuccess(written)) return written.success
        const { reason } = written.failure
        if (reason !== "AlreadyExists" && reason !== "PreconditionFailed") return yield* Effect.fail(written.failure)
      }
      return yield* Effect.fail(conflict(key, format.what))
    })

  /**
   * The condition that holds as long as nobody writes at this key; none for what has no validator: a foreign file, and
   * one that was changed behind the store's back, which is healed so.
   */
  const seenAt = (key: string): Effect.Effect<WriteCondition, StoreError> =>
    Effect.matchEffect(store.stat(key), {
      onSuccess: ({ etag }): Effect.Effect<WriteCondition, StoreError> =>
        Effect.succeed(etag.startsWith("W/") ? {} : { ifMatch: etag }),
      onFailure: (error) => {
        if (error.reason === "NotFound") return Effect.succeed({ ifNoneMatch: "*" })
        return error.reason === "Corrupt" ? Effect.succeed({}) : Effect.fail(error)
      },
    })

  /** The record at a key; an empty object counts as missing, as in the original. */
  const find = <A>(key: string, format: CheckedFormat<A>): Effect.Effect<Found<A> | undefined, StoreError> =>
    Effect.catchIf(
      findRecord(store, key, format),
      (error) => error.cause instanceof EmptyRecord,
      () => Effect.undefined,
    )

  /** The records of a listing; what is none is reported and left out. */
  const readable = <A>(listed: Stream.Stream<Listed<A>, StoreError>): Stream.Stream<A, StoreError> =>
    Stream.flatMap(listed, (one) => {
      if (Result.isSuccess(one)) return Stream.succeed(one.success.value)
      if (!unreadable.has(one.failure.reason)) return Stream.fail(one.failure)
      try {
        options.onUnreadable?.(one.failure)
      } catch {
        // Its own affair.
      }
      return Stream.empty
    })

  /** The objects right below a folder, or those of them that begin so. */
  const objects = (prefix: string): Stream.Stream<ObjectEntry, StoreError> =>
    Stream.flatMap(store.pages({ prefix, delimiter: "/" }), (page) => Stream.fromIterable(page.objects))

  /** The folders right below a folder. */
  const folders = (prefix: string): Stream.Stream<string, StoreError> =>
    Stream.flatMap(store.pages({ prefix, delimiter: "/" }), (page) => Stream.fromIterable(page.prefixes))

  /** The record of this name in each folder that has one. */
  const inFolders = <A>(
    folders: Stream.Stream<string, StoreError>,
    name: string,
    format: CheckedFormat<A>,
  ): Stream.Stream<A, StoreError> =>
    readable(
      Stream.mapEffect(folders, (folder) => Effect.result(findRecord(store, `${folder}${name}`, format)), {
        concurrency: folderConcurrency,
      }).pipe(
        Stream.flatMap((found): Stream.Stream<Listed<A>> => {
          if (Result.isFailure(found)) return Stream.succeed(Result.fail(found.failure))
          return found.success === undefined ? Stream.empty : Stream.succeed(Result.succeed(found.success))
        }),
      ),
    )

  const checked = <A>(
    operation: string,
    ids: Readonly<Record<string, unknown>>,
    work: () => Effect.Effect<A, StoreError>,
  ): Effect.Effect<A, StoreError> => Effect.andThen(checkIds(operation, ids), Effect.suspend(work))

  const checkedStream = <A>(
    ids: Readonly<Record<string, unknown>>,
    work: () => Stream.Stream<A, StoreError>,
  ): Stream.Stream<A, StoreError> => Stream.unwrap(Effect.map(checkIds("list", ids), work))

  const namedEvents = (
    jobId: string,
    runId: string,
  ): Effect.Effect<Array<{ readonly entry: ObjectEntry; readonly meta: EventMeta }>, StoreError> =>
    Stream.runCollect(
      Stream.flatMap(objects(keys.events(jobId, runId)), (entry) => {
        const meta = parseEventKey(entry.key)
        return meta === undefined ? Stream.empty : Stream.succeed({ entry, meta })
      }),
    )

  const events: ExecutionsService["events"] = (jobId, runId, { maxStep = Infinity } = {}) =>
    checkedStream({ jobId, runId }, () =>
      Stream.unwrap(Effect.map(namedEvents(jobId, runId), (named) => {
        const wanted = named.filter(({ meta }) => meta.stepNumber <= maxStep)
          .sort((a, b) => a.meta.timestamp - b.meta.timestamp)
        return readable(readRecords(store, Stream.fromIterable(wanted.map(({ entry }) => entry)), eventFormat))
      })))

  const storeEvent: ExecutionsService["storeEvent"] = (event) =>
    checked("save", { jobId: event.jobId, runId: event.runId, type: event.type }, () =>
      Effect.gen(function* () {
        const { jobId, runId, timestamp, stepNumber, type } = event
        const first = keys.event(jobId, runId, event)
        yield* check(first, eventFormat, event)
        const flaw = eventNameFlaw(event)
        if (flaw !== undefined) return yield* refuse(first, flaw)
        if (!create) return yield* writeRecord(store, first, eventFormat, event)
        for (let round = 0; round < maxRounds; round++) {
          const key = keys.event(jobId, runId, { timestamp: timestamp + round / 1000, stepNumber, type })
          const written = yield* Effect.result(
            writeRecord(store, key, eventFormat, event, { ifNoneMatch: "*" }),
          )
          if (Result.isSuccess(written)) return written.success
          if (written.failure.reason !== "AlreadyExists") return yield* Effect.fail(written.failure)
          const there = yield* Effect.result(findRecord(store, key, eventFormat))
          if (Result.isSuccess(there) && there.success?.value.id === event.id) {
            return yield* put(key, eventFormat, event, "there")
          }
          if (Result.isFailure(there) && !unreadable.has(there.failure.reason)) return yield* Effect.fail(there.failure)
        }
        return yield* Effect.fail(conflict(first, "event"))
      }))

  const storeJob: ExecutionsService["storeJob"] = (job, condition) =>
    checked("save", { jobId: job.id }, () => put(keys.job(job.id), jobFormat, job, "there", condition))

  const storeCheckpoint: ExecutionsService["storeCheckpoint"] = (checkpoint, condition) =>
    checked(
      "save",
      { jobId: checkpoint.jobId, checkpointId: checkpoint.id },
      () => put(keys.checkpoint(checkpoint.jobId, checkpoint.id), checkpointFormat, checkpoint, "new", condition),
    )

  const missing = (key: string, detail: string): StoreError =>
    new StoreError({ reason: "NotFound", detail, backend: store.backend, operation: "load", key })

  const findJob: ExecutionsService["findJob"] = (jobId) =>
    checked("load", { jobId }, () => find(keys.job(jobId), jobFormat))

  const checkpoints = (jobId: string): Stream.Stream<Checkpoint, StoreError> =>
    readable(readRecords(
      store,
      Stream.filter(objects(keys.checkpoints(jobId)), ({ key }) => key.endsWith(".json")),
      checkpointFormat,
    ))

  const jobs: ExecutionsService["jobs"] = () => inFolders(folders(keys.jobs), "job.json", jobFormat)

  const runFolders = (jobId: string | undefined): Stream.Stream<string, StoreError> => {
    if (jobId !== undefined) return checkedStream({ jobId }, () => folders(keys.runs(jobId)))
    return Stream.mapEffect(folders(keys.jobs), (job) => Stream.runCollect(folders(`${job}runs/`)), {
      concurrency: folderConcurrency,
    }).pipe(Stream.flatMap(Stream.fromIterable))
  }

  const runs: ExecutionsService["runs"] = (jobId) =>
    Stream.map(inFolders(runFolders(jobId), "run-setting.json", runSettingFormat), withDefaults)

  const storeRunSetting: ExecutionsService["storeRunSetting"] = (setting) =>
    checked("save", { jobId: setting.jobId, runId: setting.runId }, () => {
      const key = keys.runSetting(setting.jobId, setting.runId)
      const next = (current: Found<StoredRunSetting> | undefined) =>
        Effect.map(Clock.currentTimeMillis, (now): StoredRunSetting => {
          const value = current === undefined ? setting : { ...current.value, updatedAt: now }
          return options.redact === true ? redactRunSetting(value) : value
        })
      return Effect.map(
        Effect.andThen(
          check(key, runSettingFormat, setting),
          updateRecord(store, key, runSettingFormat, next, { soleWriter: options.soleWriter }),
        ),
        (found) => ({ ...found, value: withDefaults(found.value) }),
      )
    })

  /** Removes everything below a folder, the object that shows that it is there last. */
  const removeFolder = (folder: string, last: string): Effect.Effect<number, StoreError> =>
    Effect.gen(function* () {
      let removed = 0
      yield* Stream.runForEach(store.pages({ prefix: folder }), (page) =>
        Effect.gen(function* () {
          const found = page.objects.map(({ key }) => key)
          const results = yield* store.removeMany(found.filter((key) => key !== last))
          for (const { error } of results) if (error !== undefined) return yield* Effect.fail(error)
          removed += found.length
        }))
      yield* store.remove(last)
      return removed
    })

  return {
    storeCheckpoint,
    retrieveCheckpoint: (jobId, checkpointId) =>
      checked("load", { jobId, checkpointId }, () => {
        const key = keys.checkpoint(jobId, checkpointId)
        return Effect.flatMap(find(key, checkpointFormat), (found) =>
          found === undefined
            ? Effect.fail(missing(key, `checkpoint not found: ${checkpointId}`))
            : Effect.succeed(found.value))
      }),
    getCheckpointsByJobId: (jobId) =>
      checked(
        "list",
        { jobId },
        () =>
          Effect.map(Stream.runCollect(checkpoints(jobId)), (all) => all.sort((a, b) => a.stepNumber - b.stepNumber)),
      ),
    storeEvent,
    getEventsByRun: (jobId, runId) =>
      checked(
        "list",
        { jobId, runId },
        () =>
          Effect.map(
            namedEvents(jobId, runId),
            (named) => named.map(({ meta }) => meta).sort((a, b) => a.stepNumber - b.stepNumber),
          ),
      ),
    getEventContents: (jobId, runId, maxStep) =>
      Effect.map(
        Stream.runCollect(events(jobId, runId, { maxStep })),
        (all) => all.sort((a, b) => a.timestamp - b.timestamp),
      ),
    events,
    storeJob,
    retrieveJob: (jobId) => Effect.map(findJob(jobId), (found) => found?.value),
    findJob,
    updateJob: (jobId, change) =>
      checked("save", { jobId }, () => {
        const key = keys.job(jobId)
        return updateRecord(store, key, jobFormat, (current) =>
          Effect.gen(function* () {
            if (current === undefined) return yield* Effect.fail(missing(key, "there is no such job"))
            const changed = change(structuredClone(current.value))
            yield* check(key, jobFormat, changed)
            return changed
          }), { soleWriter: options.soleWriter })
      }),
    getAllJobs: () => Effect.map(Stream.runCollect(jobs()), (all) => all.sort((a, b) => b.startedAt - a.startedAt)),
    jobs,
    storeRunSetting,
    retrieveRunSetting: (jobId, runId) =>
      checked(
        "load",
        { jobId, runId },
        () =>
          Effect.map(
            find(keys.runSetting(jobId, runId), runSettingFormat),
            (found) => found && withDefaults(found.value),
          ),
      ),
    getAllRuns: (jobId) =>
      Effect.map(Stream.runCollect(runs(jobId)), (all) => all.sort((a, b) => b.updatedAt - a.updatedAt)),
    runs,
    deleteJob: (jobId) => checked("remove", { jobId }, () => removeFolder(keys.jobFolder(jobId), keys.job(jobId))),
    deleteRun: (jobId, runId) =>
      checked(
        "remove",
        { jobId, runId },
        () => removeFolder(keys.runFolder(jobId, runId), keys.runSetting(jobId, runId)),
      ),
  }
}
