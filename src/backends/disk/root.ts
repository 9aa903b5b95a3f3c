/**
 * One root folder in one process: its rules, locks, temporary files and sidecars.
 *
 * However many stores a process opens on a folder, there is one of these, found by the folder's real path: two
 * would each believe in their own view of which locks are free. It is closed with the last store.
 *
 * Nothing is made on disk until {@link Root.writable} is called for the first write.
 *
 * @module
 */
import type { BigIntStats } from "node:fs"
import { type FileHandle, lstat, realpath, stat, unlink } from "node:fs/promises"
import { dirname, join, resolve } from "node:path"
import { crc32 } from "../../streams/crc32.ts"
import { utf8Length } from "../../streams/utf8.ts"
import { codeOf, refuse } from "./errors.ts"
import { Folders } from "./folders.ts"
import { type Format, keyHash, readFormat, shardOf, writeFormat } from "./format.ts"
import { type Place, placeOf, privateFolder, sha256Hex } from "./layout.ts"
import { Locks } from "./lock.ts"
import { openToRead } from "./safe-path.ts"
import { formatSidecar, parseSidecar, type Sidecar } from "./sidecar.ts"
import { sweep } from "./sweep.ts"
import { Temps } from "./temp.ts"

/** Bytes read at once where a whole file is read through: measured, see docs/architecture.md. */
export const readSize: number = 1024 * 1024

/**
 * Longest path of a root in bytes. SQLite takes paths of up to 512 (`MAX_PATHNAME` in its `os_unix.c`), and the
 * names of locks and their journals need some of them.
 */
const maxRootBytes = 440

/** Most checksums of restored files kept, so that not each look at one reads it whole. */
const maxContents = 1000

export class Root {
  readonly path: string
  readonly folders: Folders
  /** One lock for many keys. */
  readonly locks: Locks
  /** One lock for many resumable uploads. Whoever needs one of each takes this first. */
  readonly uploadLocks: Locks
  #format: Format | undefined
  #ready: Promise<Temps> | undefined
  readonly #contents = new Map<string, number>()

  constructor(path: string) {
    this.path = path
    this.folders = new Folders(path)
    const folder = join(path, privateFolder, "lock")
    this.locks = new Locks(folder)
    this.uploadLocks = new Locks(folder, "upload-")
  }

  /** Whether the root is known to have been written to. */
  get written(): boolean {
    return this.#format !== undefined
  }

  /** The rules that hold here. */
  async format(): Promise<Format> {
    if (this.#format !== undefined) return this.#format
    const { format, written } = await readFormat(this.path)
    if (written) this.#format = format
    return format
  }

  /** Where the bytes of `key` belong. */
  async place(key: string): Promise<Place> {
    return placeOf(key, (await this.format()).names)
  }

  /** The number of the lock of a key, or of an upload's id. */
  async shard(name: string): Promise<number> {
    return shardOf(keyHash(name), await this.format())
  }

  /** Prepares the root for writing, once: what it needs is made, and what dead processes left is removed. */
  async writable(): Promise<Temps> {
    const ready = this.#ready ??= this.#prepare()
    const temps = await ready
    if (temps.there) return temps
    // Everything was removed behind our back, as by `rm -r`: start over.
    if (this.#ready === ready) {
      this.#ready = undefined
      this.#format = undefined
      await temps.release(this.folders)
    }
    return await this.writable()
  }

  async #prepare(): Promise<Temps> {
    let temps: Temps | undefined
    try {
      // Before anything is made: it may be a format that is not ours to write in.
      const { format, written } = await readFormat(this.path)
      temps = await Temps.claim(this.folders)
      this.#format = written ? format : await writeFormat(this.folders, temps.folder)
      await temps.sweep(this.folders)
      await sweep(this, Date.now())
      return temps
    } catch (error) {
      this.#ready = undefined
      await temps?.release(this.folders)
      throw error
    }
  }

  /** What is known of `key`: a sidecar; `"damaged"`; or `undefined`, if nothing of ours was ever there. */
  async readSidecar(key: string): Promise<Sidecar | "damaged" | undefined> {
    const [folders, name] = sidecarPlace(key)
    let handle: FileHandle
    try {
      handle = (await openToRead(this.path, join(this.folders.pathOf(folders), name))).handle
    } catch (error) {
      if (codeOf(error) === "ENOENT" || codeOf(error) === "ENOTDIR") return undefined
      throw error
    }
    try {
      return parseSidecar(await handle.readFile("utf8"), key) ?? "damaged"
    } finally {
      await handle.close()
    }
  }

  /** Replaces the sidecar of its key, durably. Call it under the key's lock. */
  async writeSidecar(sidecar: Sidecar): Promise<void> {
    const [folders, name] = sidecarPlace(sidecar.key)
    await this.writeDurably(folders, name, formatSidecar(sidecar))
  }

