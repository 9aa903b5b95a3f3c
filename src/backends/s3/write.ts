/**
 * Writes of whole objects: put and remove, and the conditions that writes carry.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import type { Backend, ObjectInfo, PutOptions, RemoveOptions, RemoveResult, WriteCondition } from "../../backend.ts"
import { StoreError } from "../../error.ts"
import type { Client } from "./client.ts"
import { confirmEncryption, encryptionHeaders } from "./encryption.ts"
import { type Asked, errorFrom, oddAnswer, refusal, requestIdOf } from "./errors.ts"
import { defaultType, encryptionFrom, etagFrom, headHeaders, namesWrite, serviceEtag, validatorOf } from "./head.ts"
import { checkedDocument, crc32ToBase64, protectBytes, type Protection } from "./payload.ts"
import { mismatch, statIfThere } from "./read.ts"
import { childrenOf, deleteDocument, fitsXml, textOf } from "./xml.ts"

/** How bodies are protected in this store. */
export const protectionOf = ({ settings: { profile, signPayload } }: Client): Protection => ({
  kind: profile.protection,
  sign: signPayload,
})

/** An etag as this service wants it in the `If-Match` of a write. */
const ifMatchOf = ({ settings: { profile } }: Client, validator: string): string =>
  profile.quotedIfMatch ? `"${serviceEtag(validator)}"` : serviceEtag(validator)

/**
 * The headers of a condition. The service compares contents only; that the object is of the very write which the
 * validator names is looked up first. What slips through in between is a second write of the same bytes.
 */
export const conditionHeaders = async (
  client: Client,
  asked: Asked & { readonly key: string },
  condition: WriteCondition,
  signal: AbortSignal,
): Promise<Readonly<Record<string, string>>> => {
  const { ifMatch, ifNoneMatch } = condition
  if (ifMatch === undefined && ifNoneMatch === undefined) return {}
  if (!client.settings.profile.conditional.inVersions) await refuseInVersions(client, asked, signal)
  if (ifMatch === undefined) return { "if-none-match": "*" }
  if (namesWrite(ifMatch)) {
    const now = await statIfThere(client, asked.operation, asked.key, signal)
    if (now?.etag !== ifMatch) throw mismatch(asked, ifMatch, now?.etag)
  }
  return { "if-match": ifMatchOf(client, ifMatch) }
}

/** Whether the bucket keeps versions; `undefined`: it never has. */
export const versioningOf = async (
  client: Client,
  asked: Asked,
  signal: AbortSignal,
): Promise<"Enabled" | "Suspended" | undefined> => {
  const request = { ...asked, method: "GET", query: { versioning: "" } }
  const { document } = await client.ask(request, "VersioningConfiguration", signal)
  const status = textOf(document, "Status")
  return status === "Enabled" || status === "Suspended" ? status : undefined
}

/** Which clients' buckets are known to keep no versions. */
const withoutVersions = new WeakSet<Client>()

/**
 * Refuses a condition where the bucket keeps versions and the service then ignores it. A bucket is asked once; one that
 * does not say is refused as well, since an ignored condition loses updates.
 */
const refuseInVersions = async (
  client: Client,
  { operation, key }: Asked & { readonly key: string },
  signal: AbortSignal,
): Promise<void> => {
  if (withoutVersions.has(client)) return
  const { profile, bucket } = client.settings
  const refused = (detail: string, hint: string, cause?: unknown): StoreError =>
    new StoreError({ reason: "Unsupported", detail, hint, operation, key, backend: "s3", cause })
  try {
    if (await versioningOf(client, { operation, key, mutates: false }, signal) === undefined) {
      withoutVersions.add(client)
      return
    }
  } catch (error) {
    if (!StoreError.is(error) || error.reason !== "Forbidden") throw error
    const detail =
      `${profile.name} checks no condition where versions are kept, and may not say whether "${bucket}" does`
    throw refused(detail, "allow s3:GetBucketVersioning, or save without a condition", error)
  }
  throw refused(
    `${profile.name} checks no condition in a bucket that keeps versions, as "${bucket}" does`,
    "use a bucket that keeps no versions, or save without a condition",
  )
}

/** What a failed condition of a write means. */
export const conditionOf = (condition: WriteCondition): Asked["condition"] =>
  condition.ifNoneMatch !== undefined ? "create" : condition.ifMatch !== undefined ? "match" : undefined

/** When the service says that it has answered. */
const dateFrom = (headers: Headers): Date => {
  const date = new Date(headers.get("date") ?? NaN)
  return Number.isNaN(date.getTime()) ? new Date() : date
}

/** The facts of an object that has just been written, from what was sent and what was answered. */
export const writtenInfo = (
  key: string,
  size: number,
  etag: string,
  sent: Omit<PutOptions, "crc32"> & { readonly crc32?: number | undefined },
  headers: Headers,
): ObjectInfo => ({
  key,
  size,
  etag: validatorOf(etagFrom(etag), sent.writeId),
  modified: dateFrom(headers),
  contentType: sent.contentType ?? defaultType,
  metadata: { ...sent.metadata },
  crc32: sent.crc32,
  sha256: sent.sha256,
  codec: sent.codec,
  length: sent.length,
  writeId: sent.writeId,
  versionId: headers.get("x-amz-version-id") ?? undefined,
  encryption: encryptionFrom(headers),
  storageClass: sent.storageClass === "STANDARD" ? undefined : sent.storageClass,
})

