/**
 * Which write a file holds: brings a file and its sidecar together, for readers and, under the lock, for writers.
 *
 * Readers take no lock. They open the file first and read the sidecar afterwards, so the sidecar is never older
 * than the file: either it holds the file's record, or the file was replaced since, and a look at its path tells.
 *
 * @module
 */
import type { BigIntStats } from "node:fs"
import { type FileHandle, lstat, readdir, rmdir } from "node:fs/promises"
import { join } from "node:path"
import type { ObjectInfo, WriteCondition } from "../../backend.ts"
import { StoreError } from "../../error.ts"
import { codeOf, missing, refuse } from "./errors.ts"
import type { Place } from "./layout.ts"
import type { Root } from "./root.ts"
import { type Folder, irregular, linked, openFolderIn, openToRead, openToReadIn } from "./safe-path.ts"
import { fileFacts, matching, rebind, resembling, type Sidecar, type WriteRecord } from "./sidecar.ts"

/** How often a file that is replaced while it is read is looked at again before a reader takes the lock. */
const maxRounds = 8

/** A file and the write that made it. */
export interface Live {
  readonly stat: BigIntStats
  /** `undefined`: something else changed the file since it was saved. */
  readonly record: WriteRecord | undefined
}

/** An object, open. Close the handle. */
export interface OpenObject {
  readonly handle: FileHandle
  readonly info: ObjectInfo
}

/**
 * Opens the object `key` together with its facts. Missing: `NotFound`. A file that something else has changed is
 * refused unless `damaged` allows it; then its facts are those of the write that has its size, else of the last one.
 */
export const openObject = async (
  root: Root,
  key: string,
  signal: AbortSignal,
  damaged: boolean = false,
): Promise<OpenObject> => {
  const place = await root.place(key)
  for (let round = 0; round < maxRounds; round++) {
    const found = await openOnce(root, key, place, signal, damaged)
    if (found !== undefined) return found
    signal.throwIfAborted()
  }
  // Replaced faster than we can look. Writers pause while we hold the lock.
  await root.writable()
  return await root.locks.hold([await root.shard(key)], signal, async () => {
    const found = await openOnce(root, key, place, signal, damaged)
    if (found === undefined) throw changedOutside()
    return found
  })
}

/** The object as it is now, or `undefined` if it was replaced while we looked. */
const openOnce = async (
  root: Root,
  key: string,
  place: Place,
  signal: AbortSignal,
  damaged: boolean,
): Promise<OpenObject | undefined> => {
  const path = join(root.folders.pathOf(place.folders), place.name)
  const { handle, stat } = await openToRead(root.path, path).catch((error) => {
    throw codeOf(error) === "ENOENT" || codeOf(error) === "ENOTDIR" ? missing() : error
  })
  try {
    const sidecar = await root.readSidecar(key)
    let record = sidecar === undefined || sidecar === "damaged" ? undefined : matching(sidecar, stat)
    if (record === undefined) {
      const now = await statPath(path)
      if (now === undefined || now.ino !== stat.ino || now.dev !== stat.dev) {
        await handle.close()
        return undefined
      }
      record = await recover(sidecar, stat, () => root.contentCrc(handle, stat, signal))
    }
    if (record === undefined && damaged && sidecar !== undefined && sidecar !== "damaged") {
      const { writeId: _, crc32: __, ...likely } = resembling(sidecar, stat)
      return { handle, info: infoOf(key, stat, likely) }
    }
    if (record === undefined) throw sidecar === "damaged" ? damagedSidecar() : changedOutside()
    return { handle, info: infoOf(key, stat, record) }
  } catch (error) {
    await handle.close()
    throw error
  }
}

const statPath = async (path: string): Promise<BigIntStats | undefined> => {
  try {
    return await lstat(path, { bigint: true })
  } catch (error) {
    if (codeOf(error) === "ENOENT" || codeOf(error) === "ENOTDIR") return undefined
    throw error
  }
}

/** The record of a file that no record describes exactly; a foreign file's is made up from what can be seen. */
const recover = (
  sidecar: Sidecar | "damaged" | undefined,
  stat: BigIntStats,
  contentCrc: () => Promise<number>,
): Promise<WriteRecord | undefined> =>
  sidecar === undefined
    ? Promise.resolve(fileFacts(stat))
    : sidecar === "damaged"
    ? Promise.resolve(undefined)
    : rebind(sidecar, stat, contentCrc)

/**
 * What is at a key, seen by a writer that holds its lock. `undefined`: nothing; empty folders in its place are
 * removed. Something other than a file: an error.
 */
export const inspect = async (
  root: Root,
  key: string,
  folder: Folder,
  name: string,
  signal: AbortSignal,
): Promise<Live | undefined> => {
  let stat: BigIntStats
  try {
    stat = await lstat(folder.at(name), { bigint: true })
  } catch (error) {
    if (codeOf(error) === "ENOENT") return undefined
    throw error
  }
  if (stat.isSymbolicLink()) throw linked(join(folder.path, name))
  if (stat.isDirectory()) {
    await removeEmptyTree(folder, name)
    return undefined
  }
  if (!stat.isFile()) throw irregular()
  const sidecar = await root.readSidecar(key)
  const exact = sidecar === undefined || sidecar === "damaged" ? undefined : matching(sidecar, stat)
  const record = exact ?? await recover(sidecar, stat, () => contentCrcIn(root, folder, name, stat, signal))
  return { stat, record }
}

