/**
 * Uploads in parts: begin, send and copy parts, complete, abort, list what is stored.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import type { CompleteOptions, CopySource, ObjectInfo, Part, Upload } from "../../backend.ts"
import { StoreError } from "../../error.ts"
import { combineCrc32, formatCrc32 } from "../../streams/crc32.ts"
import type { Client } from "./client.ts"
import { confirmEncryption, encryptionHeaders, keyHeaders } from "./encryption.ts"
import { type Asked, oddAnswer, requestIdOf } from "./errors.ts"
import { etagFrom, type Head, headHeaders, serviceEtag } from "./head.ts"
import { crc32FromBase64, crc32ToBase64, protectBytes, protectDocument } from "./payload.ts"
import { stat } from "./read.ts"
import { checkSource, sourceHeaders } from "./source.ts"
import { conditionHeaders, conditionOf, protectionOf, writtenInfo } from "./write.ts"
import { childrenOf, completeDocument, textOf } from "./xml.ts"

/** What an upload was begun with, for as long as its beginner holds on to it. */
export type Heads = WeakMap<Upload, Head>

const invalid = (key: string, detail: string): StoreError =>
  new StoreError({ reason: "InvalidInput", detail, operation: "completeUpload", key, backend: "s3" })

/** Milliseconds for which a begin that is interrupted waits for its answer, in order to abort what it has begun. */
const grace = 2000

/**
 * Begins an upload. Only its answer tells what to abort, so an interruption waits for that, for a moment; it is the one
 * call that goes on after its end.
 */
export const createUpload = (
  client: Client,
  heads: Heads,
  key: string,
  options: Head,
): Effect.Effect<Upload, StoreError> =>
  Effect.suspend(() => {
    const ending = new AbortController()
    const begun = beginUpload(client, heads, key, options, ending.signal)
    const undo = client.run(async (signal) => abortUpload(client, await begun, signal))
    return Effect.onInterrupt(client.run(() => begun), () =>
      Effect.interruptible(undo).pipe(
        Effect.timeout(grace),
        Effect.catch(() => Effect.void),
        Effect.ensuring(Effect.sync(() => ending.abort())),
      ))
  })

const beginUpload = async (
  client: Client,
  heads: Heads,
  key: string,
  options: Head,
  signal: AbortSignal,
): Promise<Upload> => {
  const { profile } = client.settings
  const { encryption } = options
  const asked: Asked = { operation: "createUpload", key, mutates: true }
  const checksum: Record<string, string> = profile.protection === "crc32"
    ? { "x-amz-checksum-algorithm": "CRC32", "x-amz-checksum-type": "FULL_OBJECT" }
    : {}
  const head = headHeaders("createUpload", key, options, profile)
  const request = {
    ...asked,
    method: "POST",
    path: key,
    query: { uploads: "" },
    headers: { ...head, ...checksum, ...await encryptionHeaders(encryption) },
  }
  const { document, headers } = await client.ask(request, "InitiateMultipartUploadResult", signal)
  const id = textOf(document, "UploadId")
  if (id === undefined || id === "") {
    throw oddAnswer(asked, "the answer has no id of the upload", { requestId: requestIdOf(headers) })
  }
  const upload: Upload = { id, key, customerKey: encryption?.type === "sse-c" ? encryption.key : undefined }
  try {
    confirmEncryption(asked, encryption, headers, false)
  } catch (error) {
    await abortUpload(client, upload, signal).catch(() => undefined)
    throw error
  }
  heads.set(upload, options)
  return upload
}

/** Stores a part. */
export const putPart = async (
  client: Client,
  upload: Upload,
  part: { readonly number: number; readonly offset: number; readonly crc32: number },
  bytes: Uint8Array,
  signal: AbortSignal,
): Promise<Part> => {
  const asked: Asked = { operation: "putPart", key: upload.key, mutates: true }
  const { payloadHash, headers: protection } = await protectBytes(bytes, part.crc32, protectionOf(client))
  const headers = await client.sendOff({
    ...asked,
    method: "PUT",
    path: upload.key,
    query: { partNumber: String(part.number), uploadId: upload.id },
    headers: { ...protection, ...await keyHeaders(upload.customerKey) },
    body: bytes,
    payloadHash,
  }, signal)
  const etag = etagFrom(headers.get("etag") ?? "")
  if (etag === "") throw oddAnswer(asked, "the answer has no etag of the part", { requestId: requestIdOf(headers) })
  return { number: part.number, offset: part.offset, size: bytes.length, crc32: part.crc32, etag }
}

