/**
 * Checksums that a client gives with its bytes: verified, stored and answered.
 *
 * @module
 */
import { checksum, type ChecksumName, checksumNames, fromBase64, isChecksumName } from "./hashing.ts"
import { joinBytes, S3Failure } from "./message.ts"
import type { Call, StoredChecksum, World } from "./state.ts"

const invalid = (message: string, code = "InvalidRequest"): S3Failure => new S3Failure(400, code, message)

/** Bytes of each checksum. */
const lengths: Readonly<Record<ChecksumName, number>> = { crc32: 4, crc32c: 4, crc64nvme: 8, sha1: 20, sha256: 32 }

/** The one checksum that a request carries, in a header or a trailer. */
export const givenChecksum = (
  call: Call,
): { readonly name: ChecksumName; readonly value: string } | undefined => {
  const given = checksumNames.flatMap((name) => {
    const value = call.headers.get(`x-amz-checksum-${name}`) ?? call.trailers.get(`x-amz-checksum-${name}`)
    return value === undefined ? [] : [{ name, value }]
  })
  if (given.length > 1) {
    throw invalid("Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.")
  }
  const [one] = given
  if (one === undefined && call.headers.has("x-amz-sdk-checksum-algorithm") && call.body.length > 0) {
    throw invalid(
      "x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or x-amz-trailer headers were found.",
    )
  }
  if (one !== undefined && fromBase64(one.value)?.length !== lengths[one.name]) {
    throw invalid(`Value for x-amz-checksum-${one.name} header is invalid.`)
  }
  return one
}

/** Verifies what a request says of its body: `content-md5`, `x-amz-checksum-…`. Returns the checksum to be stored. */
export const verifyBody = (call: Call, world: World): StoredChecksum | undefined => {
  verifyMd5(call, world)
  if (!world.quirks.checksums) return undefined
  const given = givenChecksum(call)
  if (given === undefined) return undefined
  if (checksum(world.hashing, given.name, call.body).toBase64() !== given.value) throw badDigest(given.name)
  return { ...given, type: "FULL_OBJECT" }
}

/** `BadDigest`, for a checksum. */
export const badDigest = (name: ChecksumName): S3Failure =>
  invalid(`The ${name.toUpperCase()} you specified did not match the calculated checksum.`, "BadDigest")

const verifyMd5 = (call: Call, world: World): void => {
  const given = call.headers.get("content-md5")
  if (given === undefined) return
  if (fromBase64(given)?.length !== 16) throw invalid("The Content-MD5 you specified is not valid.", "InvalidDigest")
  const actual = world.hashing.digest("md5", call.body).toBase64()
  if (actual !== given) {
    throw new S3Failure(400, "BadDigest", "The Content-MD5 you specified did not match what we received.", {
      details: { ExpectedDigest: given, CalculatedDigest: actual },
    })
  }
}

/** A checksum that the client names and does not give: `x-amz-checksum-algorithm`. */
export const namedChecksum = (call: Call): ChecksumName | undefined => {
  const name = call.headers.get("x-amz-checksum-algorithm")?.toLowerCase()
  if (name === undefined) return undefined
  if (!isChecksumName(name)) throw invalid("Checksum algorithm provided is unsupported.")
  return name
}

/** The headers in which a checksum is answered. */
export const checksumHeaders = (stored: StoredChecksum | undefined): Readonly<Record<string, string>> =>
  stored === undefined ? {} : { [`x-amz-checksum-${stored.name}`]: stored.value, "x-amz-checksum-type": stored.type }

/** The checksum of bytes as it is stored. */
export const checksumOf = (world: World, name: ChecksumName, bytes: Uint8Array): StoredChecksum => ({
  name,
  value: checksum(world.hashing, name, bytes).toBase64(),
  type: "FULL_OBJECT",
})

/** The checksum of the checksums of parts. */
export const compositeChecksum = (
  world: World,
  name: ChecksumName,
  parts: ReadonlyArray<string>,
): StoredChecksum => {
  const joined = joinBytes(parts.map((value) => fromBase64(value) ?? new Uint8Array(0)))
  return { name, value: `${checksum(world.hashing, name, joined).toBase64()}-${parts.length}`, type: "COMPOSITE" }
}
