/**
 * New bytes: whole objects, uploads in parts, and copies. Each is written to a file of its own and made durable
 * without any lock, then committed.
 *
 * @module
 */
import type { BigIntStats } from "node:fs"
import type { CompleteOptions, CopyOptions, ObjectHead, ObjectInfo, Part, PutOptions, Upload } from "../../backend.ts"
import { combineCrc32, crc32, formatCrc32 } from "../../streams/crc32.ts"
import { commit } from "./commit.ts"
import { refuse, toStoreError } from "./errors.ts"
import { demandEarly, demandEtag, openObject, refuseWeak } from "./object.ts"
import { readSize, type Root } from "./root.ts"
import type { TempFile } from "./temp.ts"

/** Stores a whole object. */
export const put = async (
  root: Root,
  key: string,
  bytes: Uint8Array,
  { ifMatch, ifNoneMatch, ...head }: PutOptions,
  signal: AbortSignal,
): Promise<ObjectInfo> => {
  refuseWeak(ifMatch)
  demandCrc(crc32(bytes), head.crc32)
  await demandEarly(root, key, { ifMatch, ifNoneMatch }, signal)
  await using temp = await (await root.writable()).create()
  await temp.write(bytes, 0)
  signal.throwIfAborted()
  const stat = await temp.seal()
  return await commit(root, key, { temp, stat, head, condition: { ifMatch, ifNoneMatch } }, signal)
}

/** Duplicates an object, with all that is known of it but its write id. Its bytes are checked on the way. */
export const copy = async (
  root: Root,
  from: string,
  to: string,
  { writeId, sourceIfMatch, ...condition }: CopyOptions,
  signal: AbortSignal,
): Promise<ObjectInfo> => {
  refuseWeak(condition.ifMatch, sourceIfMatch)
  const { handle, info } = await openObject(root, from, signal).catch((error) => {
    throw toStoreError(error, "copy", from) ?? error
  })
  try {
    if (sourceIfMatch !== undefined) demandEtag(info.etag, sourceIfMatch)
    await using temp = await (await root.writable()).create()
    const buffer = new Uint8Array(readSize)
    let crc = 0
    for (let done = 0; done < info.size;) {
      signal.throwIfAborted()
      const { bytesRead } = await handle.read(buffer, 0, Math.min(buffer.length, info.size - done), done)
      if (bytesRead === 0) {
        throw refuse("Truncated", `the file ended after ${done} of ${info.size} bytes`, { key: from, transient: false })
      }
      const bytes = buffer.subarray(0, bytesRead)
      crc = crc32(bytes, crc)
      await temp.write(bytes, done)
      done += bytesRead
    }
    if (info.crc32 !== undefined && info.crc32 !== crc) {
      throw refuse(
        "Corrupt",
        `its bytes have the CRC-32 ${formatCrc32(crc)}, ${formatCrc32(info.crc32)} was recorded`,
        {
          key: from,
        },
      )
    }
    const { contentType, metadata, sha256, codec, length } = info
    const head = { writeId, crc32: crc, contentType, metadata, sha256, codec, length }
    return await commit(root, to, { temp, stat: await temp.seal(), head, condition }, signal)
  } finally {
    await handle.close()
  }
}

interface Pending {
  readonly key: string
  readonly head: ObjectHead
  readonly temp: TempFile
  readonly parts: Map<number, StoredPart>
  /** Why the upload cannot be completed any more: a file that failed to sync must not be trusted again. */
  broken: unknown
}

/** A part whose bytes are in the file. */
type StoredPart = Part & { readonly crc32: number }

/** The uploads begun by one store. Each is an open file that parts are written into, where they belong. */
export class Uploads {
  readonly #root: Root
  readonly #pending = new Map<string, Pending>()

  constructor(root: Root) {
    this.#root = root
  }

  async create(key: string, { contentType, metadata, writeId, codec }: ObjectHead): Promise<Upload> {
    const temp = await (await this.#root.writable()).create()
    const id = crypto.randomUUID()
    const head = { contentType, metadata: { ...metadata }, writeId, codec }
    this.#pending.set(id, { key, head, temp, parts: new Map(), broken: undefined })
    return { id, key }
  }

  async putPart(
    upload: Upload,
    { number, offset, crc32: crc }: { readonly number: number; readonly offset: number; readonly crc32: number },
    bytes: Uint8Array,
  ): Promise<Part> {
    const pending = this.#find(upload)
    demandCrc(crc32(bytes), crc)
    const part = { number, offset, size: bytes.length, crc32: crc }
    // While it is being written over, the part is not there.
    pending.parts.delete(number)
    await pending.temp.write(bytes, offset)
    pending.parts.set(number, part)
    return part
  }

  async complete(
    upload: Upload,
    parts: ReadonlyArray<Part>,
    { size, crc32: announced, sha256, length, ...condition }: CompleteOptions,
    signal: AbortSignal,
  ): Promise<ObjectInfo> {
    const pending = this.#find(upload)
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

  async abort({ id }: Upload): Promise<void> {
    const pending = this.#pending.get(id)
    this.#pending.delete(id)
    await pending?.temp.discard()
  }

  /** Aborts all that is left. */
  async close(): Promise<void> {
    for (const [id, { key }] of this.#pending) await this.abort({ id, key })
  }

  #find({ id }: Upload): Pending {
    const pending = this.#pending.get(id)
    if (pending === undefined) throw refuse("NotFound", `upload "${id}" is over, or was begun by another process`)
    return pending
  }

  async #seal(pending: Pending, size: number): Promise<BigIntStats> {
    if (pending.broken !== undefined) throw pending.broken
    try {
      // A part that was replaced by a shorter one has left bytes behind the end.
      await pending.temp.handle.truncate(size)
      return await pending.temp.seal()
    } catch (error) {
      pending.broken = error
      throw error
    }
  }
}

/** CRC-32 of the parts in a row; fails unless they are stored and cover `size` bytes in order without gaps. */
const joined = (stored: ReadonlyMap<number, StoredPart>, parts: ReadonlyArray<Part>, size: number): number => {
  let end = 0
  let crc = 0
  for (const { number, offset, size: partSize, crc32: partCrc } of parts) {
    const part = stored.get(number)
    if (part === undefined) throw refuse("InvalidInput", `part ${number} is not stored`)
    if (part.offset !== end || offset !== end || part.size !== partSize || part.crc32 !== partCrc) {
      throw refuse("InvalidInput", `part ${number} does not continue at byte ${end} as it was stored`)
    }
    end += partSize
    crc = combineCrc32(crc, part.crc32, partSize)
  }
  if (end !== size) throw refuse("InvalidInput", `its parts have ${end} bytes, ${size} were announced`)
  return crc
}

const demandCrc = (actual: number, expected: number): void => {
  if (actual !== expected) {
    throw refuse("Corrupt", `the bytes have the CRC-32 ${formatCrc32(actual)}, ${formatCrc32(expected)} was announced`)
  }
}
