/**
 * The moment at which a save, a removal or a move happens.
 *
 * A commit, under the key's lock: check the condition; write a sidecar that holds the record of the file that is
 * there and of the one to come, durably; rename the new file, durable by then, over the old one; make that durable. The rename
 * alone decides. Before it readers match the old record, after it the new one, and a process that dies anywhere
 * leaves one of these two states, so there is no recovery step.
 *
 * Once the sidecar is being written nothing here can be interrupted.
 *
 * @module
 */
import { type BigIntStats, fstatSync } from "node:fs"
import { rename, rmdir, unlink } from "node:fs/promises"
import type { CopyOptions, ObjectInfo, WriteCondition } from "../../backend.ts"
import { StoreError } from "../../error.ts"
import { ambiguously, codeOf, missing, refuse } from "./errors.ts"
import type { Place } from "./layout.ts"
import { changedOutside, contentCrcIn, demand, demandEtag, infoOf, inspect, refuseWeak } from "./object.ts"
import type { Root } from "./root.ts"
import type { Folder } from "./safe-path.ts"
import { fileFacts, type WriteRecord } from "./sidecar.ts"
import type { TempFile } from "./temp.ts"

/** How often the folder of a file is made again when others remove it because it is empty. */
const maxRounds = 50

/** What a new object's record says beyond what its file shows. */
export type RecordHead = Pick<
  WriteRecord,
  "writeId" | "crc32" | "sha256" | "codec" | "length" | "contentType" | "metadata"
>

/**
 * Makes `temp` the object `key`. Its content is durable, or small and `flush` says that it is not: then it is made so
 * beside the sidecar, since a file system flushes two files in hardly more time than one.
 */
export const commit = async (
  root: Root,
  key: string,
  { temp, stat, head, condition, flush = false }: {
    readonly temp: TempFile
    readonly stat: BigIntStats
    readonly head: RecordHead
    readonly condition: WriteCondition
    readonly flush?: boolean | undefined
  },
  signal: AbortSignal,
): Promise<ObjectInfo> => {
  refuseWeak(condition.ifMatch)
  const place = await root.place(key)
  const shard = await root.shard(key)
  await root.recordLong(place)
  const next: WriteRecord = { ...head, ...fileFacts(stat) }
  await intoFolder(root, place, signal, (folder) =>
    root.locks.hold([shard], signal, async () => {
      if (!isThere(folder)) return undefined
      const live = await inspect(root, key, folder, place.name, signal)
      demand(live, condition)
      const written = root.writeSidecar({ key, current: live?.record, next })
      // Both to their end, also when one fails: nothing may go on with a file that is about to be discarded.
      for (const result of await Promise.allSettled(flush ? [written, temp.handle.sync()] : [written])) {
        if (result.status === "rejected") throw result.reason
      }
      return await renamed(root, [folder], () => temp.moveTo(folder.at(place.name)))
    }))
  return infoOf(key, stat, next)
}

/**
 * Runs `run` with the folder of `place`, made if need be, until it has an answer: it has none when the folder was
 * removed, being empty, before it could be used.
 */
const intoFolder = async <A>(
  root: Root,
  place: Place,
  signal: AbortSignal,
  run: (folder: Folder) => Promise<A | undefined>,
): Promise<A> => {
  try {
    for (let round = 0; round < maxRounds; round++) {
      signal.throwIfAborted()
      await using folder = await root.folders.ensure(place.folders)
      const result = await run(folder)
      if (result !== undefined) return result
    }
    throw refuse("Unavailable", "its folder was removed again and again while it was saved", { transient: true })
  } catch (error) {
    await removeEmptyFolders(root, place)
    throw error
  }
}

/** Renames, and makes it durable. `undefined`: a folder is gone, nothing has happened. */
const renamed = async (
  root: Root,
  folders: ReadonlyArray<Folder>,
  rename: () => Promise<void>,
): Promise<true | undefined> => {
  try {
    await rename()
  } catch (error) {
    if (codeOf(error) === "ENOENT") return undefined
    throw error
  }
  await ambiguously(() => Promise.all(folders.map((folder) => root.folders.sync(folder))))
  return true
}

