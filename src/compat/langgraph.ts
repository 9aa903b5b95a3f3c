/**
 * A checkpoint saver for LangGraph.js on any store: threads, interrupts, time travel and memory of agents, kept on disk,
 * in S3 or wherever else a store is.
 *
 * A checkpoint is one object and holds all of its state, so it is there whole or not at all, and the rules of a bucket
 * that expire old objects break no newer one. The writes of a task are one object more.
 *
 * Needs the peer dependency `@langchain/langgraph-checkpoint` 1.2 or later.
 *
 * @module
 */
import {
  BaseCheckpointSaver,
  type ChannelVersions,
  type Checkpoint,
  type CheckpointListOptions,
  type CheckpointMetadata,
  type CheckpointPendingWrite,
  type CheckpointTuple,
  compareWritesSortKeys,
  getCheckpointId,
  maxChannelVersion,
  type PendingWrite,
  type SerializerProtocol,
  TASKS,
  WRITES_IDX_MAP,
  writesSortKey,
} from "@langchain/langgraph-checkpoint"
import { StoreError } from "../error.ts"
import { compareKeys } from "../key.ts"
import type { Codec } from "../streams/codec.ts"
import { run } from "../run.ts"
import type { Store } from "../store.ts"
import { findRecord, lostRace, readRecord, updateRecord, writeRecord } from "../stores/records.ts"
import * as Effect from "effect/Effect"
import { type Frame, frameFormat, type Section } from "./langgraph-frame.ts"
import {
  checkpointName,
  checkpointPrefix,
  namespaceFolder,
  type Place,
  placeOf,
  threadFolder,
  writesKey,
} from "./langgraph-keys.ts"

/** What LangGraph names a thread, and a checkpoint in it, with. */
export interface SaverConfig {
  /** `thread_id`, `checkpoint_ns`, `checkpoint_id`. */
  // deno-lint-ignore no-explicit-any -- LangGraph's own type
  configurable?: Record<string, any>
}

/** Options of {@link HoldfastSaver}. */
export interface HoldfastSaverOptions {
  /** Put in front of every key. Default `"langgraph/"`. */
  readonly prefix?: string | undefined
  /** How values become bytes. Default: LangGraph's own, JSON that knows its types. */
  readonly serde?: SerializerProtocol | undefined
  /** How objects are compressed. Default: as the store does it. */
  readonly compression?: Codec | "none" | undefined
}

/** A checkpoint as the keys of a listing show it. */
interface Listed {
  readonly place: Place
  /** The keys of its tasks' writes. */
  readonly writes: Array<string>
  /** Whether the checkpoint itself is there; writes alone are none. */
  there: boolean
}

/** Names asked for where only the first checkpoint is wanted. */
const firstNames = 8
/** Checkpoints read at a time while listing. */
const readAhead = 8

const invalid = (operation: string, detail: string): StoreError =>
  new StoreError({
    reason: "InvalidInput",
    operation,
    detail,
    hint: 'name the thread: { configurable: { thread_id: "my-thread" } }',
  })

const configOf = ({ thread, namespace, checkpoint }: Place): { configurable: Record<string, string> } => ({
  configurable: { thread_id: thread, checkpoint_ns: namespace, checkpoint_id: checkpoint },
})

/**
 * Keeps LangGraph's checkpoints in a store.
 *
 * `getTuple` of the latest checkpoint asks for one listing and then, at once, for the checkpoint and its tasks' writes;
 * `put` and `putWrites` are one write each. What is read are bytes that were checked; an object that is damaged is a
 * `Corrupt` error of `getTuple`, and left out of `list`.
 *
 * @example A graph's state that outlives the process
 * ```ts
 * import { open } from "@holdfast/holdfast"
 * import { HoldfastSaver } from "@holdfast/holdfast/langgraph"
 * import { emptyCheckpoint } from "@langchain/langgraph-checkpoint"
 *
 * await using store = await open("mem:")
 * const saver = new HoldfastSaver(store)
 * const config = { configurable: { thread_id: "thread-1" } }
 * const checkpoint = { ...emptyCheckpoint(), channel_values: { count: 1 }, channel_versions: { count: 1 } }
 * await saver.put(config, checkpoint, { source: "loop", step: 0, parents: {} }, { count: 1 })
 * const latest = await saver.getTuple(config)
 * console.assert(latest?.checkpoint.channel_values["count"] === 1)
 * ```
 */