/** Stores a whole object. */
export const put = async (
  client: Client,
  key: string,
  bytes: Uint8Array,
  options: PutOptions,
  signal: AbortSignal,
): Promise<ObjectInfo> => {
  const asked: Asked & { readonly key: string } = {
    operation: "put",
    key,
    mutates: true,
    condition: conditionOf(options),
  }
  const { encryption } = options
  const head = headHeaders("put", key, options, client.settings.profile)
  const condition = await conditionHeaders(client, asked, options, signal)
  const { payloadHash, headers: protection } = await protectBytes(bytes, options.crc32, protectionOf(client))
  const headers = await client.sendOff({
    ...asked,
    method: "PUT",
    path: key,
    headers: { ...head, ...condition, ...protection, ...await encryptionHeaders(encryption) },
    body: bytes,
    payloadHash,
  }, signal)
  const etag = headers.get("etag") ?? ""
  const requestId = requestIdOf(headers)
  if (etag === "") throw oddAnswer(asked, "the answer has no etag of the object", { requestId })
  const checksum = headers.get("x-amz-checksum-crc32")
  if (checksum !== null && checksum !== crc32ToBase64(options.crc32)) {
    throw oddAnswer(asked, "the answer names another CRC-32 than was sent", { requestId })
  }
  confirmEncryption(asked, encryption, headers, true)
  return writtenInfo(key, bytes.length, etag, options, headers)
}

/** Removes an object or a version of it. */
export const remove = async (
  client: Client,
  key: string,
  options: RemoveOptions,
  signal: AbortSignal,
): Promise<void> => {
  const { ifMatch, versionId } = options
  const asked = { operation: "remove", key, mutates: true, condition: conditionOf({ ifMatch }) }
  const headers = await conditionHeaders(client, asked, { ifMatch }, signal)
  const query = versionId === undefined ? undefined : { versionId }
  try {
    await client.sendOff({ ...asked, method: "DELETE", path: key, query, headers }, signal)
  } catch (error) {
    // Some services say so when there is nothing to remove.
    if (!StoreError.is(error) || error.reason !== "NotFound" || ifMatch !== undefined) throw error
  }
}

/** Removals in flight where the service takes one at a time. */
const removeConcurrency = 16

const result = (key: string, removal: Effect.Effect<void, StoreError>): Effect.Effect<RemoveResult> =>
  Effect.match(removal, { onSuccess: () => ({ key }), onFailure: (error) => ({ key, error }) })

/** Removes many objects: in one request where the service can and the keys fit into XML, else one by one. */
export const removeMany = (client: Client, keys: ReadonlyArray<string>): ReturnType<Backend["removeMany"]> => {
  const { batchDelete } = client.settings.profile
  const batched = batchDelete ? keys.filter(fitsXml) : []
  const single = batchDelete ? keys.filter((key) => !fitsXml(key)) : keys
  const one = (key: string): Effect.Effect<RemoveResult> =>
    result(key, client.run((signal) => remove(client, key, {}, signal)))
  return Effect.map(
    Effect.all([
      batched.length === 0 ? Effect.succeed([]) : client.run((signal) => removeBatch(client, batched, signal)),
      Effect.forEach(single, one, { concurrency: removeConcurrency }),
    ]),
    (results) => {
      const byKey = new Map(results.flat().map((one) => [one.key, one]))
      return keys.map((key) => byKey.get(key) ?? { key })
    },
  )
}

const removeBatch = async (
  client: Client,
  keys: ReadonlyArray<string>,
  signal: AbortSignal,
): Promise<ReadonlyArray<RemoveResult>> => {
  const { bucket, prefix } = client.settings
  const asked: Asked = { operation: "removeMany", mutates: true }
  const body = new TextEncoder().encode(deleteDocument(keys.map((key) => prefix + key)))
  const { payloadHash, headers } = await checkedDocument(body)
  const request = { ...asked, method: "POST", query: { delete: "" }, headers, body, payloadHash }
  const { document, headers: answered } = await client.ask(request, "DeleteResult", signal)
  const removed = new Set(childrenOf(document, "Deleted").map((element) => textOf(element, "Key")))
  const failed = new Map(childrenOf(document, "Error").map((element) => [textOf(element, "Key"), element]))
  return keys.map((key): RemoveResult => {
    const element = failed.get(prefix + key)
    if (element !== undefined) {
      const refused = { status: 200, headers: answered, document: errorFrom(element) }
      const error = refusal({ ...asked, operation: "remove", key }, refused, bucket)
      return error.reason === "NotFound" ? { key } : { key, error }
    }
    if (removed.has(prefix + key)) return { key }
    return {
      key,
      error: oddAnswer({ ...asked, operation: "remove", key }, "the answer does not say what became of it"),
    }
  })
}
