/**
 * Encryption at rest: how it is asked for, and whether the answer confirms it. An encryption that was asked for and
 * is not confirmed is an error, never a warning: nobody reads warnings about secrets.
 *
 * @module
 */
import * as Redacted from "effect/Redacted"
import type { CustomerKey, Encryption } from "../../backend.ts"
import { StoreError } from "../../error.ts"
import { type Asked, oddAnswer, requestIdOf } from "./errors.ts"
import { customerKeyHeaders, toBase64 } from "./payload.ts"

const sse = "x-amz-server-side-encryption"

/** The headers of a request that reads, or adds to, what was encrypted with a customer's key. */
export const keyHeaders = async (
  key: CustomerKey | undefined,
  names: "x-amz" | "x-amz-copy-source" = "x-amz",
): Promise<Readonly<Record<string, string>>> =>
  key === undefined ? {} : await customerKeyHeaders(Redacted.value(key), names)

/** The headers of a request that begins an object. */
export const encryptionHeaders = async (
  encryption: Encryption | undefined,
): Promise<Readonly<Record<string, string>>> => {
  if (encryption === undefined) return {}
  if (encryption.type === "sse-s3") return { [sse]: "AES256" }
  if (encryption.type === "sse-c") return await keyHeaders(encryption.key)
  const { keyId, context, bucketKey } = encryption
  return {
    [sse]: "aws:kms",
    ...(keyId === undefined ? {} : { [`${sse}-aws-kms-key-id`]: keyId }),
    ...(context === undefined
      ? {}
      : { [`${sse}-context`]: toBase64(new TextEncoder().encode(JSON.stringify(context))) }),
    ...(bucketKey === undefined ? {} : { [`${sse}-bucket-key-enabled`]: String(bucketKey) }),
  }
}

/** Refuses an encryption that this store does not have, before anything is asked of the service. */
export const checkEncryption = (
  encryption: Encryption | undefined,
  has: ReadonlyArray<Encryption["type"]>,
  operation: string,
  key: string,
): void => {
  if (encryption === undefined || has.includes(encryption.type)) return
  throw new StoreError({
    reason: "Unsupported",
    detail: encryption.type === "sse-c"
      ? "this store takes no sse-c keys: the service has no such thing, or the key would travel unencrypted"
      : `this service cannot encrypt with ${encryption.type}`,
    operation,
    key,
    backend: "s3",
  })
}

/**
 * Checks that an answer confirms the encryption asked for. `stored`: the object is there already, as `put` and `copy`
 * have it; then the message says so, since nothing but a removal makes it undone.
 */
export const confirmEncryption = (
  asked: Asked,
  encryption: Encryption | undefined,
  headers: Headers,
  stored: boolean,
): void => {
  if (encryption === undefined) return
  const kind = headers.get(sse)
  const confirmed = encryption.type === "sse-c"
    ? headers.get(`${sse}-customer-algorithm`) === "AES256"
    : encryption.type === "sse-s3"
    ? kind === "AES256"
    : kind === "aws:kms" || kind === "aws:kms:dsse"
  if (confirmed) return
  throw oddAnswer(
    asked,
    `the service does not confirm the encryption ${encryption.type}` +
      (stored ? "; the object is stored, perhaps unencrypted" : ""),
    {
      hint: stored ? "remove the object, and look up what encryption the service has" : "look up what the service has",
      // There is nothing to settle: what has happened is known.
      ambiguous: false,
      requestId: requestIdOf(headers),
    },
  )
}
