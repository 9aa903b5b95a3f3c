/**
 * What is stored beside the bytes: an object's head as headers, and the headers of an answer as facts.
 *
 * Facts of Holdfast's own are user metadata under `x-amz-meta-holdfast-…`. A caller's value that a header could not
 * carry unchanged is stored as an encoded word of RFC 2047 (`=?UTF-8?B?…?=`), which is also how Amazon itself writes
 * such values; on objects that Holdfast did not write values are given as they are. Names with an underscore, where a
 * service would change them, are together with their values JSON in `holdfast-metadata`.
 *
 * An etag of S3 is a hash of contents, so two writes of the same bytes have the same one. Here an object's validator
 * is therefore the service's etag and the write id together, `etag~writeId`; without a write id, the etag alone.
 *
 * @module
 */
import { encodeQuery } from "../../aws/encode.ts"
import type { ObjectHead, ObjectInfo, SavedFacts } from "../../backend.ts"
import { StoreError } from "../../error.ts"
import { formatCrc32 } from "../../streams/crc32.ts"
import { crc32FromBase64, fromBase64, toBase64 } from "./payload.ts"
import type { Profile } from "./profiles.ts"

const prefix = "x-amz-meta-"
const own = `${prefix}holdfast-`

/**
 * Most bytes of user metadata, names and values as they are sent. Source: Amazon S3, "Working with object metadata".
 */
const maxMetadata = 2048

/** Sent where the caller names no type, since services fill in different ones. */
export const defaultType = "application/octet-stream"

const encoder = new TextEncoder()
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })

/**
 * A value as a header carries it unchanged. Encoded are: what is not printable ASCII, spaces at the ends, runs of
 * spaces (a signature folds them), nothing at all (some proxies drop such headers), and what looks encoded already.
 */
export const encodeValue = (value: string): string =>
  /^(?! )[\x20-\x7e]*[\x21-\x7e]$/.test(value) && !value.includes("  ") && !value.startsWith("=?")
    ? value
    : `=?UTF-8?B?${toBase64(encoder.encode(value))}?=`

/** The opposite of {@link encodeValue}. */
export const decodeValue = (value: string): string => {
  const word = /^=\?UTF-8\?B\?([A-Za-z0-9+/=]*)\?=$/.exec(value)?.[1]
  if (word === undefined) return value
  try {
    return decoder.decode(fromBase64(word))
  } catch {
    // Not ours after all.
    return value
  }
}

/** An object's head, and what is known of its bytes when it is begun. */
export interface Head extends ObjectHead, SavedFacts {
  /** CRC-32 of the stored bytes. */
  readonly crc32?: number | undefined
  /** Further headers that belong to the object; a copy has them from its source. */
  readonly system?: Readonly<Record<string, string>> | undefined
}

/** The headers of an object that is about to be written. Fails with `InvalidInput` if they are more than S3 takes. */
export const headHeaders = (
  operation: string,
  key: string,
  head: Head,
  { underscores }: Pick<Profile, "underscores">,
): Record<string, string> => {
  const headers: Record<string, string> = { [`${own}write-id`]: head.writeId }
  const packed: Record<string, string> = {}
  for (const [name, value] of Object.entries(head.metadata ?? {})) {
    if (name.includes("_") && !underscores) packed[name] = value
    else headers[prefix + name] = encodeValue(value)
  }
  if (Object.keys(packed).length > 0) headers[`${own}metadata`] = encodeValue(JSON.stringify(packed))
  if (head.codec !== undefined) headers[`${own}codec`] = head.codec
  if (head.length !== undefined) headers[`${own}length`] = String(head.length)
  if (head.sha256 !== undefined) headers[`${own}sha256`] = head.sha256
  if (head.crc32 !== undefined) headers[`${own}crc32`] = formatCrc32(head.crc32)
  const size = Object.entries(headers).reduce(
    (sum, [name, value]) => sum + name.length - prefix.length + value.length,
    0,
  )
  if (size > maxMetadata) {
    throw new StoreError({
      reason: "InvalidInput",
      detail: `the metadata takes ${size} bytes of the ${maxMetadata} that S3 has for it, Holdfast's own included`,
      hint: "keep less metadata; text that is not ASCII takes a third more than its UTF-8",
      operation,
      key,
      backend: "s3",
    })
  }
  Object.assign(headers, head.system)
  headers["content-type"] = head.contentType ?? defaultType
  if (head.storageClass !== undefined) headers["x-amz-storage-class"] = head.storageClass
  if (head.tags !== undefined) headers["x-amz-tagging"] = encodeQuery(head.tags)
  return headers
}

