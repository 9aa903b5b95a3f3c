/**
 * Where LangGraph's checkpoints are: `{prefix}thread=<id>/ns=<namespace>/<checkpoint, reversed>~checkpoint`, and beside
 * it `<checkpoint, reversed>~writes=<task>` for each task that has left writes. All of a namespace is in one folder: on a
 * disk a folder for each checkpoint would cost three flushes a step.
 *
 * Ids may hold anything, `/`, `|` and `:` included: they are percent-encoded, so different ids never share a key. The id
 * of a checkpoint is written so that a later id sorts first. Stores list in ascending order, and so the beginning of a
 * list is the latest checkpoint, however many there are.
 *
 * @module
 */
import { keyFlaw } from "../key.ts"
import { StoreError } from "../error.ts"

/** A checkpoint's place. */
export interface Place {
  /** The thread. */
  readonly thread: string
  /** The namespace; `""` is the graph itself, others are its subgraphs. */
  readonly namespace: string
  /** The checkpoint. */
  readonly checkpoint: string
}

/** What a checkpoint's own key ends in. */
export const checkpointName = "checkpoint"

const hex = (byte: number): string => byte.toString(16).padStart(2, "0")

/** A text whose order is the opposite of `id`'s: each byte's complement in hex, and an end that sorts after hex. */
export const reversed = (id: string): string =>
  `${Array.from(new TextEncoder().encode(id), (byte) => hex(255 - byte)).join("")}~`

/** The opposite of {@link reversed}; `undefined` for what it never makes. */
export const unreversed = (text: string): string | undefined => {
  if (!/^(?:[0-9a-f]{2})+~$/.test(text)) return undefined
  const bytes = Uint8Array.from(text.match(/[0-9a-f]{2}/g)!, (pair) => 255 - parseInt(pair, 16))
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    return undefined
  }
}

const refuse = (operation: string, detail: string): StoreError =>
  new StoreError({ reason: "InvalidKey", operation, detail, hint: "give shorter ids, as text" })

const segment = (operation: string, name: string, id: unknown, empty = false): string => {
  if (typeof id !== "string") throw refuse(operation, `${name} must be a string, this one is of type ${typeof id}`)
  if (id === "" && !empty) throw refuse(operation, `${name} is empty`)
  if (!id.isWellFormed()) throw refuse(operation, `${name} is not well-formed Unicode`)
  return encodeURIComponent(id)
}

/** Refuses a key that no store would take. */
const checked = (operation: string, key: string): string => {
  const flaw = keyFlaw(key)
  if (flaw !== undefined) throw refuse(operation, `the ids do not fit into a key: ${flaw}`)
  return key
}

/** What all keys of a thread begin with. Throws `InvalidKey`. */
export const threadFolder = (operation: string, prefix: string, thread: unknown): string =>
  checked(operation, `${prefix}thread=${segment(operation, "thread_id", thread)}/`)

/** What all keys of a namespace begin with. Throws `InvalidKey`. */
export const namespaceFolder = (operation: string, prefix: string, thread: unknown, namespace: unknown): string =>
  checked(
    operation,
    `${threadFolder(operation, prefix, thread)}ns=${segment(operation, "checkpoint_ns", namespace, true)}/`,
  )

/** What all keys of a checkpoint begin with. Throws `InvalidKey`. */
export const checkpointPrefix = (operation: string, prefix: string, place: Place): string => {
  segment(operation, "checkpoint_id", place.checkpoint)
  const folder = namespaceFolder(operation, prefix, place.thread, place.namespace)
  const key = `${folder}${reversed(place.checkpoint)}`
  checked(operation, key + checkpointName)
  return key
}

/** The key of a task's writes. Throws `InvalidKey`. */
export const writesKey = (operation: string, prefix: string, place: Place, task: unknown): string =>
  checked(
    operation,
    `${checkpointPrefix(operation, prefix, place)}writes=${segment(operation, "task_id", task)}`,
  )

/** What a key names; `undefined` where it is none of ours. */
export const placeOf = (
  prefix: string,
  key: string,
): { readonly place: Place; readonly writes: boolean } | undefined => {
  if (!key.startsWith(prefix)) return undefined
  const [thread, namespace, last = "", ...more] = key.slice(prefix.length).split("/")
  if (!thread?.startsWith("thread=") || !namespace?.startsWith("ns=") || more.length > 0) return undefined
  const end = last.indexOf("~") + 1
  const [id, name] = [last.slice(0, end), last.slice(end)]
  const checkpoint = unreversed(id)
  const writes = name.startsWith("writes=")
  if (checkpoint === undefined || !(writes || name === checkpointName)) return undefined
  try {
    return {
      place: {
        thread: decodeURIComponent(thread.slice("thread=".length)),
        namespace: decodeURIComponent(namespace.slice("ns=".length)),
        checkpoint,
      },
      writes,
    }
  } catch {
    return undefined
  }
}
