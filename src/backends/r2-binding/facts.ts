/**
 * An object's facts as R2 keeps them. Ours are in the custom metadata, under names that start with `holdfast-` and that
 * users cannot give; over R2's S3 interface they are `x-amz-meta-holdfast-…`, as the `s3` backend writes them.
 *
 * R2's etag is made from the bytes, so two writes of the same bytes have the same one. Its `version` differs for every
 * write but cannot be a condition. Our etag is both.
 *
 * @module
 */
import * as Redacted from "effect/Redacted"
import type { CustomerKey, Encryption, ObjectHead, ObjectInfo, SavedFacts } from "../../backend.ts"
import { formatCrc32 } from "../../streams/crc32.ts"
import type { R2MultipartOptions, R2Object } from "./bucket.ts"

const ours = "holdfast-"

/** Our etag of an object. */
export const etagOf = ({ etag, version }: Pick<R2Object, "etag" | "version">): string => `${etag}.${version}`

/** R2's part of an etag of ours; of one that is not ours something that no object has. */
export const r2Etag = (etag: string): string => {
  const end = etag.indexOf(".")
  return end < 1 ? "none" : etag.slice(0, end)
}

/** What a write leaves beside the bytes. What only the end of an upload tells cannot be among it. */
export const headOptions = (
  { contentType, metadata, writeId, codec, encryption, storageClass }: ObjectHead,
  { sha256, length }: SavedFacts,
  crc32?: number,
): R2MultipartOptions => {
  const facts = {
    "write-id": writeId,
    codec,
    sha256,
    length,
    crc32: crc32 === undefined ? undefined : formatCrc32(crc32),
  }
  const customMetadata: Record<string, string> = { ...metadata }
  for (const [name, value] of Object.entries(facts)) {
    if (value !== undefined) customMetadata[ours + name] = String(value)
  }
  const ssecKey = ssecKeyOf(encryption)
  return {
    customMetadata,
    ...(contentType === undefined ? {} : { httpMetadata: { contentType } }),
    ...(storageClass === undefined ? {} : { storageClass }),
    ...(ssecKey === undefined ? {} : { ssecKey }),
  }
}

/** The key of a write as R2 takes it. */
export const ssecKeyOf = (encryption: Encryption | undefined): string | undefined =>
  encryption?.type === "sse-c" ? hexKey(encryption.key) : undefined

/** A customer's key as R2 takes it. */
export const hexKey = (key: CustomerKey | undefined): string | undefined =>
  key && Array.from(Redacted.value(key), (byte) => byte.toString(16).padStart(2, "0")).join("")

/** What R2 knows of an object, as the contract has it. */
export const describe = (key: string, object: R2Object): ObjectInfo => {
  const facts = new Map<string, string>()
  const metadata: Array<[string, string]> = []
  for (const [name, value] of Object.entries(object.customMetadata ?? {})) {
    if (name.startsWith(ours)) facts.set(name.slice(ours.length), value)
    else metadata.push([name.toLowerCase(), value])
  }
  // Others can write these names as well: what does not look like ours is not ours.
  const fact = (name: string, form: RegExp): string | undefined => {
    const value = facts.get(name)
    return value !== undefined && form.test(value) ? value : undefined
  }
  const crc32 = fact("crc32", /^[0-9a-f]{8}$/)
  const length = fact("length", /^\d{1,15}$/)
  return {
    key,
    size: object.size,
    etag: etagOf(object),
    modified: new Date(object.uploaded),
    contentType: object.httpMetadata?.contentType,
    metadata: Object.fromEntries(metadata),
    crc32: crc32 === undefined ? undefined : Number.parseInt(crc32, 16),
    sha256: fact("sha256", /^[0-9a-f]{64}$/),
    codec: facts.get("codec"),
    length: length === undefined ? undefined : Number(length),
    writeId: facts.get("write-id"),
    encryption: object.ssecKeyMd5 === undefined ? undefined : { type: "sse-c" },
    storageClass: object.storageClass === "Standard" ? undefined : object.storageClass,
  }
}
