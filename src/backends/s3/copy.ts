/**
 * Copies within the service.
 *
 * A copy gets a write id of its own, so its metadata is sent anew: the source is looked at first, and the copy is
 * pinned to what was seen. A service that does not check the pin would mix one write's bytes with another's
 * metadata; there the copy is made as an upload, and completed only when the source is still the same.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import type { CopyOptions, ObjectInfo, Part, Upload } from "../../backend.ts"
import { StoreError } from "../../error.ts"
import type { Client } from "./client.ts"
import { confirmEncryption, encryptionHeaders } from "./encryption.ts"
import { oddAnswer, requestIdOf } from "./errors.ts"
import { etagFrom, type Head, headHeaders, systemHeaders } from "./head.ts"
import { abortUpload, completeUpload, copyPart, createUpload, type Heads, putPart } from "./multipart.ts"
import { checkSource, type Source, sourceHeaders } from "./source.ts"
import { conditionHeaders, conditionOf, writtenInfo } from "./write.ts"
import { textOf } from "./xml.ts"

/** Trying again reads the new source; who asked for the old one is told by `checkSource` then. */
const changed = (key: string): StoreError =>
  new StoreError({
    reason: "Conflict",
    detail: "the source was replaced while it was being copied",
    transient: true,
    ambiguous: false,
    operation: "copy",
    key,
    backend: "s3",
  })

/** A copy whose source has been looked at. */
interface Pinned {
  readonly source: Source & { readonly sourceIfMatch: string }
  readonly size: number
  readonly to: string
  readonly head: Head
  readonly options: CopyOptions
}

/** Duplicates an object of up to `maxCopy` bytes. */
export const copy = (
  client: Client,
  heads: Heads,
  from: string,
  to: string,
  options: CopyOptions,
): Effect.Effect<ObjectInfo, StoreError> => {
  const { sourceIfMatch, sourceVersionId, sourceCustomerKey, writeId, encryption } = options
  const asked: Source = { key: from, sourceIfMatch, sourceVersionId, sourceCustomerKey }
  return Effect.flatMap(
    client.run((signal) => checkSource(client, "copy", asked, signal)),
    ({ info, headers }) => {
      const { size, contentType, metadata, codec, crc32, sha256, length } = info
      const { storageClass = info.storageClass } = options
      const facts = { contentType, metadata, codec, storageClass, crc32, sha256, length }
      const head = { ...facts, writeId, encryption, system: systemHeaders(headers) }
      const pinned = { source: { ...asked, sourceIfMatch: info.etag }, size, to, head, options }
      return client.settings.profile.conditional.copySource
        ? client.run((signal) => copyPinned(client, pinned, signal))
        : copyAsUpload(client, heads, pinned)
    },
  )
}

const copyPinned = async (
  client: Client,
  { source, size, to, head, options }: Pinned,
  signal: AbortSignal,
): Promise<ObjectInfo> => {
  const asked = { operation: "copy", key: to, mutates: true, condition: conditionOf(options) }
  const request = {
    ...asked,
    method: "PUT",
    path: to,
    headers: {
      ...headHeaders("copy", to, head, client.settings.profile),
      ...await sourceHeaders(client, source, true),
      ...await conditionHeaders(client, asked, options, signal),
      ...await encryptionHeaders(options.encryption),
      "x-amz-metadata-directive": "REPLACE",
      // The checksum of all bytes, also where the source was made of parts.
      ...(client.settings.profile.protection === "crc32" ? { "x-amz-checksum-algorithm": "CRC32" } : {}),
    },
  }
  const { document, headers } = await client.ask(request, "CopyObjectResult", signal).catch(async (error) => {
    // The answer may be about the source or about the target; only another look tells.
    const unclear = StoreError.is(error) && /^(?:NotFound|PreconditionFailed|AlreadyExists)$/.test(error.reason)
    if (unclear) {
      await checkSource(client, "copy", source, signal).catch((gone) => {
        throw StoreError.is(gone) && gone.reason === "PreconditionFailed" ? changed(source.key) : gone
      })
    }
    throw error
  })
  const etag = etagFrom(textOf(document, "ETag") ?? "")
  if (etag === "") throw oddAnswer(asked, "the answer has no etag of the object", { requestId: requestIdOf(headers) })
  confirmEncryption(asked, options.encryption, headers, true)
  return writtenInfo(to, size, etag, head, headers)
}

const copyAsUpload = (
  client: Client,
  heads: Heads,
  { source, size, to, head, options }: Pinned,
): Effect.Effect<ObjectInfo, StoreError> => {
  const send = (upload: Upload, signal: AbortSignal): Promise<Part> =>
    size === 0
      // A range without bytes cannot be written down.
      ? putPart(client, upload, { number: 1, offset: 0, crc32: 0 }, new Uint8Array(0), signal)
      : copyPart(client, upload, { number: 1, offset: 0, size }, { ...source, offset: 0 }, signal)
  const make = async (upload: Upload, signal: AbortSignal): Promise<ObjectInfo> => {
    const part = await send(upload, signal).catch((error) => {
      throw StoreError.is(error) && error.reason === "PreconditionFailed" ? changed(source.key) : error
    })
    const { ifMatch, ifNoneMatch } = options
    const end = { ifMatch, ifNoneMatch, size, crc32: head.crc32 }
    return await completeUpload(client, heads, upload, [part], end, signal)
  }
  return Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(
      restore(createUpload(client, heads, to, head)),
      (upload) =>
        Effect.onExit(
          restore(client.run((signal) => make(upload, signal))),
          (exit) =>
            exit._tag === "Success"
              ? Effect.void
              : Effect.catch(client.run((signal) => abortUpload(client, upload, signal)), () => Effect.void),
        ),
    )
  ).pipe(Effect.mapError((error) => error.operation === "copy" ? error : error.with({ operation: "copy" })))
}
