/**
 * Requests that others can make: signed here, and asked of nobody.
 *
 * @module
 */
import type { Backend, Presigned, PresignOptions } from "../../backend.ts"
import { StoreError } from "../../error.ts"
import type { Client } from "./client.ts"

/** A signed request. Of the options only those of its method are looked at; others are `InvalidInput`. */
export const presign = async (
  client: Client,
  method: Parameters<NonNullable<Backend["presign"]>>[0],
  key: string,
  options: PresignOptions,
): Promise<Presigned> => {
  const { expires, versionId, responseContentType, responseContentDisposition, contentType, part } = options
  const reads = versionId ?? responseContentType ?? responseContentDisposition
  const misplaced = method !== "GET" && reads !== undefined
    ? "versionId and responseContent…"
    : method !== "PUT" && (contentType ?? part) !== undefined
    ? "contentType and part"
    : undefined
  if (misplaced !== undefined) {
    throw new StoreError({
      reason: "InvalidInput",
      detail: `${misplaced} mean nothing for ${method}`,
      operation: "presign",
      key,
      backend: "s3",
    })
  }
  const query: Record<string, string> = {}
  if (versionId !== undefined) query["versionId"] = versionId
  if (responseContentType !== undefined) query["response-content-type"] = responseContentType
  if (responseContentDisposition !== undefined) query["response-content-disposition"] = responseContentDisposition
  if (part !== undefined) {
    query["partNumber"] = String(part.number)
    query["uploadId"] = part.upload.id
  }
  const headers: Readonly<Record<string, string>> = contentType === undefined ? {} : { "content-type": contentType }
  const request = { operation: "presign", key, path: key, mutates: false, method, query, headers }
  const signed = await client.presign(request, expires)
  return { url: signed.url, headers: signed.headers, expires: signed.expires }
}
