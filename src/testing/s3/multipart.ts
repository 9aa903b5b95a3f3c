/**
 * Uploads in parts.
 *
 * @module
 */
import { checkWrite, parseRange } from "./conditions.ts"
import { copySource } from "./copy.ts"
import { type Answer, bare, joinBytes, S3Failure, xmlAnswer } from "./message.ts"
import { checkSize, headerTags, objectHeaders, readXml } from "./objects.ts"
import {
  badDigest,
  checksumHeaders,
  checksumOf,
  compositeChecksum,
  givenChecksum,
  namedChecksum,
  verifyBody,
} from "./checksums.ts"
import { checkCustomerKey, encryptionHeaders, etagOf } from "./encryption.ts"
import {
  type Bucket,
  bucketNamed,
  type Call,
  currentObject,
  type Handler,
  isoTime,
  numberParameter,
  type StoredChecksum,
  type StoredPart,
  type StoredUpload,
  storeObject,
  versionHeader,
  type World,
} from "./state.ts"
import { parameter } from "./target.ts"
import { childText, document, element, text } from "./xml.ts"

/** https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html */
const maxParts = 10_000

const invalid = (message: string): S3Failure => new S3Failure(400, "InvalidRequest", message)

const uploadId = (call: Call): string => parameter(call.query, "uploadId") ?? ""

/** The upload that a request is about, or `NoSuchUpload`. */
const uploadOf = (bucket: Bucket, call: Call): StoredUpload => {
  const upload = bucket.uploads.get(uploadId(call))
  if (upload !== undefined && upload.key === call.key) return upload
  throw new S3Failure(
    404,
    "NoSuchUpload",
    "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed.",
    { details: { UploadId: uploadId(call) } },
  )
}

const uploadChecksum = (call: Call, world: World): StoredUpload["checksum"] => {
  if (!world.quirks.checksums) return undefined
  const name = namedChecksum(call)
  const type = call.headers.get("x-amz-checksum-type")?.toUpperCase()
  if (name === undefined) {
    if (type !== undefined) {
      throw invalid("The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header.")
    }
    return undefined
  }
  // A CRC of the whole follows from those of the parts; the others only exist over parts, CRC-64 only over the whole.
  const whole = name.startsWith("crc")
  const chosen = type ?? (name === "crc64nvme" ? "FULL_OBJECT" : "COMPOSITE")
  if (
    (chosen !== "FULL_OBJECT" && chosen !== "COMPOSITE") || (chosen === "FULL_OBJECT" ? !whole : name === "crc64nvme")
  ) {
    throw invalid(`The ${chosen} checksum type cannot be used with the ${name} checksum algorithm.`)
  }
  return { name, type: chosen }
}

const createUpload: Handler = (call, world) => {
  const bucket = bucketNamed(world, call.bucket)
  const head = objectHeaders(call, world)
  const checksum = uploadChecksum(call, world)
  const upload: StoredUpload = {
    ...head,
    id: world.nextId("upload"),
    key: call.key,
    initiated: call.now,
    tags: headerTags(call),
    checksum,
    parts: new Map(),
  }
  bucket.uploads.set(upload.id, upload)
  return xmlAnswer(
    document(
      "InitiateMultipartUploadResult",
      text("Bucket", call.bucket),
      text("Key", call.key),
      text("UploadId", upload.id),
    ),
    {
      ...encryptionHeaders(head.encryption, true),
      ...(checksum === undefined ? {} : {
        "x-amz-checksum-algorithm": checksum.name.toUpperCase(),
        "x-amz-checksum-type": checksum.type,
      }),
    },
  )
}

const partNumber = (call: Call): number => {
  const number = Number(parameter(call.query, "partNumber"))
  if (Number.isInteger(number) && number >= 1 && number <= maxParts) return number
  throw new S3Failure(400, "InvalidArgument", `Part number must be an integer between 1 and ${maxParts}, inclusive`, {
    details: { ArgumentName: "partNumber", ArgumentValue: parameter(call.query, "partNumber") ?? "" },
  })
}

