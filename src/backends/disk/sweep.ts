/**
 * Removes what nobody will come back for: once per process, before its first write.
 *
 * - Uploads that are over, and those in which nothing has changed for a day. All of them are looked at.
 * - Sidecars without an object, left when a removal died half-way or something else removed the file. They are in
 *   nobody's way but take room, and finding them takes a look at every object; so each process looks at a few,
 *   from a random one on, which costs it some milliseconds and still gets through all of them in time.
 *
 * What a maintainer must keep: nothing is removed but under its lock, after a second look, and a lock that is not
 * free at once is left alone: whatever it guards is in use. Age is told by the time of the inode's last change,
 * which no restore from a backup can set back: what was just restored has its day too.
 *
 * Failures are left to the next sweep.
 *
 * @module
 */
import { lstat, readdir } from "node:fs/promises"
import { codeOf } from "./errors.ts"
import { keyHash } from "./format.ts"
import { privateFolder } from "./layout.ts"
import type { Root } from "./root.ts"
import { type Folder, openToReadIn } from "./safe-path.ts"
import { parseSidecar } from "./sidecar.ts"
import { isLeft, removeUpload, uploadIds } from "./upload-folder.ts"

/** How long what may still be wanted is kept, in milliseconds: a day, so that who was off over night can go on. */
const keepFor = 24 * 60 * 60 * 1000

/** Most sidecars that one process looks at. */
const maxLooks = 8

const metaFolder = [privateFolder, "meta"] as const

/** Sweeps a root, as things are at `now`. */
export const sweep = async (root: Root, now: number): Promise<void> => {
  const since = now - keepFor
  for (const id of await uploadIds(root).catch(() => [])) await sweepUpload(root, id, since).catch(() => {})
  await sweepSidecars(root, since).catch(() => {})
}

const sweepUpload = async (root: Root, id: string, since: number): Promise<void> => {
  if (!await isLeft(root, id, since)) return
  await root.uploadLocks.tryHold(await root.shard(id), async () => {
    if (await isLeft(root, id, since)) await removeUpload(root, id)
  })
}

const sweepSidecars = async (root: Root, since: number): Promise<void> => {
  let looks = maxLooks
  for (const name of fromAnyOn(await namesIn(root, metaFolder))) {
    if (looks === 0) return
    looks -= await sweepMeta(root, [...metaFolder, name], looks, since).catch(() => 0)
  }
}

/** Looks at up to `looks` sidecars in a folder; says at how many. */
const sweepMeta = async (root: Root, names: ReadonlyArray<string>, looks: number, since: number): Promise<number> => {
  await using folder = await root.folders.open(names)
  const some = fromAnyOn(await readdir(folder.at("."))).slice(0, looks)
  for (const name of some) await sweepSidecar(root, folder, name, since).catch(() => {})
  return some.length
}

/** Removes a sidecar if it is old and its object is not there. */
const sweepSidecar = async (root: Root, folder: Folder, name: string, since: number): Promise<void> => {
  const key = await keyOf(folder, name, since)
  if (key === undefined || await hasFile(root, key)) return
  // A commit writes the sidecar first, under this lock.
  await root.locks.tryHold(await root.shard(key), async () => {
    if (!await hasFile(root, key)) await root.removeSidecar(key)
  })
}

/** Whose sidecar a file is; `undefined` if it is not an old and sound one. */
const keyOf = async (folder: Folder, name: string, since: number): Promise<string | undefined> => {
  const handle = await openToReadIn(folder, name)
  try {
    if ((await handle.stat()).ctimeMs >= since) return undefined
    const key = parseSidecar(await handle.readFile("utf8"))?.key
    return key !== undefined && name === `${keyHash(key)}.json` ? key : undefined
  } finally {
    await handle.close()
  }
}

/** Whether there is anything in an object's place. */
const hasFile = async (root: Root, key: string): Promise<boolean> => {
  const place = await root.place(key)
  try {
    await using folder = await root.folders.open(place.folders)
    await lstat(folder.at(place.name))
    return true
  } catch (error) {
    if (codeOf(error) === "ENOENT" || codeOf(error) === "ENOTDIR") return false
    throw error
  }
}

const namesIn = async (root: Root, names: ReadonlyArray<string>): Promise<ReadonlyArray<string>> => {
  await using folder = await root.folders.open(names)
  return await readdir(folder.at("."))
}

/** The same in a circle, from a random one on. */
const fromAnyOn = <A>(all: ReadonlyArray<A>): ReadonlyArray<A> => {
  const start = Math.floor(Math.random() * all.length)
  return [...all.slice(start), ...all.slice(0, start)]
}
