/**
 * Opens files and folders, and is certain where they are.
 *
 * `O_NOFOLLOW` guards only the last name of a path; a folder on the way that is, or becomes, a symbolic link
 * would lead out of the root. So nothing is believed about a path. A file is opened first, and then the kernel
 * is asked where the opened thing is (`/proc/self/fd`); changes are made through the handle of a folder that was
 * checked so, and a link swapped in later cannot redirect them.
 *
 * Where the kernel cannot be asked (macOS, Windows, Deno without `--allow-all`) the path is resolved again after
 * the open and the inodes are compared. That stops every standing link, but not one that is swapped to and fro
 * within a call.
 *
 * @module
 */
import { type BigIntStats, constants, fstatSync, readlinkSync } from "node:fs"
import { type FileHandle, lstat, open, realpath } from "node:fs/promises"
import { dirname, sep } from "node:path"
import { codeOf, refuse } from "./errors.ts"

// Windows has none of these; there they are no-ops.
const noFollow = constants.O_NOFOLLOW ?? 0
const directory = constants.O_DIRECTORY ?? 0
/** Opening a FIFO must not wait for its other end. */
const noWait = constants.O_NONBLOCK ?? 0

/** How often something that moves while it is looked at is looked at again. */
const maxRounds = 8

/** An open folder that is where its path says. Close it. */
export interface Folder {
  readonly path: string
  readonly handle: FileHandle
  readonly stat: BigIntStats
  /** The path by which to reach `name` in this folder, wherever the folder's own path may lead by then. */
  readonly at: (name: string) => string
  [Symbol.asyncDispose](): Promise<void>
}

/** An open regular file that was found where its path says. */
export interface OpenFile {
  readonly handle: FileHandle
  readonly stat: BigIntStats
}

let asksKernel: boolean | undefined

/** Whether the kernel can be asked where an open file is. */
const kernelKnows = (handle: FileHandle): boolean => {
  if (asksKernel === undefined) {
    try {
      readlinkSync(`/proc/self/fd/${handle.fd}`)
      asksKernel = true
    } catch {
      asksKernel = false
    }
  }
  return asksKernel
}

type Whereabouts = "there" | "removed" | "elsewhere"

const whereIs = async (handle: FileHandle, stat: BigIntStats, path: string): Promise<Whereabouts> => {
  if (kernelKnows(handle)) {
    const actual = readlinkSync(`/proc/self/fd/${handle.fd}`)
    return actual === path ? "there" : actual === `${path} (deleted)` ? "removed" : "elsewhere"
  }
  try {
    if (await realpath(path) !== path) return "elsewhere"
    const now = await lstat(path, { bigint: true })
    return now.ino === stat.ino && now.dev === stat.dev ? "there" : "removed"
  } catch (error) {
    if (codeOf(error) === "ENOENT") return "removed"
    throw error
  }
}

/** Opens the folder at `path`, which holds no link from the root down. Missing: `ENOENT`. */
export const openFolder = async (root: string, path: string): Promise<Folder> => {
  for (let round = 0; round < maxRounds; round++) {
    const handle = await explained(root, path, () => open(path, constants.O_RDONLY | directory | noFollow))
    try {
      const folder = await checkedFolder(handle, path)
      if (folder !== undefined) return folder
    } catch (error) {
      await handle.close()
      throw error
    }
    await handle.close()
    await refuseLinks(root, path)
  }
  throw restless()
}

/** The folder behind `handle` if it is at `path`; otherwise `handle` is still the caller's to close. */
export const checkedFolder = async (handle: FileHandle, path: string): Promise<Folder | undefined> => {
  const stat = fstatSync(handle.fd, { bigint: true })
  if (await whereIs(handle, stat, path) !== "there") return undefined
  const base = kernelKnows(handle) ? `/proc/self/fd/${handle.fd}` : path
  return {
    path,
    handle,
    stat,
    at: (name) => `${base}/${name}`,
    [Symbol.asyncDispose]: () => handle.close(),
  }
}

/** Opens the folder `name` of an open folder; `undefined` if it was gone again or elsewhere at once. */
export const openFolderIn = async (parent: Folder, name: string): Promise<Folder | undefined> => {
  const handle = await open(parent.at(name), constants.O_RDONLY | directory | noFollow)
  try {
    const folder = await checkedFolder(handle, `${parent.path === sep ? "" : parent.path}${sep}${name}`)
    if (folder === undefined) await handle.close()
    return folder
  } catch (error) {
    await handle.close()
    throw error
  }
}

