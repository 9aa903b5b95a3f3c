/**
 * Uploads that outlive their process: any process can go on with them, knowing nothing but their name.
 *
 * All changes are made under the upload's lock. It is not its key's: a part is written while it is held, and that
 * must not keep others from the objects that share the lock. Readers take none.
 *
 * @module
 */
import type { FileHandle } from "node:fs/promises"
import type {
  Backend,
  CompleteOptions,
  ObjectHead,
  ObjectInfo,
  Part,
  Upload,
  UploadEntry,
  UploadPage,
} from "../../backend.ts"
import { StoreError } from "../../error.ts"
import { compareKeys } from "../../key.ts"
import { crc32 } from "../../streams/crc32.ts"
import { commit } from "./commit.ts"
import { refuse } from "./errors.ts"
import { refuseWeak } from "./object.ts"
import { PartLog } from "./part-log.ts"
import { anyWithin, demandCrc, inOrder, joined } from "./parts.ts"
import type { Root } from "./root.ts"
import { createUpload, isUploadId, openUpload, removeUpload, type UploadFolder, uploadIds } from "./upload-folder.ts"

/** Most uploads in a page. */
const maxPage = 1000

/** Most logs remembered, so that a part costs no more than what was added since the last one. */
const maxLogs = 1000

/** Options of a listing of uploads. */
export type UploadListOptions = NonNullable<Parameters<NonNullable<Backend["listUploads"]>>[0]>

/** What is wanted of an upload that is open for a change. */
interface Open extends UploadFolder {
  readonly log: PartLog
  readonly logHandle: FileHandle
}

/** The resumable uploads of one root. */
export class ResumableUploads {
  readonly #root: Root
  readonly #logs = new Map<string, PartLog>()

  constructor(root: Root) {
    this.#root = root
  }

  async create(
    key: string,
    { contentType, metadata, writeId, codec }: ObjectHead,
    signal: AbortSignal,
  ): Promise<Upload> {
    const id = crypto.randomUUID()
    const head = { key, started: Date.now(), head: { contentType, metadata, writeId, codec } }
    await this.#root.writable()
    await this.#locked(id, signal, () => createUpload(this.#root, id, head))
    return { id, key }
  }

