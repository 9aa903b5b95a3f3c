/**
 * Folders that survive a power cut.
 *
 * A file is only as durable as the entries that lead to it. So a folder that is made here is made durable in its
 * parent before anything is put in it, and one that was found is trusted only after its whole chain was synced
 * once by this process: whoever made it may have died before doing so.
 *
 * @module
 */
import { chmod, lstat, mkdir, readdir, rmdir, unlink } from "node:fs/promises"
import { dirname, join, sep } from "node:path"
import { codeOf, refuse } from "./errors.ts"
import { type Folder, linked, modeBits, openFolder, openFolderIn, privateFolderMode } from "./safe-path.ts"

/** How often a folder that others remove as fast as it is made is made again. */
const maxRounds = 50

/** Most folders remembered as durable; a forgotten one costs a sync. */
const maxRemembered = 10_000

/** What a file system answers that cannot sync a folder. Windows: `EPERM`, `EISDIR` or `EBADF`. */
const unsupported: ReadonlySet<string> = new Set(["ENOTSUP", "EOPNOTSUPP", "EINVAL", "ENOSYS"])
const unsupportedOnWindows: ReadonlySet<string> = new Set(["EPERM", "EISDIR", "EBADF", "EACCES"])

interface Waiting {
  readonly done: Promise<void>
}

/** Makes, opens and syncs the folders of one root. */
export class Folders {
  /** Whether the file system has refused to sync a folder: then a new file's name may not survive a power cut. */
  syncUnsupported = false

  readonly #root: string
  readonly #durable = new Map<string, string>()
  readonly #syncing = new Map<string, { readonly running: Promise<void>; next: Waiting | undefined }>()

  constructor(root: string) {
    this.#root = root
  }

  /** Where the folder with these names is. */
  pathOf(names: ReadonlyArray<string>): string {
    return names.length === 0 ? this.#root : join(this.#root, ...names)
  }

  /** Opens a folder of the root. Missing: `ENOENT`. */
  open(names: ReadonlyArray<string>): Promise<Folder> {
    return openFolder(this.#root, this.pathOf(names))
  }

  /** Opens a folder of the root; it is there for good, with all folders above it. */
  ensure(names: ReadonlyArray<string>): Promise<Folder> {
    return this.#ensure(this.pathOf(names))
  }

  /** Removes a folder that holds nothing but files. One that is not there is removed already. */
  async removeWithFiles(names: ReadonlyArray<string>): Promise<void> {
    try {
      await using folder = await this.open(names)
      for (const file of await readdir(folder.at("."))) await unlink(folder.at(file))
    } catch (error) {
      if (codeOf(error) === "ENOENT") return
      throw error
    }
    await using parent = await this.open(names.slice(0, -1))
    await rmdir(parent.at(names.at(-1)!))
  }

  async #ensure(path: string): Promise<Folder> {
    for (let round = 0; round < maxRounds; round++) {
      const folder = await this.#openOrMake(path)
      if (folder === undefined) continue
      if (path.length <= this.#root.length || this.#durable.get(path) === identity(folder)) return folder
      try {
        await using parent = await this.#ensure(dirname(path))
        await this.sync(parent)
      } catch (error) {
        await folder[Symbol.asyncDispose]()
        throw error
      }
      this.#remember(folder)
      return folder
    }
    throw refuse("Unavailable", "its folder was removed again and again while it was made", { transient: true })
  }

  async #openOrMake(path: string): Promise<Folder | undefined> {
    try {
      return await openFolder(this.#root, path)
    } catch (error) {
      if (codeOf(error) !== "ENOENT" || dirname(path) === path) throw error
    }
    await using parent = await this.#ensure(dirname(path))
    const name = path.slice(path.lastIndexOf(sep) + 1)
    let made = true
    try {
      await mkdir(parent.at(name), privateFolderMode)
    } catch (error) {
      if (codeOf(error) === "ENOENT") return undefined
      if (codeOf(error) !== "EEXIST") throw error
      made = false
    }
    const folder = await this.#openMade(parent, name)
    if (folder === undefined || !made) return folder
    try {
      if ((Number(folder.stat.mode) & modeBits) !== privateFolderMode) await folder.handle.chmod(privateFolderMode)
      await this.sync(parent)
    } catch (error) {
      await folder[Symbol.asyncDispose]()
      throw error
    }
    this.#remember(folder)
    return folder
  }

  async #openMade(parent: Folder, name: string): Promise<Folder | undefined> {
    try {
      return await openFolderIn(parent, name)
    } catch (error) {
      const code = codeOf(error)
      if (code === "ENOENT") return undefined
      const found = await lstat(parent.at(name))
      if (found.isSymbolicLink()) throw linked(join(parent.path, name))
      // A umask that takes the owner's rights away has closed the folder to us.
      if (code !== "EACCES" || !found.isDirectory() || (found.mode & 0o700) === 0o700) throw error
      await chmod(parent.at(name), privateFolderMode)
      return await openFolderIn(parent, name)
    }
  }

  /**
   * Makes the entries of a folder durable. Calls that wait for a running sync of the same folder share the next
   * one: it began after each of their changes.
   */
  async sync(folder: Folder): Promise<void> {
    const id = identity(folder)
    const before = this.#syncing.get(id)
    if (before === undefined) {
      const running = this.#syncNow(folder)
      const entry = { running, next: undefined }
      this.#syncing.set(id, entry)
      try {
        return await running
      } finally {
        if (this.#syncing.get(id) === entry) this.#syncing.delete(id)
      }
    }
    before.next ??= { done: before.running.then(ignore, ignore).then(() => this.sync(folder)) }
    return await before.next.done
  }

  async #syncNow(folder: Folder): Promise<void> {
    if (this.syncUnsupported) return
    try {
      await folder.handle.sync()
    } catch (error) {
      const code = codeOf(error) ?? ""
      const windows = process.platform === "win32" && unsupportedOnWindows.has(code)
      if (!unsupported.has(code) && !windows) throw error
      this.syncUnsupported = true
    }
  }

  #remember(folder: Folder): void {
    if (this.#durable.size >= maxRemembered) this.#durable.clear()
    this.#durable.set(folder.path, identity(folder))
  }
}

const ignore = (): void => {}

/** Tells a folder from a later one with the same path, even if it got the same inode. */
const identity = ({ stat }: Folder): string => `${stat.dev}:${stat.ino}:${stat.birthtimeNs}`
