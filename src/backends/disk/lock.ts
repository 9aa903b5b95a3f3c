/**
 * Locks between processes that the kernel releases when a process dies.
 *
 * `node:fs` has no file locks, but SQLite does, in every runtime: `BEGIN EXCLUSIVE` on an empty database takes
 * one and `ROLLBACK` gives it back, and no byte is ever written. Three things a maintainer must keep:
 *
 * - Only `node:sqlite` opens a file in `lock/`. POSIX drops all locks a process has on a file when the process
 *   closes any handle of it, so a copy or a checksum of a lock file would silently unlock it.
 * - Connections are strongly referenced while they are in use: Bun's collector closes one it can.
 * - A lock on a file that has been replaced protects nothing, so the inode is compared after locking.
 *
 * Within a process a lock is first come, first served; SQLite is asked only by the first of them.
 *
 * @module
 */
import { accessSync, chmodSync, closeSync, constants, openSync, statSync, unlinkSync } from "node:fs"
import { DatabaseSync } from "node:sqlite"
import { codeOf, refuse } from "./errors.ts"
import { privateFile } from "./safe-path.ts"

/** Pauses between attempts to get a lock that another process has, in milliseconds. */
const firstPause = 1
const maxPause = 25

/** A lock of the operating system on the file at a path. */
export class FileLock {
  readonly path: string
  #connection: DatabaseSync | undefined
  #inode: string | undefined
  #quiet = false

  constructor(path: string) {
    this.path = path
  }

  /** Takes the lock if nobody has it. */
  tryLock(): boolean {
    // A second round only if the file was replaced between being opened and being locked.
    for (let round = 0; round < 3; round++) {
      const connection = this.#connection ??= this.#connect()
      try {
        // Without this each lock makes and removes a journal file, four times the cost, and a kill leaves one.
        if (!this.#quiet) connection.exec("PRAGMA journal_mode = MEMORY")
        this.#quiet = true
        connection.exec("BEGIN EXCLUSIVE")
      } catch (error) {
        if (isBusy(error)) return false
        this.close()
        throw unusable(error, this.path)
      }
      if (inodeOf(this.path) === this.#inode) return true
      this.close()
    }
    return false
  }

  unlock(): void {
    try {
      this.#connection?.exec("ROLLBACK")
    } catch {
      // The lock goes with the connection.
      this.close()
    }
  }

  #makeAccessible(): void {
    try {
      chmodSync(this.path, privateFile)
    } catch (error) {
      // Swept by another process, for which it was a dead owner's.
      if (codeOf(error) !== "ENOENT") throw error
    }
  }

  /** Takes the file away, while it is locked, so that nobody can lock it in vain. */
  remove(): void {
    try {
      unlinkSync(this.path)
    } catch (error) {
      if (codeOf(error) !== "ENOENT") throw error
    }
  }

  /** Gives everything back, the lock included. */
  close(): void {
    const connection = this.#connection
    this.#connection = undefined
    this.#quiet = false
    connection?.close()
  }

  #connect(): DatabaseSync {
    // SQLite does not say which inode it opened, so the path must show the same one before and after.
    for (let round = 0;; round++) {
      const before = inodeOf(this.path)
      let connection: DatabaseSync
      try {
        connection = new DatabaseSync(this.path, { timeout: 0 })
      } catch (error) {
        // Made by a process whose umask took the owner's rights away.
        if (round > 0 || before === undefined) throw unusable(error, this.path)
        this.#makeAccessible()
        continue
      }
      if (before !== undefined && inodeOf(this.path) === before) {
        this.#inode = before
        return connection
      }
      connection.close()
      if (before === undefined) this.#makeAccessible()
      if (round > 10) throw unusable(new Error("its file is replaced again and again"), this.path)
    }
  }
}

const inodeOf = (path: string): string | undefined => {
  const stat = statSync(path, { bigint: true, throwIfNoEntry: false })
  return stat === undefined ? undefined : `${stat.dev}:${stat.ino}`
}

/** SQLITE_BUSY; Deno gives no number. */
const isBusy = (error: unknown): boolean => {
  const { errcode, message } = error as { errcode?: number; message?: string }
  return errcode === undefined ? /database is locked/.test(message ?? "") : (errcode & 0xff) === 5
}

