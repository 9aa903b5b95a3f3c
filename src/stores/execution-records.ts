/**
 * Where an execution's records are and how they are written: Perstack's keys and bytes, exactly.
 *
 *     {prefix}jobs/{jobId}/job.json
 *     {prefix}jobs/{jobId}/checkpoints/{checkpointId}.json
 *     {prefix}jobs/{jobId}/runs/{runId}/run-setting.json
 *     {prefix}jobs/{jobId}/runs/{runId}/event-{timestamp}-{step}-{type}.json
 *
 * @module
 */
import * as Schema from "effect/Schema"
import {
  type Checkpoint,
  CheckpointSchema,
  type EventMeta,
  EventSchema,
  type Job,
  JobSchema,
  type RunEvent,
  type StoredEvent,
} from "./execution-schema.ts"
import { RunSettingSchema, type StoredRunSetting } from "./execution-settings.ts"
import { parseJson, type RecordFormat } from "./records.ts"

/** The keys below one prefix. */
export interface ExecutionKeys {
  /** Above all jobs. */
  readonly jobs: string
  /** Above all of a job. */
  readonly jobFolder: (jobId: string) => string
  /** Above a job's checkpoints. */
  readonly checkpoints: (jobId: string) => string
  /** Above a job's runs. */
  readonly runs: (jobId: string) => string
  /** Above all of a run. */
  readonly runFolder: (jobId: string, runId: string) => string
  /** What the keys of a run's events begin with. */
  readonly events: (jobId: string, runId: string) => string
  /** A job. */
  readonly job: (jobId: string) => string
  /** A checkpoint. */
  readonly checkpoint: (jobId: string, checkpointId: string) => string
  /** A run's setting. */
  readonly runSetting: (jobId: string, runId: string) => string
  /** An event, named by these facts of it. */
  readonly event: (jobId: string, runId: string, meta: EventMeta) => string
}

/**
 * The keys below a prefix: one that is not empty stands for a folder, whether it ends in `/` or not. A `/` in front is
 * part of it.
 */
export const executionKeys = (prefix: string): ExecutionKeys => {
  const jobs = `${prefix === "" || prefix.endsWith("/") ? prefix : `${prefix}/`}jobs/`
  const jobFolder = (jobId: string) => `${jobs}${jobId}/`
  const runs = (jobId: string) => `${jobFolder(jobId)}runs/`
  const runFolder = (jobId: string, runId: string) => `${runs(jobId)}${runId}/`
  return {
    jobs,
    jobFolder,
    checkpoints: (jobId) => `${jobFolder(jobId)}checkpoints/`,
    runs,
    runFolder,
    events: (jobId, runId) => `${runFolder(jobId, runId)}event-`,
    job: (jobId) => `${jobFolder(jobId)}job.json`,
    checkpoint: (jobId, checkpointId) => `${jobFolder(jobId)}checkpoints/${checkpointId}.json`,
    runSetting: (jobId, runId) => `${runFolder(jobId, runId)}run-setting.json`,
    event: (jobId, runId, { timestamp, stepNumber, type }) =>
      `${runFolder(jobId, runId)}event-${timestamp}-${stepNumber}-${type}.json`,
  }
}

/** A number in the name of an event: no sign and no exponent, which would be taken for a further part of the name. */
const nameNumber = /^\d+(?:\.\d+)?$/

/** Why an event cannot be named by these facts, or `undefined` if it can. */
export const eventNameFlaw = ({ timestamp, stepNumber }: EventMeta): string | undefined => {
  for (const [name, value] of Object.entries({ timestamp, stepNumber })) {
    if (!nameNumber.test(String(value))) return `the ${name} ${value} cannot stand in the name of an event`
  }
  return undefined
}

/** What the key of an event says; `undefined` for a key of another form. A type may hold dots and dashes. */
export const parseEventKey = (key: string): EventMeta | undefined => {
  const match = /\/event-(\d+(?:\.\d+)?)-(\d+(?:\.\d+)?)-([^/]+)\.json$/.exec(key)
  if (match === null) return undefined
  const [, timestamp, stepNumber, type] = match
  return { timestamp: Number(timestamp), stepNumber: Number(stepNumber), type: type! }
}

/** An object without bytes, such as a crash of the original leaves. */
export class EmptyRecord extends Error {
  /** Its name. */
  override readonly name: string = "EmptyRecord"
  /** What is wrong. */
  override readonly message: string = "it is empty"
}

/** A record's format, and the check that it makes. */
export interface CheckedFormat<A> extends RecordFormat<A> {
  /** Throws an `Error` that says what is wrong with a value, without repeating any of it. */
  readonly check: (value: unknown) => asserts value is A
}

/**
 * JSON that a schema has checked; nothing is taken from it or added to it. Where `A` says more than the schema checks,
 * the rest is its writer's word.
 */
const json = <A extends S, S = A>(what: string, schema: Schema.Codec<S>, indent?: number): CheckedFormat<A> => {
  const decode = Schema.decodeUnknownSync(schema)
  const check: (value: unknown) => asserts value is A = (value) => {
    try {
      decode(value)
    } catch (cause) {
      throw new Error((cause as Error).message.replaceAll(/\s*\n\s*/g, " "))
    }
  }
  return {
    what,
    check,
    encode: (value) => JSON.stringify(value, null, indent),
    decode: (bytes) => {
      if (bytes.length === 0) throw new EmptyRecord()
      const value = parseJson(bytes)
      check(value)
      return value
    },
  }
}

/** Jobs are indented, as in the original. */
export const jobFormat: CheckedFormat<Job> = json("job", JobSchema, 2)
/** Checkpoints. */
export const checkpointFormat: CheckedFormat<Checkpoint> = json("checkpoint", CheckpointSchema)
/** Events. */
export const eventFormat: CheckedFormat<RunEvent> = json<RunEvent, StoredEvent>("event", EventSchema)
/** Run settings, as they are stored. */
export const runSettingFormat: CheckedFormat<StoredRunSetting> = json("run setting", RunSettingSchema)