export class HoldfastSaver extends BaseCheckpointSaver {
  readonly #store: Store
  readonly #prefix: string
  readonly #checkpoints: ReturnType<typeof frameFormat>
  readonly #writes: ReturnType<typeof frameFormat>

  /** A saver in a store, which the caller closes. */
  constructor(store: Store, options: HoldfastSaverOptions = {}) {
    super(options.serde)
    this.#store = store
    this.#prefix = options.prefix ?? "langgraph/"
    const compressed = (what: string) => {
      const format = frameFormat(what)
      return { ...format, save: { ...format.save, compression: options.compression } }
    }
    this.#checkpoints = compressed("LangGraph checkpoint")
    this.#writes = compressed("LangGraph task's writes")
  }

  /** A checkpoint with its pending writes: the one named, or the thread's latest. None: `undefined`. */
  async getTuple(config: SaverConfig): Promise<CheckpointTuple | undefined> {
    const thread: unknown = config.configurable?.["thread_id"]
    if (thread === undefined) return undefined
    const namespace: unknown = config.configurable?.["checkpoint_ns"] ?? ""
    const id = getCheckpointId(config)
    if (id === "") {
      const folder = namespaceFolder("load", this.#prefix, thread, namespace)
      for await (const listed of this.#list(folder, firstNames)) return await this.#read(listed)
      return undefined
    }
    const place = { thread: thread as string, namespace: namespace as string, checkpoint: id }
    const folder = checkpointPrefix("load", this.#prefix, place)
    const [frame, writes] = await Promise.all([this.#frame(folder), this.#writesIn(folder)])
    return frame === undefined ? undefined : await this.#tuple(place, frame, await this.#pending(writes))
  }

  /**
   * Checkpoints, the newest of each namespace first; only those of `config`'s thread, namespace and checkpoint, where it
   * names one.
   */
  async *list(config: SaverConfig, options: CheckpointListOptions = {}): AsyncGenerator<CheckpointTuple> {
    const { thread_id: thread, checkpoint_ns: namespace, checkpoint_id: id } = config.configurable ?? {}
    const before: unknown = options.before?.configurable?.["checkpoint_id"]
    const wanted = ({ place }: Listed): boolean =>
      (namespace === undefined || place.namespace === namespace) && (!id || place.checkpoint === id) &&
      (typeof before !== "string" || before === "" || compareKeys(place.checkpoint, before) < 0)
    const folder = !thread
      ? this.#prefix
      : namespace === undefined
      ? threadFolder("list", this.#prefix, thread)
      : namespaceFolder("list", this.#prefix, thread, namespace)

    let left = options.limit ?? Infinity
    let batch: Array<Listed> = []
    const take = async (): Promise<ReadonlyArray<CheckpointTuple>> => {
      const taken = batch
      batch = []
      const tuples = await Promise.all(taken.map((listed) => this.#sound(listed, options.filter)))
      const found = tuples.filter((tuple) => tuple !== undefined).slice(0, left)
      left -= found.length
      return found
    }
    if (left <= 0) return
    for await (const listed of this.#list(folder)) {
      if (!wanted(listed)) continue
      batch.push(listed)
      if (batch.length < Math.min(readAhead, left)) continue
      yield* await take()
      if (left <= 0) return
    }
    yield* await take()
  }

  /** Saves a checkpoint, whole or not at all; the config that names it. */
  async put(
    config: SaverConfig,
    checkpoint: Checkpoint,
    metadata: CheckpointMetadata,
    newVersions: ChannelVersions,
  ): Promise<SaverConfig> {
    const thread: unknown = config.configurable?.["thread_id"]
    const namespace: unknown = config.configurable?.["checkpoint_ns"] ?? ""
    if (thread === undefined) throw invalid("save", "the config of a checkpoint to be put has no thread_id")
    const parent: unknown = config.configurable?.["checkpoint_id"] || undefined
    const place = { thread: thread as string, namespace: namespace as string, checkpoint: checkpoint.id }
    const key = checkpointPrefix("save", this.#prefix, place) + checkpointName
    // What a first checkpoint does not declare as new is nobody's: savers that keep channels apart would not have it.
    const channels = Object.entries(checkpoint.channel_values ?? {}).filter(([channel]) =>
      parent !== undefined || Object.hasOwn(newVersions, channel) ||
      !Object.hasOwn(checkpoint.channel_versions, channel)
    )
    const stored = { ...checkpoint, channel_values: Object.fromEntries(channels) }
    const sections = await Promise.all([this.#dump("checkpoint", stored), this.#dump("metadata", metadata)])
    const frame: Frame = { ...place, parent: parent === undefined ? undefined : String(parent), sections }
    await run(writeRecord(this.#store.service, key, this.#checkpoints, frame))
    return configOf(place)
  }

  /**
   * Saves what a task has written. What it has written before stays as it was, but for LangGraph's own channels (errors,
   * interrupts), where the newest counts.
   */
  async putWrites(config: SaverConfig, writes: Array<PendingWrite>, taskId: string, taskPath = ""): Promise<void> {
    const { thread_id: thread, checkpoint_ns: namespace = "", checkpoint_id: id } = config.configurable ?? {}
    if (thread === undefined) throw invalid("save", "the config of writes to be put has no thread_id")
    if (id === undefined) throw invalid("save", "the config of writes to be put has no checkpoint_id")
    const place = { thread, namespace, checkpoint: id }
    const key = writesKey("save", this.#prefix, place, taskId)
    const fresh = await Promise.all(writes.map(async ([channel, value], position): Promise<Section> => {
      const own = Object.hasOwn(WRITES_IDX_MAP, channel) ? WRITES_IDX_MAP[channel] : undefined
      return { ...await this.#dump(channel, value), index: own ?? position, path: taskPath }
    }))
    const merged = (before: ReadonlyArray<Section>): Frame => {
      const byIndex = new Map(before.map((section) => [section.index, section]))
      for (const section of fresh) {
        if (section.index! < 0 || !byIndex.has(section.index)) byIndex.set(section.index, section)
      }
      return { ...place, task: taskId, sections: [...byIndex.values()] }
    }
    const { service } = this.#store
    const { create, replace } = service.capabilities.conditional
    if (create) {
      // Most tasks write once.
      const first = writeRecord(service, key, this.#writes, merged([]), { ifNoneMatch: "*" })
      const done = Effect.catchIf(Effect.as(first, true), lostRace, () => Effect.succeed(false))
      if (await run(done)) return
    }
    // Where the store knows no conditions the task itself is the only writer of its object.
    const soleWriter = !(create && replace)
    const change = updateRecord(
      service,
      key,
      this.#writes,
      (current) => Effect.sync(() => merged(current?.value.sections ?? [])),
      { soleWriter },
    )
    await run(change)
  }

  /** Removes all checkpoints and writes of a thread; the oldest first, so that what is left of it is never an old state. */
  async deleteThread(threadId: string): Promise<void> {
    const folder = threadFolder("remove", this.#prefix, threadId)
    const keys: Array<string> = []
    for await (const { key } of this.#store.list({ prefix: folder })) keys.push(key)
    for (const { error } of await this.#store.removeMany(keys.reverse())) if (error !== undefined) throw error
  }

  async #dump(name: string, value: unknown): Promise<Section> {
    const [type, bytes] = await this.serde.dumpsTyped(value)
    return { name, type, bytes }
  }

  // deno-lint-ignore no-explicit-any -- what a serializer gives is what its caller says it is
  #value({ type, bytes }: Section): Promise<any> {
    return this.serde.loadsTyped(type, bytes)
  }

  /** The checkpoints whose keys begin with `folder`, in the order of the keys; `names` a request. */
  async *#list(folder: string, names = 1000): AsyncGenerator<Listed> {
    const { calls } = this.#store.service
    let current: Listed | undefined
    let cursor: string | undefined
    do {
      const page = await run(calls.list({ prefix: folder, limit: names, cursor }))
      for (const { key } of page.objects) {
        const found = placeOf(this.#prefix, key)
        if (found === undefined) continue
        const { place, writes } = found
        if (
          current === undefined || current.place.checkpoint !== place.checkpoint ||
          current.place.namespace !== place.namespace || current.place.thread !== place.thread
        ) {
          if (current?.there) yield current
          current = { place, writes: [], there: false }
        }
        if (writes) current.writes.push(key)
        else current.there = true
      }
      cursor = page.cursor
    } while (cursor !== undefined)
    if (current?.there) yield current
  }

  async #writesIn(folder: string): Promise<ReadonlyArray<string>> {
    for await (const { writes } of this.#list(folder)) return writes
    return []
  }

  /** The frame of a checkpoint; `undefined` where there is none. */
  async #frame(folder: string): Promise<Frame | undefined> {
    return (await run(findRecord(this.#store.service, folder + checkpointName, this.#checkpoints)))?.value
  }

  /** The writes at these keys, in the order in which LangGraph applies them. */
  async #pending(keys: ReadonlyArray<string>): Promise<Array<CheckpointPendingWrite>> {
    const frames = await Promise.all(keys.map((key) => run(readRecord(this.#store.service, key, this.#writes))))
    const all = frames.flatMap(({ value: { task = "", sections } }) => sections.map((section) => ({ task, section })))
    const keyed = all.map((one) => ({
      ...one,
      order: writesSortKey(one.section.path ?? "", one.task, one.section.index),
    }))
    keyed.sort((a, b) => compareWritesSortKeys(a.order, b.order))
    return await Promise.all(
      keyed.map(async ({ task, section }): Promise<CheckpointPendingWrite> => [
        task,
        section.name,
        await this.#value(section),
      ]),
    )
  }

  async #read({ place, writes }: Listed): Promise<CheckpointTuple | undefined> {
    const folder = checkpointPrefix("load", this.#prefix, place)
    const [frame, pending] = await Promise.all([this.#frame(folder), this.#pending(writes)])
    return frame === undefined ? undefined : await this.#tuple(place, frame, pending)
  }

  /** A listed checkpoint that passes the filter; one that is damaged or gone is `undefined`. */
  async #sound(listed: Listed, filter: CheckpointListOptions["filter"]): Promise<CheckpointTuple | undefined> {
    try {
      if (filter === undefined || Object.keys(filter).length === 0) return await this.#read(listed)
      const frame = await this.#frame(checkpointPrefix("load", this.#prefix, listed.place))
      const metadata = frame && await this.#value(sectionOf(frame, "metadata"))
      if (!metadata || !Object.entries(filter).every(([name, value]) => metadata[name] === value)) return undefined
      return await this.#tuple(listed.place, frame, await this.#pending(listed.writes))
    } catch (error) {
      if (StoreError.is(error) && (error.reason === "Corrupt" || error.reason === "NotFound")) return undefined
      throw error
    }
  }

  async #tuple(place: Place, frame: Frame, pendingWrites: Array<CheckpointPendingWrite>): Promise<CheckpointTuple> {
    const checkpoint: Checkpoint = await this.#value(sectionOf(frame, "checkpoint"))
    const metadata: CheckpointMetadata = await this.#value(sectionOf(frame, "metadata"))
    const tuple: CheckpointTuple = { config: configOf(place), checkpoint, metadata, pendingWrites }
    if (frame.parent === undefined) return tuple
    if (checkpoint.v < 4) await this.#migrate(checkpoint, { ...place, checkpoint: frame.parent })
    return { ...tuple, parentConfig: configOf({ ...place, checkpoint: frame.parent }) }
  }

  /** Before version 4 what tasks sent to others stood in the parent's writes; since then it is a channel. */
  async #migrate(checkpoint: Checkpoint, parent: Place): Promise<void> {
    const writes = await this.#pendingOf(parent)
    checkpoint.channel_values ??= {}
    checkpoint.channel_versions ??= {}
    checkpoint.channel_values[TASKS] = writes.filter(([, channel]) => channel === TASKS).map(([, , value]) => value)
    const versions = Object.values(checkpoint.channel_versions)
    checkpoint.channel_versions[TASKS] = versions.length > 0
      ? maxChannelVersion(...versions)
      : this.getNextVersion(undefined)
  }

  async #pendingOf(place: Place): Promise<Array<CheckpointPendingWrite>> {
    return await this.#pending(await this.#writesIn(checkpointPrefix("load", this.#prefix, place)))
  }
}

const sectionOf = ({ thread, sections }: Frame, name: string): Section => {
  const found = sections.find((section) => section.name === name)
  if (found !== undefined) return found
  throw new StoreError({
    reason: "Corrupt",
    operation: "load",
    detail: `a checkpoint of the thread ${JSON.stringify(thread)} has no ${name}`,
  })
}