/**
 * The checksum to be stored with a part. An upload that names a kind takes no other, and has it computed where the
 * client leaves it out; one that names none takes any.
 */
const partChecksum = (
  upload: StoredUpload,
  given: StoredChecksum | undefined,
  bytes: Uint8Array,
  world: World,
): StoredChecksum | undefined => {
  const name = upload.checksum?.name
  if (name === undefined) return given
  if (given !== undefined && given.name !== name) {
    throw invalid(
      `Checksum Type mismatch occurred, expected checksum Type: ${name}, actual checksum Type: ${given.name}`,
    )
  }
  return given ?? checksumOf(world, name, bytes)
}

const storePart = (
  upload: StoredUpload,
  number: number,
  bytes: Uint8Array,
  given: StoredChecksum | undefined,
  call: Call,
  world: World,
): StoredPart => {
  checkSize(bytes.length, world)
  const checksum = partChecksum(upload, given, bytes, world)
  const part = { bytes, etag: etagOf(bytes, upload.encryption, world), modified: call.now, checksum }
  upload.parts.set(number, part)
  return part
}

const uploadPart: Handler = (call, world) => {
  const upload = uploadOf(bucketNamed(world, call.bucket), call)
  const number = partNumber(call)
  checkCustomerKey(call.headers, upload.encryption, world)
  const part = storePart(upload, number, call.body, verifyBody(call, world), call, world)
  const { ["x-amz-checksum-type"]: _, ...checksums } = checksumHeaders(part.checksum)
  return bare(200, { etag: `"${part.etag}"`, ...checksums, ...encryptionHeaders(upload.encryption) })
}

const uploadPartCopy: Handler = (call, world) => {
  const upload = uploadOf(bucketNamed(world, call.bucket), call)
  const number = partNumber(call)
  checkCustomerKey(call.headers, upload.encryption, world)
  const { object } = copySource(call, world).version
  const header = call.headers.get("x-amz-copy-source-range")
  const range = parseRange(header, object.bytes.length)
  if (header !== undefined && (range === undefined || !/^bytes=\d+-\d+$/.test(header))) {
    throw new S3Failure(
      400,
      "InvalidArgument",
      "The x-amz-copy-source-range value must be of the form " +
        "bytes=first-last where first and last are the zero-based offsets of the first and last bytes to copy",
    )
  }
  const bytes = range === undefined ? object.bytes : object.bytes.subarray(range.start, range.end)
  const part = storePart(upload, number, bytes, undefined, call, world)
  return xmlAnswer(
    document(
      "CopyPartResult",
      text("LastModified", isoTime(part.modified)),
      text("ETag", `"${part.etag}"`),
      part.checksum === undefined ? "" : text(`Checksum${part.checksum.name.toUpperCase()}`, part.checksum.value),
    ),
    encryptionHeaders(upload.encryption),
  )
}

const invalidPart = (upload: StoredUpload, number: number, etag: string): S3Failure =>
  new S3Failure(
    400,
    "InvalidPart",
    "One or more of the specified parts could not be found. The part may not have been uploaded, or the specified " +
      "entity tag may not match the part's entity tag.",
    { details: { UploadId: upload.id, PartNumber: String(number), ETag: etag } },
  )