/**
 * Opens a regular file to read it. Missing, or a folder: `ENOENT`. A file that was replaced or removed right
 * after the open counts as found: it was there.
 */
export const openToRead = async (root: string, path: string): Promise<OpenFile> => {
  for (let round = 0; round < maxRounds; round++) {
    const handle = await explained(root, path, () => open(path, constants.O_RDONLY | noFollow | noWait))
    try {
      const stat = fstatSync(handle.fd, { bigint: true })
      const where = await whereIs(handle, stat, path)
      // Without the kernel's word, "removed" may as well mean that a link was in the path.
      if (where === "there" || (where === "removed" && kernelKnows(handle))) {
        if (stat.isDirectory()) throw notThere(path)
        if (!stat.isFile()) throw irregular()
        return { handle, stat }
      }
    } catch (error) {
      await handle.close()
      throw error
    }
    await handle.close()
    // Moved meanwhile, which is no fault; or reached through a link, which is.
    await refuseLinks(root, path)
  }
  throw restless()
}

/** Opens a file of a folder to read it, whatever becomes of its name. */
export const openToReadIn = (folder: Folder, name: string): Promise<FileHandle> =>
  open(folder.at(name), constants.O_RDONLY | noFollow | noWait)

/** Opens a file of a folder to write in it, where it is. */
export const openToWriteIn = async (folder: Folder, name: string): Promise<FileHandle> => {
  const handle = await open(folder.at(name), constants.O_RDWR | noFollow | noWait)
  if (fstatSync(handle.fd).isFile()) return handle
  await handle.close()
  throw irregular()
}

/** Makes a file of a folder, to be written; it must not exist. Its mode may lack what the umask takes. */
export const createIn = (folder: Folder, name: string): Promise<FileHandle> =>
  open(folder.at(name), constants.O_RDWR | constants.O_CREAT | constants.O_EXCL | noFollow, privateFile)

/** Gives a file of ours mode 0600 whatever the umask is, and says what it is like. */
export const finish = async (handle: FileHandle): Promise<BigIntStats> => {
  const stat = fstatSync(handle.fd, { bigint: true })
  if ((Number(stat.mode) & modeBits) !== privateFile) await handle.chmod(privateFile)
  return stat
}

/** The same, and makes its content durable. */
export const seal = async (handle: FileHandle): Promise<BigIntStats> => {
  const stat = await finish(handle)
  await handle.sync()
  return stat
}

/** Read and written by their owner only, since nothing is known about who may see what is saved. */
export const privateFile = 0o600
export const privateFolderMode = 0o700
export const modeBits = 0o7777

/** The error for something at a key that is neither file nor folder nor link. */
export const irregular = (): Error =>
  refuse("Unsupported", "there is a device, a FIFO or a socket in its place, not a regular file", {
    hint: "use another key, or remove what is there",
  })

/** The error for a symbolic link at or above a key. */
export const linked = (path: string): Error =>
  refuse("Forbidden", `${JSON.stringify(path)} is a symbolic link`, {
    hint: "the disk backend follows no links below its root; replace the link by a real file or folder",
  })

const restless = (): Error =>
  refuse("Unavailable", "its folder was moved again and again while it was opened", { transient: true })

const notThere = (path: string): Error => Object.assign(new Error(`ENOENT: ${path}`), { code: "ENOENT" })

/** Runs `run`; if it fails because of what a path leads through, says so rather than what came of it. */
const explained = async <A>(root: string, path: string, run: () => Promise<A>): Promise<A> => {
  try {
    return await run()
  } catch (error) {
    const code = codeOf(error)
    if (code === "ENOENT" || code === "ENOTDIR" || code === "ELOOP") await refuseLinks(root, path)
    throw error
  }
}

/** Fails if `path`, or a folder between the root and it, is a symbolic link. */
const refuseLinks = async (root: string, path: string): Promise<void> => {
  const ways: Array<string> = []
  for (let way = path; way.length > root.length; way = dirname(way)) ways.push(way)
  for (const way of ways.reverse()) {
    try {
      if ((await lstat(way)).isSymbolicLink()) throw linked(way)
    } catch (error) {
      if (codeOf(error) === "ENOENT" || codeOf(error) === "ENOTDIR") return
      throw error
    }
  }
}