/** Removes the object `key`, and the folders that are empty then. */
export const remove = async (
  root: Root,
  key: string,
  ifMatch: string | undefined,
  signal: AbortSignal,
): Promise<void> => {
  refuseWeak(ifMatch)
  const place = await root.place(key)
  if (!await mayExist(root, place)) return demand(undefined, { ifMatch })
  await root.writable()
  await root.locks.hold([await root.shard(key)], signal, async () => {
    await using folder = await openIfThere(root, place)
    const live = folder && await inspect(root, key, folder, place.name, signal).catch(ignoreNested)
    demand(live, { ifMatch })
    if (folder !== undefined && live !== undefined) {
      await unlink(folder.at(place.name))
      await ambiguously(() => root.folders.sync(folder))
    }
    await ambiguously(() => root.removeSidecar(key))
  })
  await removeEmptyFolders(root, place)
}

/** Objects below a key are no object at it. */
const ignoreNested = (error: unknown): undefined => {
  if (!StoreError.is(error) || error.reason !== "Conflict") throw error
}

/** Whether it takes a lock to tell that there is no object: in a root never written to, a look does. */
const mayExist = async (root: Root, place: Place): Promise<boolean> => {
  if (root.written) return true
  const folder = await openIfThere(root, place)
  await folder?.[Symbol.asyncDispose]()
  return folder !== undefined
}

const openIfThere = async (root: Root, place: Place): Promise<Folder | undefined> => {
  try {
    return await root.folders.open(place.folders)
  } catch (error) {
    if (codeOf(error) === "ENOENT" || codeOf(error) === "ENOTDIR") return undefined
    throw error
  }
}

/** Removes the folders of a place, from the last on up, as far as they are empty. One that stays does no harm. */
const removeEmptyFolders = async (root: Root, { folders }: Place): Promise<void> => {
  for (let depth = folders.length; depth > 0; depth--) {
    try {
      await using parent = await root.folders.open(folders.slice(0, depth - 1))
      await rmdir(parent.at(folders[depth - 1]!))
    } catch (error) {
      if (codeOf(error) !== "ENOENT") return
    }
  }
}

/** Renames the object `from` to `to`. At no time are both missing, and its bytes stay where they are on the disk. */
export const move = async (
  root: Root,
  from: string,
  to: string,
  { writeId, sourceIfMatch, ...condition }: CopyOptions,
  signal: AbortSignal,
): Promise<ObjectInfo> => {
  refuseWeak(condition.ifMatch, sourceIfMatch)
  const source = await root.place(from)
  const target = await root.place(to)
  if (!await mayExist(root, source)) throw missing({ key: from })
  await root.writable()
  await root.recordLong(target)
  const shards = [await root.shard(from), await root.shard(to)]
  const moved = await intoFolder(root, target, signal, (targetFolder) =>
    root.locks.hold(shards, signal, async () => {
      if (!isThere(targetFolder)) return undefined
      await using sourceFolder = await openIfThere(root, source)
      const live = sourceFolder && await inspect(root, from, sourceFolder, source.name, signal).catch(ignoreNested)
      if (sourceFolder === undefined || live === undefined) throw missing({ key: from })
      if (live.record === undefined) throw changedOutside({ key: from })
      if (sourceIfMatch !== undefined) demandEtag(infoOf(from, live.stat, live.record).etag, sourceIfMatch)
      const existing = from === to ? live : await inspect(root, to, targetFolder, target.name, signal)
      demand(existing, condition)
      const next: WriteRecord = {
        ...live.record,
        // As the file is now; after a restore that is not what was recorded.
        ...fileFacts(live.stat),
        writeId,
        crc32: live.record.crc32 ?? await contentCrcIn(root, sourceFolder, source.name, live.stat, signal),
      }
      const info = infoOf(to, live.stat, next)
      if (from === to) {
        // Only the write id changes, so replacing the sidecar is the commit.
        await root.writeSidecar({ key: to, next })
        return info
      }
      await root.writeSidecar({ key: to, current: existing?.record, next })
      const done = await renamed(root, [sourceFolder, targetFolder], () =>
        rename(sourceFolder.at(source.name), targetFolder.at(target.name)))
      if (done) {
        await ambiguously(() =>
          root.removeSidecar(from)
        )
      }
      return done && info
    }))
  if (from !== to) await removeEmptyFolders(root, source)
  return moved
}

/** Whether an open folder still has a name. One that has none may have a successor, which holds the object. */
const isThere = (folder: Folder): boolean => fstatSync(folder.handle.fd).nlink > 0