/** Stores a piece of another object as a part. */
export const copyPart = async (
  client: Client,
  upload: Upload,
  part: { readonly number: number; readonly offset: number; readonly size: number },
  source: CopySource & { readonly key: string; readonly offset: number },
  signal: AbortSignal,
): Promise<Part> => {
  const condition = source.sourceIfMatch === undefined ? undefined : "match"
  const asked: Asked = { operation: "copyPart", key: upload.key, mutates: true, condition }
  const range = `bytes=${source.offset}-${source.offset + part.size - 1}`
  const request = {
    ...asked,
    method: "PUT",
    path: upload.key,
    query: { partNumber: String(part.number), uploadId: upload.id },
    headers: {
      ...await sourceHeaders(client, source, client.settings.profile.conditional.copySourcePart),
      ...(part.size === 0 ? {} : { "x-amz-copy-source-range": range }),
      ...await keyHeaders(upload.customerKey),
    },
  }
  const { document, headers } = await client.ask(request, "CopyPartResult", signal)
  const etag = etagFrom(textOf(document, "ETag") ?? "")
  if (etag === "") throw oddAnswer(asked, "the answer has no etag of the part", { requestId: requestIdOf(headers) })
  if (!client.settings.profile.conditional.copySourcePart) await checkSource(client, "copyPart", source, signal)
  const crc32 = crc32FromBase64(textOf(document, "ChecksumCRC32") ?? "")
  return { number: part.number, offset: part.offset, size: part.size, crc32, etag }
}

/** The CRC-32 of parts that follow each other, or `undefined` where one is not known. */
const crc32Of = (parts: ReadonlyArray<Part>): number | undefined =>
  parts.reduce<number | undefined>(
    (crc, part) => crc === undefined || part.crc32 === undefined ? undefined : combineCrc32(crc, part.crc32, part.size),
    0,
  )

const checkParts = (key: string, parts: ReadonlyArray<Part>, { size, crc32 }: CompleteOptions): void => {
  let at = 0
  for (const part of parts) {
    if (part.offset !== at) throw invalid(key, `part ${part.number} does not continue at byte ${at}`)
    if (part.etag === undefined) throw invalid(key, `part ${part.number} has no etag`)
    at += part.size
  }
  if (at !== size) throw invalid(key, `its parts have ${at} bytes, ${size} were announced`)
  const crc = crc32Of(parts)
  if (crc === undefined || crc32 === undefined || crc === crc32) return
  throw new StoreError({
    reason: "Corrupt",
    detail: `its parts have the CRC-32 ${formatCrc32(crc)}, ${formatCrc32(crc32)} was announced`,
    operation: "completeUpload",
    key,
    backend: "s3",
  })
}

/** Makes the object. */
export const completeUpload = async (
  client: Client,
  heads: Heads,
  upload: Upload,
  parts: ReadonlyArray<Part>,
  options: CompleteOptions,
  signal: AbortSignal,
): Promise<ObjectInfo> => {
  const { key, id, customerKey } = upload
  const { profile } = client.settings
  const asked = { operation: "completeUpload", key, mutates: true, condition: conditionOf(options) }
  checkParts(key, parts, options)
  const condition = await conditionHeaders(client, asked, options, signal)
  const checked = profile.protection === "crc32"
  const whole = checked && options.crc32 !== undefined
  const listed = parts.map(({ number, etag, crc32 }) => ({
    number,
    etag: etag!,
    crc32: checked && crc32 !== undefined ? crc32ToBase64(crc32) : undefined,
  }))
  const body = new TextEncoder().encode(completeDocument(listed))
  const { payloadHash, headers: kind } = await protectDocument(body)
  const request = {
    ...asked,
    method: "POST",
    path: key,
    query: { uploadId: id },
    headers: {
      ...kind,
      ...condition,
      ...(whole ? { "x-amz-checksum-crc32": crc32ToBase64(options.crc32!), "x-amz-checksum-type": "FULL_OBJECT" } : {}),
      // Counted by the service, so that no part is left out on the way.
      ...(checked ? { "x-amz-mp-object-size": String(options.size) } : {}),
      ...await keyHeaders(customerKey),
    },
    body,
    payloadHash,
  }
  let answer: Awaited<ReturnType<Client["ask"]>>
  try {
    answer = await client.ask(request, "CompleteMultipartUploadResult", signal)
  } catch (error) {
    if (!StoreError.is(error)) throw error
    // Where another writer has won there is nothing to try again: the upload itself is refused for good.
    if (error.reason === "Conflict") throw error.with({ transient: false })
    // A service in trouble, or one with no better word for an upload that is over, as Ceph has it.
    const gone = error.reason === "Unavailable" && error.cause === undefined && profile.listsParts &&
      !await isThere(client, upload, signal).catch(() => true)
    throw gone
      ? error.with({ reason: "NotFound", detail: "the upload is over", transient: false, hint: undefined })
      : error
  }
  const { document, headers } = answer
  const etag = etagFrom(textOf(document, "ETag") ?? "")
  const head = heads.get(upload)
  if (whole && etag !== "" && head !== undefined) {
    return writtenInfo(key, options.size, etag, { ...head, crc32: options.crc32 }, headers)
  }
  // Nothing in the answer vouches for the bytes, so the object is looked at.
  const info = await stat(client, "completeUpload", key, {
    customerKey,
    versionId: profile.versions ? headers.get("x-amz-version-id") ?? undefined : undefined,
  }, signal).catch((error) => {
    // Whatever became of the look, the upload is complete.
    throw StoreError.is(error) ? error.with({ ambiguous: true }) : error
  })
  const ours = (head === undefined || info.writeId === head.writeId) && (etag === "" || serviceEtag(info.etag) === etag)
  if (!ours || info.size !== options.size) {
    throw oddAnswer(asked, "the upload is complete, but another object is there now", {
      requestId: requestIdOf(headers),
    })
  }
  return { ...info, crc32: info.crc32 ?? options.crc32 }
}