/** Why a lock cannot be used: in the words of the operating system, where they can be had. */
const unusable = (cause: unknown, path: string): unknown => {
  // SQLite says "unable to open database file" to a full table of descriptors, a missing folder, a read-only disk.
  const probe = `${path}.probe-${process.pid}`
  try {
    closeSync(openSync(probe, "wx", privateFile))
    unlinkSync(probe)
    accessSync(path, constants.R_OK | constants.W_OK)
  } catch (known) {
    return known
  }
  return refuse("Unavailable", `a lock cannot be taken: ${(cause as Error).message}`, {
    transient: true,
    hint: "check that the store is on a local disk, and that .holdfast/lock is writable",
    cause,
  })
}

/** One lock for all callers in this process: first come, first served, then the file's. */
class Shard {
  readonly file: FileLock
  readonly #waiting: Array<() => void> = []
  #held = false

  constructor(path: string) {
    this.file = new FileLock(path)
  }

  async lock(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    if (this.#held) await this.#turn(signal)
    this.#held = true
    try {
      for (let pause = firstPause; !this.file.tryLock(); pause = Math.min(pause * 1.5, maxPause)) {
        await sleep(pause * (0.5 + Math.random() / 2), signal)
      }
    } catch (error) {
      this.#next()
      throw error
    }
  }

  /** Takes the lock if nobody has it. */
  tryLock(): boolean {
    if (this.#held || !this.file.tryLock()) return false
    this.#held = true
    return true
  }

  unlock(): void {
    this.file.unlock()
    this.#next()
  }

  #next(): void {
    const next = this.#waiting.shift()
    // The next one has it from now on, even before it runs.
    if (next === undefined) this.#held = false
    else next()
  }

  #turn(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const go = (): void => {
        signal.removeEventListener("abort", stop)
        resolve()
      }
      const stop = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(go), 1)
        reject(signal.reason)
      }
      this.#waiting.push(go)
      signal.addEventListener("abort", stop, { once: true })
    })
  }
}

const sleep = (milliseconds: number, signal: AbortSignal): Promise<void> =>
  new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason)
    const wake = (): void => {
      signal.removeEventListener("abort", stop)
      resolve()
    }
    const stop = (): void => {
      clearTimeout(timer)
      reject(signal.reason)
    }
    const timer = setTimeout(wake, milliseconds)
    signal.addEventListener("abort", stop, { once: true })
  })

/** The shard locks of one kind in one root. */
export class Locks {
  readonly #path: string
  readonly #shards = new Map<number, Shard>()

  /** Their files' names are numbers after `prefix`. */
  constructor(folder: string, prefix = "") {
    this.#path = `${folder}/${prefix}`
  }

  /**
   * Runs `body` while holding the locks of `shards`. The wait can be aborted; `body`, once begun, is not.
   * Locks are taken in ascending order, each once, so that no two holders can wait for each other.
   */
  async hold<A>(shards: ReadonlyArray<number>, signal: AbortSignal, body: () => Promise<A>): Promise<A> {
    const held: Array<Shard> = []
    try {
      for (const number of [...new Set(shards)].sort((a, b) => a - b)) {
        const shard = this.#shard(number)
        await shard.lock(signal)
        held.push(shard)
      }
      return await body()
    } finally {
      for (const shard of held.reverse()) shard.unlock()
    }
  }

  /** Runs `body` while holding the lock of a shard, unless somebody else has it. */
  async tryHold(number: number, body: () => Promise<void>): Promise<void> {
    const shard = this.#shard(number)
    if (!shard.tryLock()) return
    try {
      await body()
    } finally {
      shard.unlock()
    }
  }

  #shard(number: number): Shard {
    let shard = this.#shards.get(number)
    if (shard === undefined) this.#shards.set(number, shard = new Shard(`${this.#path}${number}`))
    return shard
  }

  /** Closes all connections. Nobody may hold or wait for a lock any more. */
  close(): void {
    for (const shard of this.#shards.values()) shard.file.close()
    this.#shards.clear()
  }
}
