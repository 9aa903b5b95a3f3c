/**
 * What a copy reads: how it is named, and whether it is still what was asked for.
 *
 * @module
 */
import { encodeKey, encodeQuery } from "../../aws/encode.ts"
import type { CopySource, ObjectInfo } from "../../backend.ts"
import { StoreError } from "../../error.ts"
import type { Client } from "./client.ts"
import { keyHeaders } from "./encryption.ts"
import { serviceEtag } from "./head.ts"
import { look, matches } from "./read.ts"

/** The source of a copy. */
export interface Source extends CopySource {
  /** The object's name. */
  readonly key: string
}

/** The headers that name the source of a copy, its key and, where that is `checked`, its condition. */
export const sourceHeaders = async (
  { settings }: Client,
  source: Source,
  checked: boolean,
): Promise<Readonly<Record<string, string>>> => {
  const { bucket, prefix } = settings
  const { sourceIfMatch, sourceVersionId, sourceCustomerKey } = source
  const version = sourceVersionId === undefined ? "" : `?${encodeQuery({ versionId: sourceVersionId })}`
  const owner = settings.headers["x-amz-expected-bucket-owner"]
  return {
    "x-amz-copy-source": encodeKey(`/${bucket}/${prefix}${source.key}`) + version,
    ...(sourceIfMatch === undefined || !checked
      ? {}
      : { "x-amz-copy-source-if-match": `"${serviceEtag(sourceIfMatch)}"` }),
    ...(owner === undefined ? {} : { "x-amz-source-expected-bucket-owner": owner }),
    ...await keyHeaders(sourceCustomerKey, "x-amz-copy-source"),
  }
}

/** The source as it is, which must be the one asked for. */
export const checkSource = async (
  client: Client,
  operation: string,
  source: Source,
  signal: AbortSignal,
): Promise<{ readonly info: ObjectInfo; readonly headers: Headers }> => {
  const { key, sourceVersionId: versionId, sourceCustomerKey: customerKey, sourceIfMatch } = source
  const found = await look(client, operation, key, { versionId, customerKey }, signal)
  if (sourceIfMatch === undefined || matches(sourceIfMatch, found.info)) return found
  throw new StoreError({
    reason: "PreconditionFailed",
    detail: `its etag is "${found.info.etag}", sourceIfMatch asks for "${sourceIfMatch}"`,
    operation,
    key,
    backend: "s3",
  })
}