/** Whether an upload is still there, as far as the service can tell. */
const isThere = async (client: Client, { key, id }: Upload, signal: AbortSignal): Promise<boolean> => {
  const asked: Asked = { operation: "abortUpload", key, mutates: false }
  try {
    const query = { uploadId: id, "max-parts": "1" }
    await client.ask({ ...asked, method: "GET", path: key, query }, "ListPartsResult", signal)
    return true
  } catch (error) {
    if (StoreError.is(error) && (error.reason === "NotFound" || error.reason === "Unsupported")) return false
    throw error
  }
}

/** Frees what an upload holds, and makes sure: a part that was on its way may have arrived after the abort. */
export const abortUpload = async (client: Client, upload: Upload, signal: AbortSignal): Promise<void> => {
  const asked: Asked = { operation: "abortUpload", key: upload.key, mutates: true }
  const query = { uploadId: upload.id }
  await client.sendOff({ ...asked, method: "DELETE", path: upload.key, query }, signal).catch((error) => {
    if (!StoreError.is(error) || error.reason !== "NotFound") throw error
  })
  if (!client.settings.profile.listsParts || !await isThere(client, upload, signal)) return
  throw new StoreError({
    reason: "Unavailable",
    detail: "the upload is still there after its abort",
    hint: "abort it again when nothing sends parts to it any more",
    operation: "abortUpload",
    key: upload.key,
    ambiguous: false,
    backend: "s3",
  })
}

/** The parts of an upload that are stored. */
export const listParts = async (client: Client, upload: Upload, signal: AbortSignal): Promise<ReadonlyArray<Part>> => {
  const asked: Asked = { operation: "listParts", key: upload.key, mutates: false }
  const parts: Array<Part> = []
  let marker: string | undefined
  let offset = 0
  do {
    const query: Record<string, string> = { uploadId: upload.id }
    if (marker !== undefined) query["part-number-marker"] = marker
    const headers = await keyHeaders(upload.customerKey)
    const request = { ...asked, method: "GET", path: upload.key, query, headers }
    const { document } = await client.ask(request, "ListPartsResult", signal)
    for (const element of childrenOf(document, "Part")) {
      const [number, size] = [Number(textOf(element, "PartNumber")), Number(textOf(element, "Size"))]
      const etag = etagFrom(textOf(element, "ETag") ?? "")
      if (!(Number.isInteger(number) && number > (parts.at(-1)?.number ?? 0) && size >= 0) || etag === "") {
        throw oddAnswer(asked, "the list has a part without number, size or etag, or out of order")
      }
      // Where one is missing, what follows has no known place; the engine sees the gap in the numbers.
      parts.push({ number, offset, size, crc32: crc32FromBase64(textOf(element, "ChecksumCRC32") ?? ""), etag })
      offset += size
    }
    const next = textOf(document, "IsTruncated") === "true" ? textOf(document, "NextPartNumberMarker") ?? "" : undefined
    if (next !== undefined && !(Number(next) > Number(marker ?? 0))) {
      throw oddAnswer(asked, "the list of parts goes on without saying where")
    }
    marker = next
  } while (marker !== undefined)
  return parts
}