  async putPart(
    upload: Upload,
    { number, offset, crc32: crc }: { readonly number: number; readonly offset: number; readonly crc32: number },
    bytes: Uint8Array,
    signal: AbortSignal,
  ): Promise<Part> {
    demandCrc(crc32(bytes), crc)
    const part = { number, offset, size: bytes.length, crc32: crc }
    const range = { from: offset, to: offset + bytes.length }
    return await this.#change(upload, signal, async ({ openData, log, logHandle }) => {
      const data = await openData()
      try {
        if (anyWithin(log.parts, range.from, range.to)) await log.append(logHandle, range)
        await data.write(bytes, offset)
        // Should it fail, the part is absent, and is written anew before another sync is believed.
        await data.seal()
      } finally {
        await data.close()
      }
      await log.append(logHandle, part)
      return part
    })
  }

  async complete(
    upload: Upload,
    parts: ReadonlyArray<Part>,
    { size, crc32: announced, sha256, length, ...condition }: CompleteOptions,
    signal: AbortSignal,
  ): Promise<ObjectInfo> {
    refuseWeak(condition.ifMatch)
    return await this.#change(upload, signal, async ({ key, head, openData, log, logHandle }) => {
      const crc = joined(log.parts, parts, size)
      demandCrc(crc, announced ?? crc)
      const data = await openData()
      try {
        // Should the commit be refused, the upload goes on without what is cut off here.
        const rest = { from: size, to: Number.MAX_SAFE_INTEGER }
        if (anyWithin(log.parts, rest.from, rest.to)) await log.append(logHandle, rest)
        // It sets the file's time too, which is the object's: the last part may be of yesterday.
        await data.handle.truncate(size)
        const stat = await data.seal()
        const facts = { ...head, crc32: crc, sha256, length }
        return await commit(this.#root, key, { temp: data, stat, head: facts, condition }, signal)
      } finally {
        await data.close()
      }
    }, true)
  }

  async abort({ id, key }: Upload, signal: AbortSignal): Promise<void> {
    if (!isUploadId(id) || !await this.#isRootWritten()) return
    await this.#root.writable()
    await this.#locked(id, signal, async () => {
      await using found = await openUpload(this.#root, id)
      if (found === undefined || found.key === key) await this.#remove(id)
    })
  }

  /** The parts that are stored, in order. */
  async parts(upload: Upload): Promise<ReadonlyArray<Part>> {
    await using found = await this.#open(upload)
    const handle = await found.readLog()
    const log = new PartLog()
    await log.follow(handle).finally(() => handle.close())
    // Last, since the log of an upload that is being ended may be read when its parts are gone.
    if (!await found.isThere()) throw over(upload)
    return inOrder(log.parts)
  }

  /** One page of what has been begun. */
  async page({ prefix = "", cursor }: UploadListOptions, signal: AbortSignal): Promise<UploadPage> {
    const after = cursor === undefined ? undefined : parseCursor(cursor, prefix)
    const uploads: Array<UploadEntry> = []
    for (const id of await uploadIds(this.#root)) {
      signal.throwIfAborted()
      await using found = await openUpload(this.#root, id).catch(ignoreLinks)
      if (!found?.key.startsWith(prefix)) continue
      const entry = { id, key: found.key, started: new Date(found.started) }
      if (after === undefined || compare(entry, after) > 0) uploads.push(entry)
    }
    uploads.sort(compare)
    if (uploads.length <= maxPage) return { uploads }
    const page = uploads.slice(0, maxPage)
    return { uploads: page, cursor: formatCursor(page.at(-1)!) }
  }

  /** Runs `run` with an upload that nobody else changes meanwhile. `last`: the upload is over when it succeeds. */
  async #change<A>(
    upload: Upload,
    signal: AbortSignal,
    run: (open: Open) => Promise<A>,
    last = false,
  ): Promise<A> {
    if (!isUploadId(upload.id) || !await this.#isRootWritten()) throw over(upload)
    await this.#root.writable()
    return await this.#locked(upload.id, signal, async () => {
      const result = await this.#withLog(upload, run)
      // Whatever of it cannot be removed now is swept later.
      if (last) await this.#remove(upload.id).catch(() => {})
      return result
    })
  }

  async #withLog<A>(upload: Upload, run: (open: Open) => Promise<A>): Promise<A> {
    await using found = await this.#open(upload)
    const logHandle = await found.openLog()
    try {
      const log = this.#logOf(upload.id)
      await log.follow(logHandle)
      return await run({ ...found, log, logHandle })
    } finally {
      await logHandle.close()
    }
  }

  async #open(upload: Upload): Promise<UploadFolder> {
    const found = await openUpload(this.#root, upload.id)
    if (found?.key === upload.key) return found
    await found?.[Symbol.asyncDispose]()
    this.#logs.delete(upload.id)
    throw over(upload)
  }

  #logOf(id: string): PartLog {
    let log = this.#logs.get(id)
    if (log !== undefined) return log
    if (this.#logs.size >= maxLogs) this.#logs.clear()
    this.#logs.set(id, log = new PartLog())
    return log
  }

  #remove(id: string): Promise<void> {
    this.#logs.delete(id)
    return removeUpload(this.#root, id)
  }

  async #locked<A>(id: string, signal: AbortSignal, body: () => Promise<A>): Promise<A> {
    return await this.#root.uploadLocks.hold([await this.#root.shard(id)], signal, body)
  }

  /** Without one there is no upload, and nothing to make for asking. */
  async #isRootWritten(): Promise<boolean> {
    await this.#root.format()
    return this.#root.written
  }
}

const over = ({ id }: Upload): StoreError => refuse("NotFound", `upload "${id}" is over, or was never begun here`)

const compare = (a: UploadEntry, b: UploadEntry): number =>
  compareKeys(a.key, b.key) || a.started.getTime() - b.started.getTime() || compareKeys(a.id, b.id)

/** A cursor is the last upload handed out: all that the next page needs, also when that one is over by then. */
const formatCursor = ({ id, key, started }: UploadEntry): string => `>${started.getTime()} ${id} ${key}`

const parseCursor = (cursor: string, prefix: string): UploadEntry => {
  const [, started, id, key] = /^>(\d{1,15}) ([0-9a-f-]{36}) (.*)$/s.exec(cursor) ?? []
  if (id === undefined || !key?.startsWith(prefix)) {
    throw refuse("InvalidInput", "the cursor does not come from an earlier page of this list")
  }
  return { id, key, started: new Date(Number(started)) }
}

/** A link in the place of an upload is none. */
const ignoreLinks = (error: unknown): undefined => {
  if (!StoreError.is(error) || error.reason !== "Forbidden") throw error
}
