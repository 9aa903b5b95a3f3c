/**
 * Keys in the order of their UTF-8 bytes, by walking folders depth first.
 *
 * A folder sorts as `name/`, which is where the keys below it sort. Names are decoded before they are sorted,
 * since escaping changes their order. Only folders that can hold keys after the cursor and under the prefix are
 * read. What appears or goes while the walk is under way is listed or not, and never breaks it.
 *
 * @module
 */
import { type BigIntStats, type Dirent, fstatSync } from "node:fs"
import { lstat, readdir } from "node:fs/promises"
import type { ListOptions, ListPage, ObjectEntry } from "../../backend.ts"
import { StoreError } from "../../error.ts"
import { compareKeys, keyFlaw } from "../../key.ts"
import { sortUtf8 } from "../../streams/utf8.ts"
import { codeOf, refuse } from "./errors.ts"
import { decodeSegment, encodeSegment, privateFolder } from "./layout.ts"
import type { Root } from "./root.ts"
import type { Folder } from "./safe-path.ts"

/** Files looked at, at once. */
const maxLooks = 64

/** Walks kept for the caller who comes back with their cursor. */
const maxWalks = 16

/**
 * A folder that changed this shortly before it was read, in milliseconds, may have changed again without a new
 * time: kernels count in ticks of up to 10 ms, FAT in steps of 2 s.
 */
const unsettled = 2500

/** What a cursor starts with; the rest is the last name handed out, which is all that the next page needs. */
const cursorMark = ">"

/** A name in a folder that can lead to keys. */
interface Entry {
  /** The key, or for a folder what the keys in it start with: it ends in `/`. */
  readonly key: string
  readonly name: string
  readonly folder: boolean
}

/** A folder that is being walked. */
interface Level {
  readonly names: ReadonlyArray<string>
  readonly entries: ReadonlyArray<Entry>
  readonly stamp: string | undefined
  at: number
}

type Item = { readonly object: ObjectEntry } | { readonly prefix: string }

/** Lists the keys of one root. */
export class Lister {
  readonly #root: Root
  readonly #walks = new Map<string, Walk>()

  constructor(root: Root) {
    this.#root = root
  }

  /** One page. */
  async page(options: ListOptions, signal: AbortSignal): Promise<ListPage> {
    const { prefix = "", delimiter, cursor, limit = 1000 } = options
    if (cursor !== undefined && !cursor.startsWith(`${cursorMark}${prefix}`)) {
      throw refuse("InvalidInput", "the cursor does not come from an earlier page of this list")
    }
    const walk = await this.#resume(options) ??
      new Walk(this.#root, prefix, delimiter !== undefined, cursor?.slice(cursorMark.length))
    const items = await walk.take(limit, signal)
    const objects = items.flatMap((item) => "object" in item ? [item.object] : [])
    const prefixes = items.flatMap((item) => "prefix" in item ? [item.prefix] : [])
    const last = items.at(-1)
    if (walk.done || last === undefined) return { objects, prefixes }
    const next = cursorMark + ("object" in last ? last.object.key : last.prefix)
    this.#keep(walkId({ ...options, cursor: next }), walk)
    return { objects, prefixes, cursor: next }
  }

  async #resume(options: ListOptions): Promise<Walk | undefined> {
    const id = walkId(options)
    const walk = this.#walks.get(id)
    this.#walks.delete(id)
    return walk !== undefined && await walk.isCurrent() ? walk : undefined
  }

  #keep(id: string, walk: Walk): void {
    this.#walks.set(id, walk)
    const oldest = this.#walks.keys().next()
    if (this.#walks.size > maxWalks && !oldest.done) this.#walks.delete(oldest.value)
  }
}

const walkId = ({ prefix = "", delimiter, cursor }: ListOptions): string => JSON.stringify([prefix, delimiter, cursor])

/** The keys under a prefix, after a name, one by one. */
class Walk {
  /** Nothing is left. */
  done = false
  readonly #root: Root
  readonly #prefix: string
  readonly #folds: boolean
  readonly #after: string | undefined
  #levels: Array<Level> | undefined

  constructor(root: Root, prefix: string, folds: boolean, after: string | undefined) {
    this.#root = root
    this.#prefix = prefix
    this.#folds = folds
    this.#after = after
  }