/** The parts that a client lists, in its order, each checked against what is stored. */
const listedParts = (call: Call, upload: StoredUpload, world: World): ReadonlyArray<StoredPart> => {
  const listed = readXml(call, "CompleteMultipartUpload").children.filter((one) => one.name === "Part")
  if (listed.length < 1 || listed.length > maxParts) {
    throw new S3Failure(
      400,
      "MalformedXML",
      "The XML you provided was not well-formed or did not validate against our " +
        "published schema",
    )
  }
  const numbers = listed.map((one) => Number(childText(one, "PartNumber")))
  const wrongOrder = numbers.some((number, i) => i > 0 && number <= numbers[i - 1]!)
  if (wrongOrder && (world.quirks.partOrder || new Set(numbers).size < numbers.length)) {
    throw new S3Failure(
      400,
      "InvalidPartOrder",
      "The list of parts was not in ascending order. The parts list must be " +
        "specified in order by part number.",
    )
  }
  const found = listed.map((one, i) => {
    const number = numbers[i]!
    const etag = (childText(one, "ETag") ?? "").replaceAll('"', "")
    const part = upload.parts.get(number)
    if (part === undefined || part.etag !== etag) throw invalidPart(upload, number, etag)
    if (upload.checksum !== undefined) {
      const checksum = childText(one, `Checksum${upload.checksum.name.toUpperCase()}`)
      if (checksum === undefined && upload.checksum.type === "COMPOSITE") {
        throw invalid(
          `The upload was created using a ${upload.checksum.name} checksum. The complete request must include the ` +
            `checksum for each part. It was missing for part ${number} in the request.`,
        )
      }
      if (checksum !== undefined && checksum !== part.checksum?.value) throw invalidPart(upload, number, etag)
    }
    return { number, part }
  })
  return found.toSorted((a, b) => a.number - b.number).map(({ part }) => part)
}

const checkSizes = (parts: ReadonlyArray<StoredPart>, upload: StoredUpload, world: World): void => {
  const first = parts[0]!.bytes.length
  const inner = parts.slice(0, -1)
  const small = inner.find((part) => part.bytes.length < world.minPartSize)
  if (small !== undefined) {
    const number = [...upload.parts].find(([, part]) => part === small)?.[0]
    throw new S3Failure(400, "EntityTooSmall", "Your proposed upload is smaller than the minimum allowed size", {
      details: {
        ProposedSize: String(small.bytes.length),
        MinSizeAllowed: String(world.minPartSize),
        PartNumber: String(number),
        ETag: small.etag,
      },
    })
  }
  const last = parts.at(-1)!.bytes.length
  if (world.quirks.equalParts && (inner.some((part) => part.bytes.length !== first) || last > first)) {
    throw new S3Failure(400, "InvalidPart", "All non-trailing parts must have the same length.")
  }
}

/** The checksum of the whole object, once what the client says of it has been found to be right. */
const wholeChecksum = (
  call: Call,
  upload: StoredUpload,
  parts: ReadonlyArray<StoredPart>,
  bytes: Uint8Array,
  world: World,
): StoredChecksum | undefined => {
  if (!world.quirks.checksums) return undefined
  const type = call.headers.get("x-amz-checksum-type")?.toUpperCase()
  if (type !== undefined && type !== (upload.checksum?.type ?? "FULL_OBJECT")) {
    throw invalid(
      `The upload was created using the ${
        upload.checksum?.type ?? "FULL_OBJECT"
      } checksum mode. The complete request ` +
        "must use the same checksum mode.",
    )
  }
  const given = [...call.headers].find(([name]) => /^x-amz-checksum-(crc32|crc32c|crc64nvme|sha1|sha256)$/.test(name))
  if (upload.checksum === undefined) {
    const whole = givenChecksum(call)
    if (whole !== undefined && checksumOf(world, whole.name, bytes).value !== whole.value) throw badDigest(whole.name)
    return whole === undefined ? undefined : { ...whole, type: "FULL_OBJECT" }
  }
  const { name } = upload.checksum
  const whole = upload.checksum.type === "FULL_OBJECT"
    ? checksumOf(world, name, bytes)
    : compositeChecksum(world, name, parts.map((part) => part.checksum?.value ?? ""))
  if (given !== undefined && (given[0] !== `x-amz-checksum-${name}` || given[1] !== whole.value)) throw badDigest(name)
  return whole
}