/** An etag as the service has it, without quotes. A weak one keeps its `W/`. */
export const etagFrom = (header: string): string => header.replaceAll('"', "")

/** The validator of a write. */
export const validatorOf = (etag: string, writeId: string | undefined): string =>
  writeId === undefined ? etag : `${etag}~${writeId}`

/** The service's part of a validator. */
export const serviceEtag = (validator: string): string => validator.split("~", 1)[0]!

/** A validator whose write id the service cannot check. */
export const namesWrite = (validator: string): boolean => validator.includes("~")

/** Headers that belong to an object, besides those that `ObjectInfo` knows; a copy with metadata of its own repeats them. */
export const systemHeaders = (headers: Headers): Readonly<Record<string, string>> =>
  Object.fromEntries(
    ["cache-control", "content-disposition", "content-encoding", "content-language", "expires"].flatMap((name) => {
      const value = headers.get(name)
      return value === null ? [] : [[name, value]]
    }),
  )

/** How an answer says that the object is encrypted. */
export const encryptionFrom = (headers: Headers): ObjectInfo["encryption"] => {
  if (headers.has("x-amz-server-side-encryption-customer-algorithm")) return { type: "sse-c" }
  const kind = headers.get("x-amz-server-side-encryption")
  if (kind === "AES256") return { type: "sse-s3" }
  if (kind === null || !kind.startsWith("aws:kms")) return undefined
  return { type: "sse-kms", keyId: headers.get("x-amz-server-side-encryption-aws-kms-key-id") ?? undefined }
}

/** The CRC-32 of all bytes in an answer; the checksum of checksums, `…-3`, is none. */
const serviceCrc32 = (headers: Headers): number | undefined => {
  const value = headers.get("x-amz-checksum-crc32")
  return value === null || headers.get("x-amz-checksum-type") === "COMPOSITE" ? undefined : crc32FromBase64(value)
}

/** Entries of metadata whose names no header could carry; what is no such list is left alone. */
const unpack = (value: string | null): ReadonlyArray<readonly [string, string]> => {
  if (value === null) return []
  try {
    const entries = Object.entries(JSON.parse(decodeValue(value)) as Record<string, unknown>)
    return entries.flatMap(([name, text]) => typeof text === "string" ? [[name, text] as const] : [])
  } catch {
    return []
  }
}

/** What an answer to GET or HEAD says of the object; `undefined` if it does not speak of one. */
export const infoFrom = (key: string, headers: Headers, size: number): ObjectInfo | undefined => {
  const etag = headers.get("etag")
  const modified = new Date(headers.get("last-modified") ?? NaN)
  if (etag === null || etag === "" || Number.isNaN(modified.getTime())) return undefined
  const writeId = headers.get(`${own}write-id`) ?? undefined
  const entries = [...headers].flatMap(([name, value]) =>
    !name.startsWith(prefix) || name.startsWith(own)
      ? []
      : [[name.slice(prefix.length), writeId === undefined ? value : decodeValue(value)] as const]
  )
  const length = headers.get(`${own}length`)
  const crc = headers.get(`${own}crc32`)
  const storageClass = headers.get("x-amz-storage-class") ?? undefined
  return {
    key,
    size,
    etag: validatorOf(etagFrom(etag), writeId),
    modified,
    contentType: headers.get("content-type") ?? undefined,
    // Made from entries, not by assignment: a name may be `__proto__`.
    metadata: Object.fromEntries([...entries, ...unpack(headers.get(`${own}metadata`))]),
    crc32: crc !== null && /^[0-9a-f]{8}$/.test(crc) ? parseInt(crc, 16) : serviceCrc32(headers),
    sha256: headers.get(`${own}sha256`) ?? undefined,
    codec: headers.get(`${own}codec`) ?? undefined,
    length: length !== null && /^\d{1,15}$/.test(length) ? Number(length) : undefined,
    writeId,
    versionId: headers.get("x-amz-version-id") ?? undefined,
    encryption: encryptionFrom(headers),
    storageClass: storageClass === "STANDARD" ? undefined : storageClass,
  }
}