/** CRC-32 of a file of a folder. */
export const contentCrcIn = async (
  root: Root,
  folder: Folder,
  name: string,
  stat: BigIntStats,
  signal: AbortSignal,
): Promise<number> => {
  const handle = await openToReadIn(folder, name)
  try {
    return await root.contentCrc(handle, stat, signal)
  } finally {
    await handle.close()
  }
}

/** Removes a folder that holds nothing but folders; fails with `Conflict` if there is more. */
const removeEmptyTree = async (parent: Folder, name: string): Promise<void> => {
  try {
    {
      await using folder = await openFolderIn(parent, name)
      if (folder === undefined) return
      for (const inner of await readdir(folder.at("."))) await removeEmptyTree(folder, inner)
    }
    await rmdir(parent.at(name))
  } catch (error) {
    const code = codeOf(error)
    if (code === "ENOENT") return
    if (code === "ENOTDIR" || code === "ENOTEMPTY" || code === "EEXIST") throw nestedUnder()
    throw error
  }
}

/** Fails unless a write may go ahead over what is there now. */
export const demand = (live: Live | undefined, condition: WriteCondition): void =>
  demandOf(live && { etag: live.record && etagOf(live.stat, live.record) }, condition)

/**
 * Fails if a write that is about to be prepared may not go ahead as things are. Most writers that lose a race learn
 * it so, before they have made anything durable; the lock has the last word on the others.
 */
export const demandEarly = async (
  root: Root,
  key: string,
  condition: WriteCondition,
  signal: AbortSignal,
): Promise<void> => {
  if (condition.ifMatch === undefined && condition.ifNoneMatch === undefined) return
  let found: ObjectInfo | undefined
  try {
    const { handle, info } = await openObject(root, key, signal)
    await handle.close()
    found = info
  } catch (error) {
    if (!StoreError.is(error) || error.reason !== "NotFound") return
  }
  demandOf(found, condition)
}

/** The same for what is known of an object; `etag` is undefined where something else has changed it. */
const demandOf = (
  found: { readonly etag: string | undefined } | undefined,
  { ifMatch, ifNoneMatch }: WriteCondition,
): void => {
  if (ifNoneMatch !== undefined && found !== undefined) {
    throw refuse("AlreadyExists", `there is one already, its etag is "${found.etag ?? "unknown"}"`)
  }
  if (ifMatch === undefined) return
  if (found === undefined) throw refuse("PreconditionFailed", `there is no such object, ifMatch asks for "${ifMatch}"`)
  if (found.etag === undefined) {
    throw refuse("PreconditionFailed", `it was changed outside Holdfast, ifMatch asks for "${ifMatch}"`)
  }
  demandEtag(found.etag, ifMatch)
}

/** Fails unless `etag` is the one asked for. */
export const demandEtag = (etag: string, ifMatch: string): void => {
  if (etag !== ifMatch) throw refuse("PreconditionFailed", `its etag is "${etag}", ifMatch asks for "${ifMatch}"`)
}

/** Fails if a condition names a weak etag, which cannot guard anything. */
export const refuseWeak = (...etags: ReadonlyArray<string | undefined>): void => {
  if (etags.some((etag) => etag?.startsWith("W/"))) {
    throw refuse("InvalidInput", "ifMatch has the weak etag of a file that Holdfast did not write", {
      hint: "save the object again through Holdfast; then its etag can be used for ifMatch",
    })
  }
}

const etagOf = (stat: BigIntStats, record: WriteRecord): string => record.writeId ?? `W/"${stat.size}-${stat.mtimeMs}"`

/** What a caller gets to know of a file and its record. */
export const infoOf = (key: string, stat: BigIntStats, record: WriteRecord): ObjectInfo => ({
  key,
  size: Number(stat.size),
  etag: etagOf(stat, record),
  modified: new Date(Number(stat.mtimeMs)),
  contentType: record.contentType,
  metadata: { ...record.metadata },
  crc32: record.crc32,
  sha256: record.sha256,
  codec: record.codec,
  length: record.length,
  writeId: record.writeId,
})

/** The error for a file that something else has changed. */
export const changedOutside = (more?: { readonly key: string }): StoreError =>
  refuse("Corrupt", "the file was changed outside Holdfast since it was saved", {
    ...more,
    hint: "save it again through Holdfast, or restore file and .holdfast together from a backup",
  })

const damagedSidecar = (): Error =>
  refuse("Corrupt", "what .holdfast/meta records about it is damaged", {
    hint: "save it again through Holdfast, or restore .holdfast from a backup",
  })

const nestedUnder = (): Error =>
  refuse("Conflict", "there are objects below it", {
    hint: 'on disk "a" and "a/b" cannot both be objects; use another key, or remove those below',
  })
