/**
 * Objects that come in parts: the uploads of one store.
 *
 * An upload is tied to the process unless it was asked to be resumable (`resumable.ts`). Then there is nothing to
 * write down: it is an open temporary file that parts are written into, where they belong, and it is gone with the
 * process.
 *
 * @module
 */
import type { BigIntStats } from "node:fs"
import type { CompleteOptions, ObjectHead, ObjectInfo, Part, Upload, UploadOptions, UploadPage } from "../../backend.ts"
import { crc32 } from "../../streams/crc32.ts"
import { commit } from "./commit.ts"
import { refuseWeak } from "./object.ts"
import { demandCrc, forget, inOrder, joined, type StoredParts } from "./parts.ts"
import { ResumableUploads, type UploadListOptions } from "./resumable.ts"
import type { Root } from "./root.ts"
import type { TempFile } from "./temp.ts"

interface Pending {
  readonly key: string
  readonly head: ObjectHead
  readonly temp: TempFile
  readonly parts: StoredParts
  /** Why the upload cannot be completed any more: a file that failed to sync must not be trusted again. */
  broken: unknown
}

/** The uploads that one store knows: those it began, and all resumable ones. */
export class Uploads {
  readonly #root: Root
  readonly #pending = new Map<string, Pending>()
  readonly #resumable: ResumableUploads

  constructor(root: Root) {
    this.#root = root
    this.#resumable = new ResumableUploads(root)
  }

  async create(
    key: string,
    { resumable, contentType, metadata, writeId, codec }: UploadOptions,
    signal: AbortSignal,
  ): Promise<Upload> {
    if (resumable === true) return await this.#resumable.create(key, { contentType, metadata, writeId, codec }, signal)
    const temp = await (await this.#root.writable()).create()
    const id = crypto.randomUUID()
    const head = { contentType, metadata: { ...metadata }, writeId, codec }
    this.#pending.set(id, { key, head, temp, parts: new Map(), broken: undefined })
    return { id, key }
  }

  async putPart(
    upload: Upload,
    place: { readonly number: number; readonly offset: number; readonly crc32: number },
    bytes: Uint8Array,
    signal: AbortSignal,
  ): Promise<Part> {
    const pending = this.#plain(upload)
    if (pending === undefined) return await this.#resumable.putPart(upload, place, bytes, signal)
    const { number, offset, crc32: crc } = place
    demandCrc(crc32(bytes), crc)
    const part = { number, offset, size: bytes.length, crc32: crc }
    // What is being written over is not there.
    pending.parts.delete(number)
    forget(pending.parts, offset, offset + bytes.length)
    await pending.temp.write(bytes, offset)
    pending.parts.set(number, part)
    return part
  }

  async complete(
    upload: Upload,
    parts: ReadonlyArray<Part>,
    options: CompleteOptions,
    signal: AbortSignal,
  ): Promise<ObjectInfo> {
    const pending = this.#plain(upload)
    if (pending === undefined) return await this.#resumable.complete(upload, parts, options, signal)
    const { size, crc32: announced, sha256, length, ...condition } = options
    refuseWeak(condition.ifMatch)
    const crc = joined(pending.parts, parts, size)
    demandCrc(crc, announced ?? crc)
    const stat = await this.#seal(pending, size)
    const head = { ...pending.head, crc32: crc, sha256, length }
    const { temp, key } = pending
    const info = await commit(this.#root, key, { temp, stat, head, condition }, signal)
    this.#pending.delete(upload.id)
    await temp.close()
    return info
  }

  async abort(upload: Upload, signal: AbortSignal): Promise<void> {
    const pending = this.#plain(upload)
    if (pending === undefined) return await this.#resumable.abort(upload, signal)
    this.#pending.delete(upload.id)
    await pending.temp.discard()
  }

  /** The parts of an upload that are stored, in order. */
  async parts(upload: Upload): Promise<ReadonlyArray<Part>> {
    const pending = this.#plain(upload)
    return pending === undefined ? await this.#resumable.parts(upload) : inOrder(pending.parts)
  }

  /** An upload of this process; its id goes with its key only. */
  #plain({ id, key }: Upload): Pending | undefined {
    const pending = this.#pending.get(id)
    return pending?.key === key ? pending : undefined
  }

  /** One page of the resumable ones. */
  page(options: UploadListOptions, signal: AbortSignal): Promise<UploadPage> {
    return this.#resumable.page(options, signal)
  }

  /** Aborts those that end with the store. */
  async close(): Promise<void> {
    for (const { temp } of this.#pending.values()) await temp.discard()
    this.#pending.clear()
  }

  async #seal(pending: Pending, size: number): Promise<BigIntStats> {
    if (pending.broken !== undefined) throw pending.broken
    try {
      // A part that was replaced by a shorter one has left bytes behind the end. Should the commit be refused, the
      // upload goes on without what is cut off here.
      forget(pending.parts, size, Infinity)
      await pending.temp.handle.truncate(size)
      return await pending.temp.seal()
    } catch (error) {
      pending.broken = error
      throw error
    }
  }
}