  /** The next `limit` items; sets {@link done} if there are no more after them. */
  async take(limit: number, signal: AbortSignal): Promise<ReadonlyArray<Item>> {
    const levels = this.#levels ??= await this.#base()
    const items: Array<Item> = []
    for (let level = levels.at(-1); level !== undefined && items.length <= limit; level = levels.at(-1)) {
      signal.throwIfAborted()
      const entry = level.entries[level.at]
      if (entry === undefined) levels.pop()
      else if (!entry.folder) items.push(...await this.#files(level, limit + 1 - items.length))
      else {
        level.at++
        if (!this.#isFolded(entry)) levels.push(await this.#read([...level.names, entry.name], entry.key))
        else if (await this.#holdsObject([...level.names, entry.name], entry.key)) items.push({ prefix: entry.key })
      }
    }
    this.done = items.length <= limit
    // One more than asked for shows that there is more. It is looked at again when it is asked for.
    if (!this.done) {
      items.pop()
      levels.at(-1)!.at--
    }
    return items
  }

  /** Whether the folders read so far are still as they were. */
  async isCurrent(): Promise<boolean> {
    for (const { names, stamp } of this.#levels ?? []) {
      const now = await this.#open(names, (folder) => Promise.resolve(stampOf(folder, false)))
      if (stamp === undefined || stamp !== now) return false
    }
    return true
  }

  /** The deepest folder that holds all keys under the prefix. */
  async #base(): Promise<Array<Level>> {
    const above = this.#prefix.slice(0, this.#prefix.lastIndexOf("/") + 1)
    const segments = above.split("/").slice(0, -1)
    const { names } = await this.#root.format()
    return [await this.#read(segments.map((segment, index) => encodeSegment(segment, names, index === 0)), above)]
  }

  async #read(names: ReadonlyArray<string>, above: string): Promise<Level> {
    const level = await this.#open(names, async (folder) => {
      const entries = (await this.#entries(folder, above, names.length === 0)).filter((entry) => this.#isWanted(entry))
      sortUtf8(entries, ({ key }) => key)
      return { names, entries, stamp: stampOf(folder, true), at: 0 }
    })
    return level ?? { names, entries: [], stamp: undefined, at: 0 }
  }

  #isWanted({ key, folder }: Entry): boolean {
    const after = this.#after
    const under = key.startsWith(this.#prefix) || (folder && this.#prefix.startsWith(key))
    const descends = folder && !this.#isFolded({ key })
    return under && (after === undefined || compareKeys(key, after) > 0 || (descends && after.startsWith(key)))
  }

  #isFolded({ key }: Pick<Entry, "key">): boolean {
    return this.#folds && key.length > this.#prefix.length
  }

  /** All that a folder holds, by the key that its name stands for. */
  async #entries(folder: Folder, above: string, top: boolean): Promise<Array<Entry>> {
    const { names } = await this.#root.format()
    const entries: Array<Entry> = []
    for (const found of await readdir(folder.at("."), { withFileTypes: true })) {
      const { name } = found
      if (top && name === privateFolder) continue
      const isFolder = found.isDirectory()
      if (!isFolder && !found.isFile() && !await isFileOfUnknownType(folder, found)) continue
      const decoded = decodeSegment(name, names, top)
      if (decoded === undefined) continue
      const segment = "segment" in decoded ? decoded.segment : await this.#root.longSegment(decoded.long)
      if (segment === undefined || ("long" in decoded && encodeSegment(segment, names, top) !== name)) continue
      const key = above + segment
      entries.push(isFolder ? { key: `${key}/`, name, folder: true } : { key, name, folder: false })
    }
    return entries
  }

  /** The objects of the files that come next in a folder, up to the next folder in it. */
  async #files(level: Level, limit: number): Promise<ReadonlyArray<Item>> {
    const batch: Array<Entry> = []
    for (let entry = level.entries[level.at]; entry !== undefined && !entry.folder; entry = level.entries[level.at]) {
      if (batch.length >= Math.min(limit, maxLooks)) break
      // Asked of those only that are wanted now: a folder may hold many more.
      if (keyFlaw(entry.key) === undefined) batch.push(entry)
      level.at++
    }
    const found = await this.#open(level.names, (folder) => Promise.all(batch.map((entry) => look(folder, entry))))
    return found?.flatMap((object) => object === undefined ? [] : [{ object }]) ?? []
  }

  /** Whether any key starts with `above`, which leads to a folder. */
  async #holdsObject(names: ReadonlyArray<string>, above: string): Promise<boolean> {
    const entries = await this.#open(names, (folder) => this.#entries(folder, above, false)) ?? []
    if (entries.some(({ key, folder }) => !folder && keyFlaw(key) === undefined)) return true
    for (const entry of entries) {
      if (await this.#holdsObject([...names, entry.name], entry.key)) return true
    }
    return false
  }

  /** Runs `run` with a folder; `undefined` if there is none, or a link in its place. */
  async #open<A>(names: ReadonlyArray<string>, run: (folder: Folder) => Promise<A>): Promise<A | undefined> {
    try {
      await using folder = await this.#root.folders.open(names)
      return await run(folder)
    } catch (error) {
      const code = codeOf(error)
      if (code === "ENOENT" || code === "ENOTDIR") return undefined
      if (StoreError.is(error) && error.reason === "Forbidden") return undefined
      throw error
    }
  }
}

const look = async (folder: Folder, { key, name }: Entry): Promise<ObjectEntry | undefined> => {
  try {
    const stat = await lstat(folder.at(name))
    return stat.isFile() ? { key, size: stat.size, modified: new Date(Math.floor(stat.mtimeMs)) } : undefined
  } catch (error) {
    if (codeOf(error) === "ENOENT") return undefined
    throw error
  }
}

/** Some file systems do not say in a folder what kind of thing an entry is. */
const isFileOfUnknownType = async (folder: Folder, entry: Dirent): Promise<boolean> => {
  const known = entry.isSymbolicLink() || entry.isFIFO() || entry.isSocket() || entry.isCharacterDevice() ||
    entry.isBlockDevice()
  return !known && await look(folder, { key: entry.name, name: entry.name, folder: false }) !== undefined
}

/**
 * What changes when an entry of the folder comes or goes. Of a folder just read, `undefined` if its last change is
 * so fresh that the next one might not show.
 */
const stampOf = (folder: Folder, justRead: boolean): string | undefined => {
  const { dev, ino, mtimeNs, mtimeMs } = justRead ? folder.stat : now(folder)
  return justRead && Number(mtimeMs) > Date.now() - unsettled ? undefined : `${dev}:${ino}:${mtimeNs}`
}

const now = (folder: Folder): BigIntStats => fstatSync(folder.handle.fd, { bigint: true })
