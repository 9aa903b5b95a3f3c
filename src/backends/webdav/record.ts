/**
 * What is known of an object beside its bytes, for servers that keep nothing but files: a record, a file of its own, under
 * a name made of the key and of the etag that the server gives the object's file.
 *
 * A record is made before the file gets its key, and in a step that fails where there is one already. So an etag stands
 * for one write, and a reader finds the record of the bytes it reads, or that they are not Holdfast's.
 *
 * @module
 */
import type { ObjectInfo, PutOptions } from "../../backend.ts"

/** A record as it is written. */
export type ObjectRecord =
  & Pick<ObjectInfo, "key" | "size" | "contentType" | "metadata" | "codec" | "sha256" | "length">
  & { readonly writeId: string; readonly crc32: number }

/** Version of the form of records. */
const version = 1

/** The record of a put. */
export const recordFor = (key: string, size: number, options: PutOptions): ObjectRecord => {
  const { writeId, crc32, contentType, metadata = {}, codec, sha256, length } = options
  return { key, size, writeId, crc32, contentType, metadata, codec, sha256, length }
}

/** The text of a record. */
export const formatRecord = (record: ObjectRecord): string => JSON.stringify({ holdfast: version, ...record })

const isText = (value: unknown): value is string => typeof value === "string"
const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0
const orNone = (check: (value: unknown) => boolean) => (value: unknown): boolean => value === undefined || check(value)

/** Reads a record; `undefined` for what is none of this version. */
export const parseRecord = (text: string): ObjectRecord | undefined => {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return undefined
  }
  if (typeof value !== "object" || value === null) return undefined
  const fields = value as Partial<Record<keyof ObjectRecord | "holdfast", unknown>>
  const { holdfast, metadata } = fields
  const sound = holdfast === version && [fields.key, fields.writeId].every(isText) &&
    [fields.size, fields.crc32].every(isCount) &&
    [fields.contentType, fields.codec, fields.sha256].every(orNone(isText)) &&
    orNone(isCount)(fields.length) && typeof metadata === "object" && metadata !== null &&
    Object.values(metadata).every(isText)
  if (!sound) return undefined
  const { key, size, writeId, crc32, contentType, codec, sha256, length } = value as ObjectRecord
  return {
    key,
    size,
    writeId,
    crc32,
    contentType,
    metadata: metadata as ObjectRecord["metadata"],
    codec,
    sha256,
    length,
  }
}

/** An object's facts: of its record, or of its file alone, whose etag two writes may share. */
export const infoOf = (
  key: string,
  live: { readonly etag: string; readonly size: number; readonly modified: Date },
  record: ObjectRecord | undefined,
): ObjectInfo => {
  const { size, modified } = live
  if (record === undefined) return { key, size, modified, etag: `W/${live.etag}`, metadata: {} }
  return { ...record, metadata: { ...record.metadata }, modified, etag: record.writeId }
}
