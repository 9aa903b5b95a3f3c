/**
 * What protects the bytes of a request on their way: checksums, hashes, and their texts.
 *
 * @module
 */
import { fastestHash } from "../../aws/hash.ts"
import { unsignedPayload } from "../../aws/sign.ts"
import { StoreError } from "../../error.ts"
import { crc32 } from "../../streams/crc32.ts"

/** Bytes as base64. */
export const toBase64 = (bytes: Uint8Array): string => {
  let binary = ""
  for (const byte of bytes) binary += String.fromCharCode(byte)
  return btoa(binary)
}

/** What `text` encodes; throws where it is no base64. */
export const fromBase64 = (text: string): Uint8Array<ArrayBuffer> =>
  Uint8Array.from(atob(text), (char) => char.charCodeAt(0))

/** A CRC-32 as S3 writes it: four bytes, the highest first, in base64. */
export const crc32ToBase64 = (crc: number): string =>
  btoa(String.fromCharCode(crc >>> 24, (crc >>> 16) & 255, (crc >>> 8) & 255, crc & 255))

/** A CRC-32 that S3 wrote; `undefined` where it is something else, such as a checksum of checksums. */
export const crc32FromBase64 = (text: string): number | undefined => {
  if (!/^[A-Za-z0-9+/]{6}==$/.test(text)) return undefined
  return fromBase64(text).reduce((crc, byte) => ((crc << 8) | byte) >>> 0, 0)
}

const hexOf = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"))

const toHex = (bytes: Uint8Array): string => bytes.reduce((hex, byte) => hex + hexOf[byte], "")

/** From here on WebCrypto is faster: it hashes on another thread, at the price of a copy. */
const large = 64 * 1024

/** SHA-256 in hex. */
export const sha256Hex = async (bytes: Uint8Array): Promise<string> => {
  if (bytes.length >= large) return toHex(new Uint8Array(await crypto.subtle.digest("SHA-256", bytes as BufferSource)))
  const hash = new (fastestHash())()
  hash.update(bytes)
  return toHex(await hash.digest())
}

interface NodeCrypto {
  readonly createHash: (name: "md5") => { update(data: Uint8Array): { digest(): Uint8Array } }
}

/** MD5 in base64; `undefined` where the runtime has none. Node's kin have it, and so has WebCrypto in Workers. */
export const md5Base64 = async (bytes: Uint8Array): Promise<string | undefined> => {
  const { process } = globalThis as { process?: { getBuiltinModule?: (name: string) => unknown } }
  const node = process?.getBuiltinModule?.("node:crypto") as NodeCrypto | undefined
  if (node !== undefined) return toBase64(node.createHash("md5").update(bytes).digest())
  try {
    return toBase64(new Uint8Array(await crypto.subtle.digest("MD5", bytes as BufferSource)))
  } catch {
    return undefined
  }
}

/** A body with what protects it. */
export interface Protected {
  /** For the signature. */
  readonly payloadHash: string
  /** Further headers. */
  readonly headers: Readonly<Record<string, string>>
}

/** How a client protects bodies. */
export interface Protection {
  /** See `profiles.ts`. */
  readonly kind: "crc32" | "signed" | "md5"
  /** Whether the signature covers the body as well. */
  readonly sign: boolean
}

/** Protects the bytes of an object, whose CRC-32 is known. */
export const protectBytes = async (bytes: Uint8Array, crc: number, { kind, sign }: Protection): Promise<Protected> => {
  const headers: Record<string, string> = {}
  if (kind === "crc32") headers["x-amz-checksum-crc32"] = crc32ToBase64(crc)
  const md5 = kind === "md5" ? await md5Base64(bytes) : undefined
  if (md5 !== undefined) headers["content-md5"] = md5
  const covered = kind === "crc32" || md5 !== undefined
  return { payloadHash: covered && !sign ? unsignedPayload : await sha256Hex(bytes), headers }
}

/** Protects a document of ours, which is small: by its signature. */
export const protectDocument = async (bytes: Uint8Array): Promise<Protected> => ({
  payloadHash: await sha256Hex(bytes),
  headers: { "content-type": "application/xml" },
})

/** The same for requests that must have a checksum as well: removals of many objects, and changes of a bucket. */
export const checkedDocument = async (bytes: Uint8Array): Promise<Protected> => {
  const { payloadHash, headers } = await protectDocument(bytes)
  // Every service knows MD5.
  const md5 = await md5Base64(bytes)
  const checksum: Record<string, string> = md5 === undefined
    ? { "x-amz-checksum-crc32": crc32ToBase64(crc32(bytes)) }
    : { "content-md5": md5 }
  return { payloadHash, headers: { ...headers, ...checksum } }
}

/** The headers of a customer's key. Fails with `Unsupported` where the runtime has no MD5. */
export const customerKeyHeaders = async (
  key: Uint8Array,
  names: "x-amz" | "x-amz-copy-source",
): Promise<Readonly<Record<string, string>>> => {
  const md5 = await md5Base64(key)
  if (md5 === undefined) {
    throw new StoreError({
      reason: "Unsupported",
      detail: "this runtime has no MD5, without which S3 takes no sse-c key",
      operation: "encrypt",
      backend: "s3",
    })
  }
  const name = `${names}-server-side-encryption-customer`
  return { [`${name}-algorithm`]: "AES256", [`${name}-key`]: toBase64(key), [`${name}-key-md5`]: md5 }
}
