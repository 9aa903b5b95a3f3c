/**
 * New bytes: whole objects, and copies. Each is written to a file of its own and made durable without any lock,
 * then committed.
 *
 * @module
 */
import type { CopyOptions, ObjectInfo, PutOptions } from "../../backend.ts"
import { crc32, formatCrc32 } from "../../streams/crc32.ts"
import { commit } from "./commit.ts"
import { refuse, toStoreError } from "./errors.ts"
import { demandEarly, demandEtag, openObject, refuseWeak } from "./object.ts"
import { demandCrc } from "./parts.ts"
import { readSize, type Root } from "./root.ts"

/** Bytes of an object that are flushed while the key is locked; more would keep other writers of it waiting. */
const flushedTogether = 1024 * 1024

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
  const flush = bytes.length <= flushedTogether
  const stat = await (flush ? temp.finish() : temp.seal())
  return await commit(root, key, { temp, stat, head, flush, condition: { ifMatch, ifNoneMatch } }, signal)
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
