/**
 * Server-side encryption. Nothing is encrypted here; the rules of each kind are followed, so that a client that breaks
 * one is refused.
 *
 * @module
 */
import { fromBase64 } from "./hashing.ts"
import { S3Failure } from "./message.ts"
import type { Encryption, World } from "./state.ts"

const invalid = (message: string, code = "InvalidRequest"): S3Failure => new S3Failure(400, code, message)

const sse = "x-amz-server-side-encryption"

/** The key that a client gives with each request: its MD5, once it has been found to be right. */
const customerKey = (headers: ReadonlyMap<string, string>, prefix: string, world: World): string | undefined => {
  const algorithm = headers.get(`${prefix}-algorithm`)
  const key = headers.get(`${prefix}-key`)
  const md5 = headers.get(`${prefix}-key-md5`)
  if (algorithm === undefined && key === undefined && md5 === undefined) return undefined
  if (algorithm === undefined) {
    throw invalid(
      "Requests specifying Server Side Encryption with Customer provided keys must provide a valid " +
        "encryption algorithm.",
      "InvalidArgument",
    )
  }
  if (algorithm !== "AES256") {
    throw invalid("The Encryption request you specified is not valid.", "InvalidEncryptionAlgorithmError")
  }
  const bytes = key === undefined ? undefined : fromBase64(key)
  if (bytes?.length !== 32) {
    throw invalid("The secret key was invalid for the specified algorithm.", "InvalidArgument")
  }
  if (md5 === undefined || md5 !== world.hashing.digest("md5", bytes).toBase64()) {
    throw invalid("The calculated MD5 hash of the key did not match the hash that was provided.", "InvalidArgument")
  }
  return md5
}

/** How a request wants its object encrypted. */
export const requestedEncryption = (headers: ReadonlyMap<string, string>, world: World): Encryption => {
  const keyMd5 = customerKey(headers, `${sse}-customer`, world)
  const kind = headers.get(sse)
  const keyId = headers.get(`${sse}-aws-kms-key-id`)
  if (keyMd5 !== undefined) {
    if (kind !== undefined) {
      throw invalid(
        "Server Side Encryption with Customer provided key is incompatible with the encryption method " +
          "specified",
        "InvalidArgument",
      )
    }
    return { kind: "customer", keyMd5 }
  }
  if (kind === "aws:kms") {
    if (keyId !== undefined && world.kmsKeys !== undefined && !world.kmsKeys.includes(keyId)) {
      throw invalid(`Invalid keyId '${keyId}'`, "KMS.NotFoundException")
    }
    return {
      kind: "kms",
      keyId: keyId ?? `arn:aws:kms:${world.region}:000000000000:key/aws-s3`,
      context: headers.get(`${sse}-context`),
      bucketKey: headers.get(`${sse}-bucket-key-enabled`) === "true",
    }
  }
  if (kind !== undefined && kind !== "AES256") {
    throw invalid("The encryption method specified is not supported", "InvalidArgument")
  }
  if (keyId !== undefined) {
    throw invalid(
      "Server Side Encryption with AWS KMS managed key requires HTTP header " +
        "x-amz-server-side-encryption : aws:kms",
      "InvalidArgument",
    )
  }
  // Ceph takes the header, and answers as if it had not been there.
  return { kind: world.quirks.encrypts || (kind === "AES256" && world.quirks.checksums) ? "s3" : "none" }
}

/** Refuses a read, a part or a copy source whose customer key is missing, superfluous or another one. */
export const checkCustomerKey = (
  headers: ReadonlyMap<string, string>,
  encryption: Encryption,
  world: World,
  prefix: "x-amz" | "x-amz-copy-source" = "x-amz",
): void => {
  const given = customerKey(headers, `${prefix}-server-side-encryption-customer`, world)
  if (encryption.kind !== "customer") {
    if (given !== undefined) throw invalid("The encryption parameters are not applicable to this object.")
    return
  }
  if (given === undefined) {
    throw invalid(
      "The object was stored using a form of Server Side Encryption. The correct parameters must be " +
        "provided to retrieve the object.",
    )
  }
  if (given !== encryption.keyMd5) throw new S3Failure(403, "AccessDenied", "Access Denied")
}

/** The headers in which encryption is echoed. The context comes with writes only. */
export const encryptionHeaders = (encryption: Encryption, written = false): Readonly<Record<string, string>> => {
  switch (encryption.kind) {
    case "none":
      return {}
    case "s3":
      return { [sse]: "AES256" }
    case "customer":
      return { [`${sse}-customer-algorithm`]: "AES256", [`${sse}-customer-key-md5`]: encryption.keyMd5 }
    case "kms":
      return {
        [sse]: "aws:kms",
        [`${sse}-aws-kms-key-id`]: encryption.keyId,
        ...(encryption.bucketKey ? { [`${sse}-bucket-key-enabled`]: "true" } : {}),
        ...(written && encryption.context !== undefined ? { [`${sse}-context`]: encryption.context } : {}),
      }
  }
}

/** The etag of bytes: their MD5, unless a key other than the service's own encrypts them. */
export const etagOf = (bytes: Uint8Array, encryption: Encryption, world: World): string => {
  const opaque = encryption.kind === "kms" || encryption.kind === "customer"
  const hashed = opaque ? new TextEncoder().encode(world.nextId("etag")) : bytes
  return world.hashing.digest("md5", hashed).toHex()
}
