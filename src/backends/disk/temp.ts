/**
 * Files on their way to becoming objects, and what is left of them when a process dies.
 *
 * Each process has a folder of its own in `tmp/`, and holds a lock for as long as it lives. The lock is there
 * before the folder can be seen, so a folder whose lock can be taken, or is gone, belongs to nobody: only then is
 * it swept.
 *
 * @module
 */
import { randomBytes } from "node:crypto"
import { type BigIntStats, fstatSync } from "node:fs"
import { type FileHandle, readdir, rename, rmdir, unlink } from "node:fs/promises"
import { refuse } from "./errors.ts"
import type { Folders } from "./folders.ts"
import { privateFolder } from "./layout.ts"
import { FileLock } from "./lock.ts"
import { createIn, finish, type Folder, seal } from "./safe-path.ts"

const tempFolder = [privateFolder, "tmp"] as const
const ownerLock = "owner-"

/**
 * Bytes of one write. Linux takes page cache in pieces as large as the write, and large pieces are the ones that a
 * virtual machine has given back to its host: writes of 256 KiB and more cost up to four times as much there
 * (docs/architecture.md).
 */
const biteSize = 64 * 1024

/** Bites under way at once: the next one is at hand when the one before is done. Four were no faster. */
const bitesInFlight = 2

/** Writes all of `bytes` at `position`, in bites. When it rejects, none is under way any more. */
export const writeAll = async (handle: FileHandle, bytes: Uint8Array, position: number): Promise<void> => {
  let next = 0
  const lane = async (): Promise<void> => {
    while (next < bytes.length) {
      let done = next
      const end = next = Math.min(bytes.length, done + biteSize)
      try {
        while (done < end) {
          const { bytesWritten } = await handle.write(bytes, done, end - done, position + done)
          if (bytesWritten === 0) throw refuse("Unavailable", "the operating system accepts no more bytes")
          done += bytesWritten
        }
      } catch (error) {
        next = bytes.length
        throw error
      }
    }
  }
  const lanes = Array.from({ length: Math.min(bitesInFlight, Math.ceil(bytes.length / biteSize)) }, lane)
  // Whoever is told of a failure closes the file, and its number is soon another file's.
  for (const ended of await Promise.allSettled(lanes)) if (ended.status === "rejected") throw ended.reason
}

/** A file that nobody sees yet. It is renamed into place, or discarded. */
export class TempFile {
  readonly handle: FileHandle
  readonly #path: string
  #open = true
  #there = true

  constructor(handle: FileHandle, path: string) {
    this.handle = handle
    this.#path = path
  }

  /** Writes all of `bytes` at `position`. */
  write(bytes: Uint8Array, position: number): Promise<void> {
    return writeAll(this.handle, bytes, position)
  }

  /** Says what the file is like. Its content is not durable yet: the commit is to make it so. */
  finish(): Promise<BigIntStats> {
    return finish(this.handle)
  }

  /** Makes the content durable and says what the file is like then. A failed one must be discarded, never synced again. */
  seal(): Promise<BigIntStats> {
    return seal(this.handle)
  }

  /** Closes the file; its content stays. */
  async close(): Promise<void> {
    if (!this.#open) return
    this.#open = false
    await this.handle.close()
  }

  /** Gives the file its name. */
  async moveTo(path: string): Promise<void> {
    await rename(this.#path, path)
    this.#there = false
  }

  /** Closes the file, and removes it unless it got its name. */
  async discard(): Promise<void> {
    try {
      await this.close()
    } finally {
      if (this.#there) {
        this.#there = false
        await unlink(this.#path).catch(() => {})
      }
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.discard()
  }
}

/** This process's folder for temporary files in one root. */
export class Temps {
  readonly folder: Folder
  readonly #lock: FileLock
  #made = 0
  #released = false

  private constructor(folder: Folder, lock: FileLock) {
    this.folder = folder
    this.#lock = lock
  }

  /** Makes the folder, after its lock. */
  static async claim(folders: Folders): Promise<Temps> {
    const locks = folders.pathOf([privateFolder, "lock"])
    await (await folders.ensure([privateFolder, "lock"]))[Symbol.asyncDispose]()
    for (let round = 0; round < 10; round++) {
      const owner = randomBytes(8).toString("hex")
      const lock = new FileLock(`${locks}/${ownerLock}${owner}`)
      // Not ours only if a sweep took the lock file for a dead owner's before it was locked.
      if (!lock.tryLock()) {
        lock.close()
        continue
      }
      try {
        return new Temps(await folders.ensure([...tempFolder, owner]), lock)
      } catch (error) {
        lock.remove()
        lock.close()
        throw error
      }
    }
    throw refuse("Unavailable", "no lock for temporary files can be taken", { transient: true })
  }

  /** Whether the folder can be used: it was not given up, and nobody has removed it. */
  get there(): boolean {
    return !this.#released && fstatSync(this.folder.handle.fd).nlink > 0
  }

  /** A new file to write. */
  async create(): Promise<TempFile> {
    const name = String(++this.#made)
    return new TempFile(await createIn(this.folder, name), this.folder.at(name))
  }

  /** Gives the folder up; it goes if it is empty, as it is when every save has ended. */
  async release(folders: Folders): Promise<void> {
    this.#released = true
    try {
      await this.folder[Symbol.asyncDispose]()
      await removeFolder(folders, this.folder.path.slice(-16))
      this.#lock.remove()
    } catch {
      // What is left is swept by the next process.
    } finally {
      this.#lock.close()
    }
  }

  /** Removes what dead processes have left. Failures are left to the next sweep. */
  async sweep(folders: Folders): Promise<void> {
    const own = this.folder.path.slice(-16)
    const locks = folders.pathOf([privateFolder, "lock"])
    // Folders first: the lock of each was there before it, so one that has none by now is a dead owner's.
    const names = await readdir(folders.pathOf(tempFolder))
    const owners = new Set((await readdir(locks)).filter((name) => name.startsWith(ownerLock)))
    for (const name of names) {
      if (!owners.has(`${ownerLock}${name}`)) await folders.removeWithFiles([...tempFolder, name]).catch(() => {})
    }
    for (const lockName of owners) {
      const name = lockName.slice(ownerLock.length)
      if (name === own) continue
      const lock = new FileLock(`${locks}/${lockName}`)
      try {
        if (!lock.tryLock()) continue
        await folders.removeWithFiles([...tempFolder, name])
        lock.remove()
      } catch {
        // Another user's, perhaps.
      } finally {
        lock.close()
      }
    }
  }
}

const removeFolder = async (folders: Folders, name: string): Promise<void> => {
  await using parent = await folders.open(tempFolder)
  await rmdir(parent.at(name))
}
