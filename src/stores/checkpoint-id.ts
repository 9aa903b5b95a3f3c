/**
 * Names and ids of checkpoints: which key a checkpoint has, and which of two is the newer one.
 *
 * New ids are UUIDs of version 7, whose text sorts by time, so a listing of names alone tells the order of a thread.
 * Ids of the original are random; for those the time of the save, as the listing has it, stands in.
 *
 * @module
 */
import type { ObjectEntry } from "../backend.ts"
import { compareKeys } from "../key.ts"

/** Where a thread's checkpoints are. */
export const threadPrefix = (prefix: string, thread: string): string => `${prefix}${thread}/`

/** The key of a checkpoint, as the original has it. */
export const checkpointKey = (prefix: string, thread: string, id: string): string =>
  `${threadPrefix(prefix, thread)}${id}.json`

/** The key of the record that names a thread's latest checkpoint; no checkpoint has it, since theirs end in `.json`. */
export const latestKey = (prefix: string, thread: string): string => `${threadPrefix(prefix, thread)}latest`

/** A checkpoint as its key names it; `undefined` for any other key under the prefix. */
export const nameOf = (
  prefix: string,
  key: string,
): { readonly thread: string; readonly id: string } | undefined => {
  if (!key.startsWith(prefix)) return undefined
  const [thread, name, ...more] = key.slice(prefix.length).split("/")
  if (!thread || name === undefined || more.length > 0 || !/.\.json$/.test(name)) return undefined
  return { thread, id: name.slice(0, -".json".length) }
}

/** The time in a UUID of version 7, in milliseconds since 1970. */
export const timeOf = (id: string): number | undefined =>
  /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/.test(id)
    ? parseInt(id.slice(0, 8) + id.slice(9, 13), 16)
    : undefined

/** A checkpoint in a listing. */
export interface CheckpointEntry {
  /** The thread it belongs to. */
  readonly thread: string
  /** Its id. */
  readonly id: string
  /** Its key in the store. */
  readonly key: string
  /** Stored bytes. */
  readonly size: number
  /** When the store got it. */
  readonly modified: Date
}

/** The checkpoint of a listed object, if it is one. */
export const entryOf = (prefix: string, { key, size, modified }: ObjectEntry): CheckpointEntry | undefined => {
  const name = nameOf(prefix, key)
  return name === undefined ? undefined : { ...name, key, size, modified }
}

/** Orders checkpoints of one thread: the newest first. */
export const newestFirst = (a: CheckpointEntry, b: CheckpointEntry): number =>
  (timeOf(b.id) ?? b.modified.getTime()) - (timeOf(a.id) ?? a.modified.getTime()) || compareKeys(b.id, a.id)

/** How far ahead of this machine's clock the time in an id may be for it to be another machine's clock: a day. */
const maxSkew = 24 * 60 * 60 * 1000

/** Makes ids that sort after one another: by the clock, and within a millisecond by a counter. */
export class Ids {
  #time = 0
  #counter = 0

  /**
   * A fresh id. `parent`: an id that it has to sort after, whoever made it; a machine whose clock is behind goes on
   * from the time in there.
   */
  next(now: number, parent?: string): string {
    const before = parent === undefined ? undefined : timeOf(parent)
    const least = before === undefined || before > now + maxSkew ? now : Math.max(now, before + 1)
    if (least > this.#time) {
      this.#time = least
      this.#counter = 0
    } else if (++this.#counter > 0xfff) {
      this.#time++
      this.#counter = 0
    }
    const bytes = crypto.getRandomValues(new Uint8Array(8))
    bytes[0] = 0x80 | (bytes[0]! & 0x3f)
    const random = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("")
    const time = this.#time.toString(16).padStart(12, "0")
    const counter = this.#counter.toString(16).padStart(3, "0")
    return `${time.slice(0, 8)}-${time.slice(8)}-7${counter}-${random.slice(0, 4)}-${random.slice(4)}`
  }
}