const completeUpload: Handler = (call, world) => {
  const bucket = bucketNamed(world, call.bucket)
  const before = bucket.completed.get(uploadId(call))
  if (before !== undefined && world.quirks.completeTwice) return before
  const upload = uploadOf(bucket, call)
  const parts = listedParts(call, upload, world)
  checkSizes(parts, upload, world)
  const bytes = joinBytes(parts.map((part) => part.bytes))
  const size = call.headers.get("x-amz-mp-object-size")
  if (size !== undefined && world.quirks.checksums && Number(size) !== bytes.length) {
    throw invalid(
      `The provided 'x-amz-mp-object-size' header value ${size} does not match what was computed: ${bytes.length}`,
    )
  }
  const checksum = wholeChecksum(call, upload, parts, bytes, world)
  const { conditions } = world.quirks
  checkWrite(call.headers, call.key, currentObject(bucket, call.key), conditions.complete, conditions)

  const digests = joinBytes(parts.map((part) => Uint8Array.fromHex(part.etag)))
  const etag = `${world.hashing.digest("md5", digests).toHex()}-${parts.length}`
  const { system, metadata, storageClass, encryption, tags } = upload
  const pieces = parts.map((part) => ({ size: part.bytes.length, checksum: part.checksum }))
  const object = { system, metadata, storageClass, encryption, tags, bytes, etag, checksum, parts: pieces }
  const version = storeObject(bucket, call.key, object, call.now, world)
  bucket.uploads.delete(upload.id)
  const answer = xmlAnswer(
    document(
      "CompleteMultipartUploadResult",
      text("Location", `/${call.bucket}/${call.key}`),
      text("Bucket", call.bucket),
      text("Key", call.key),
      text("ETag", world.quirks.completeEtag ? `"${etag}"` : ""),
      checksum === undefined
        ? ""
        : text(`Checksum${checksum.name.toUpperCase()}`, checksum.value) + text("ChecksumType", checksum.type),
    ),
    { ...encryptionHeaders(encryption), ...versionHeader(bucket, version) },
  )
  bucket.completed.set(upload.id, answer)
  return answer
}

const abortUpload: Handler = (call, world) => {
  const bucket = bucketNamed(world, call.bucket)
  bucket.uploads.delete(uploadOf(bucket, call).id)
  return bare(204)
}

const owner = element("Owner", text("ID", "peer"), text("DisplayName", "peer"))
const initiator = element("Initiator", text("ID", "peer"), text("DisplayName", "peer"))

const listParts: Handler = (call, world): Answer => {
  const upload = uploadOf(bucketNamed(world, call.bucket), call)
  const most = numberParameter(call.query, "max-parts", 1000, 1000)
  const marker = numberParameter(call.query, "part-number-marker", 0, maxParts)
  const later = [...upload.parts].filter(([number]) => number > marker).toSorted(([a], [b]) => a - b)
  const page = later.slice(0, most)
  const checksum = upload.checksum
  return xmlAnswer(document(
    "ListPartsResult",
    text("Bucket", call.bucket),
    text("Key", call.key),
    text("UploadId", upload.id),
    text("PartNumberMarker", marker),
    text("NextPartNumberMarker", page.at(-1)?.[0] ?? 0),
    text("MaxParts", most),
    text("IsTruncated", later.length > page.length),
    ...page.map(([number, part]) =>
      element(
        "Part",
        text("PartNumber", number),
        text("LastModified", isoTime(part.modified)),
        text("ETag", `"${part.etag}"`),
        text("Size", part.bytes.length),
        part.checksum === undefined ? "" : text(`Checksum${part.checksum.name.toUpperCase()}`, part.checksum.value),
      )
    ),
    initiator,
    owner,
    text("StorageClass", upload.storageClass),
    checksum === undefined
      ? ""
      : text("ChecksumAlgorithm", checksum.name.toUpperCase()) + text("ChecksumType", checksum.type),
  ))
}

/** The operations of this file, by name. */
export const multipartOperations: {
  readonly [
    name in
      | "CreateMultipartUpload"
      | "UploadPart"
      | "UploadPartCopy"
      | "CompleteMultipartUpload"
      | "AbortMultipartUpload"
      | "ListParts"
  ]: Handler
} = {
  CreateMultipartUpload: createUpload,
  UploadPart: uploadPart,
  UploadPartCopy: uploadPartCopy,
  CompleteMultipartUpload: completeUpload,
  AbortMultipartUpload: abortUpload,
  ListParts: listParts,
}