  /** Removes the sidecar of `key`. Not durably: what is left without its object means nothing. */
  async removeSidecar(key: string): Promise<void> {
    const [folders, name] = sidecarPlace(key)
    try {
      await using folder = await this.folders.open(folders)
      await unlink(folder.at(name))
    } catch (error) {
      if (codeOf(error) !== "ENOENT") throw error
    }
  }

  /** Writes down the segments that a key's names do not hold whole, before the first file with such a name. */
  async recordLong({ long }: Place): Promise<void> {
    for (const [hash, segment] of long) {
      if (await this.longSegment(hash) === undefined) await this.writeDurably(longFolder, hash, segment)
    }
  }

  /** The segment recorded under a hash. */
  async longSegment(hash: string): Promise<string | undefined> {
    try {
      const { handle } = await openToRead(this.path, join(this.folders.pathOf(longFolder), hash))
      try {
        const segment = await handle.readFile("utf8")
        return sha256Hex(segment) === hash ? segment : undefined
      } finally {
        await handle.close()
      }
    } catch (error) {
      if (codeOf(error) === "ENOENT" || codeOf(error) === "ENOTDIR") return undefined
      throw error
    }
  }

  /** Writes a file whole and durably, over the one that may be there; its folder is made if need be. */
  async writeDurably(folders: ReadonlyArray<string>, name: string, text: string): Promise<void> {
    const temps = await this.writable()
    await using temp = await temps.create()
    await temp.handle.writeFile(text)
    await temp.seal()
    await temp.close()
    await using folder = await this.folders.ensure(folders)
    await temp.moveTo(folder.at(name))
    await this.folders.sync(folder)
  }

  /** CRC-32 of all of an open file; remembered for as long as the file looks the same. */
  async contentCrc(handle: FileHandle, facts: BigIntStats, signal: AbortSignal): Promise<number> {
    const id = `${facts.dev}:${facts.ino}:${facts.size}:${facts.mtimeNs}:${facts.ctimeNs}`
    const known = this.#contents.get(id)
    if (known !== undefined) return known
    const buffer = new Uint8Array(readSize)
    let crc = 0
    for (let position = 0;;) {
      signal.throwIfAborted()
      const { bytesRead } = await handle.read(buffer, 0, buffer.length, position)
      if (bytesRead === 0) break
      crc = crc32(buffer.subarray(0, bytesRead), crc)
      position += bytesRead
    }
    if (this.#contents.size >= maxContents) this.#contents.clear()
    this.#contents.set(id, crc)
    return crc
  }

  /** Frees what the process holds. */
  async close(): Promise<void> {
    this.locks.close()
    this.uploadLocks.close()
    const temps = await this.#ready?.catch(() => undefined)
    await temps?.release(this.folders)
  }
}

const longFolder = [privateFolder, "names"] as const

const sidecarPlace = (key: string): readonly [folders: ReadonlyArray<string>, name: string] => {
  const hash = keyHash(key)
  return [[privateFolder, "meta", hash.slice(0, 2)], `${hash}.json`]
}

const roots = new Map<string, { readonly root: Root; users: number }>()

/** The root for a folder that may not exist yet. Give it back with {@link release}. */
export const acquire = async (folder: string): Promise<Root> => {
  const path = await canonical(resolve(folder))
  const size = utf8Length(path)
  if (size > maxRootBytes) {
    throw refuse("Config", `the root's path has ${size} bytes; the most is ${maxRootBytes}`, {
      hint: "choose a folder nearer to the top",
    })
  }
  let entry = roots.get(path)
  if (entry === undefined) roots.set(path, entry = { root: new Root(path), users: 0 })
  entry.users++
  return entry.root
}

/** Gives back what {@link acquire} gave. */
export const release = async (root: Root): Promise<void> => {
  const entry = roots.get(root.path)
  if (entry?.root !== root || --entry.users > 0) return
  roots.delete(root.path)
  await root.close()
}

/** The real path of a folder, or of where it will be. */
const canonical = async (path: string): Promise<string> => {
  try {
    const real = await realpath(path)
    if ((await stat(real)).isDirectory()) return real
    throw refuse("Config", `the root ${JSON.stringify(path)} is a file`, { hint: "give a folder as the root" })
  } catch (error) {
    if (codeOf(error) === "ENOTDIR") {
      throw refuse("Config", `a part of the root ${JSON.stringify(path)} is a file`, {
        hint: "give a folder as the root",
      })
    }
    if (codeOf(error) !== "ENOENT" || dirname(path) === path) throw error
    if ((await lstat(path).catch(() => undefined))?.isSymbolicLink()) {
      throw refuse("Config", `the root ${JSON.stringify(path)} is a link to nowhere`, {
        hint: "make the folder it names",
      })
    }
    return join(await canonical(dirname(path)), path.slice(dirname(path).length).replace(/^[\\/]+/, ""))
  }
}
