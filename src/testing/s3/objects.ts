/**
 * The operations on objects: put, get, head, delete, and what is known of them.
 *
 * @module
 */
import { checkRemove, checkWrite, notModified, parseRange, rangeCounts } from "./conditions.ts"
import { type Answer, bare, S3Failure, xmlAnswer } from "./message.ts"
import { checksumHeaders, checksumOf, verifyBody } from "./checksums.ts"
import { checkCustomerKey, encryptionHeaders, etagOf, requestedEncryption } from "./encryption.ts"
import {
  bucketNamed,
  type Call,
  currentObject,
  type Handler,
  httpTime,
  numberParameter,
  type ObjectHeaders,
  readVersion,
  removeObject,
  type StoredObject,
  storeObject,
  type Version,
  versionHeader,
  type World,
} from "./state.ts"
import { parameter, percentDecode } from "./target.ts"
import { child, childText, document, element, parseXml, text, type XmlElement } from "./xml.ts"

/** Headers that are stored with an object and given back with it. */
const systemHeaders = [
  "cache-control",
  "content-disposition",
  "content-encoding",
  "content-language",
  "content-type",
  "expires",
]

/** https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html: names and values together. */
const maxMetadata = 2048

const encoder = new TextEncoder()
const decoder = new TextDecoder()

/** `MalformedXML`, or what is in the body. */
export const readXml = (call: Call, root: string): XmlElement => {
  const malformed = (): S3Failure =>
    new S3Failure(
      400,
      "MalformedXML",
      "The XML you provided was not well-formed or did not validate against our " +
        "published schema",
    )
  try {
    const found = parseXml(decoder.decode(call.body))
    if (found.name === root) return found
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error
  }
  throw malformed()
}

/** What a request says of the object it makes. */
export const objectHeaders = (call: Call, world: World): ObjectHeaders => {
  const system: Record<string, string> = { "content-type": "binary/octet-stream" }
  for (const name of systemHeaders) {
    const value = call.headers.get(name)
    if (value !== undefined) system[name] = value
  }
  // The framing of the request is not the encoding of the object.
  const encodings = (system["content-encoding"] ?? "").split(",").map((one) => one.trim())
  const own = encodings.filter((one) => one !== "" && one !== "aws-chunked").join(",")
  if (own === "") delete system["content-encoding"]
  else system["content-encoding"] = own

  const metadata = [...call.headers].flatMap(([name, value]) =>
    name.startsWith("x-amz-meta-") ? [[name.slice("x-amz-meta-".length), value] as const] : []
  )
  const size = metadata.reduce((sum, [name, value]) => sum + name.length + value.length, 0)
  if (size > maxMetadata) {
    throw new S3Failure(400, "MetadataTooLarge", "Your metadata headers exceed the maximum allowed metadata size", {
      details: { Size: String(size), MaxSizeAllowed: String(maxMetadata) },
    })
  }
  return {
    system,
    metadata: Object.fromEntries(metadata),
    storageClass: call.headers.get("x-amz-storage-class") ?? "STANDARD",
    encryption: requestedEncryption(call.headers, world),
  }
}

/** The tags in `x-amz-tagging`, written like a query. */
export const headerTags = (call: Call): ReadonlyArray<readonly [string, string]> =>
  (call.headers.get("x-amz-tagging") ?? "").split("&").filter((pair) => pair !== "").map((pair) => {
    const [name = "", value = ""] = pair.replaceAll("+", " ").split("=", 2)
    return [percentDecode(name), percentDecode(value)]
  })

/** `EntityTooLarge`, where one request holds more than the service takes. */
export const checkSize = (size: number, world: World): void => {
  if (size <= world.maxSize) return
  throw new S3Failure(400, "EntityTooLarge", "Your proposed upload exceeds the maximum allowed size", {
    details: { ProposedSize: String(size), MaxSizeAllowed: String(world.maxSize) },
  })
}

const putObject: Handler = (call, world) => {
  const bucket = bucketNamed(world, call.bucket)
  checkSize(call.body.length, world)
  const head = objectHeaders(call, world)
  const checksum = verifyBody(call, world)
  const { conditions } = world.quirks
  const counts = conditions.put && (conditions.putInVersions || bucket.versioning === undefined)
  checkWrite(call.headers, call.key, currentObject(bucket, call.key), counts, conditions)
  const etag = etagOf(call.body, head.encryption, world)
  const object = { ...head, bytes: call.body, etag, tags: headerTags(call), checksum, parts: undefined }
  const version = storeObject(bucket, call.key, object, call.now, world)
  return bare(200, {
    etag: `"${etag}"`,
    ...checksumHeaders(checksum),
    ...encryptionHeaders(head.encryption, true),
    ...versionHeader(bucket, version),
  })
}

/** Query parameters of a GET that replace a header of the answer. */
const overrides: Readonly<Record<string, string>> = {
  "response-cache-control": "cache-control",
  "response-content-disposition": "content-disposition",
  "response-content-encoding": "content-encoding",
  "response-content-language": "content-language",
  "response-content-type": "content-type",
  "response-expires": "expires",
}

/** The headers that say what an object is. */
const describe = (call: Call, version: Version & { readonly object: StoredObject }): Record<string, string> => {
  const { object } = version
  const headers: Record<string, string> = {
    "last-modified": httpTime(version.modified),
    etag: `"${object.etag}"`,
    "accept-ranges": "bytes",
    ...object.system,
    ...encryptionHeaders(object.encryption),
  }
  for (const [name, value] of Object.entries(object.metadata)) headers[`x-amz-meta-${name}`] = value
  if (object.storageClass !== "STANDARD") headers["x-amz-storage-class"] = object.storageClass
  if (object.tags.length > 0) headers["x-amz-tagging-count"] = String(object.tags.length)
  for (const [name, header] of Object.entries(overrides)) {
    const value = parameter(call.query, name)
    if (value !== undefined) headers[header] = value
  }
  return headers
}

/** The stored checksum, or the one Amazon computes for objects that came without. */
const knownChecksum = (object: StoredObject, world: World): Readonly<Record<string, string>> =>
  world.quirks.checksums ? checksumHeaders(object.checksum ?? checksumOf(world, "crc64nvme", object.bytes)) : {}

/** GetObject; for HeadObject the core keeps the headers and drops the body. */
const getObject: Handler = (call, world) => {
  const bucket = bucketNamed(world, call.bucket)
  const found = readVersion(bucket, call.key, parameter(call.query, "versionId"))
  checkCustomerKey(call.headers, found.object.encryption, world)
  const version = versionHeader(bucket, found)
  const headers = { ...describe(call, found), ...version }
  if (notModified(call.headers, found)) {
    return bare(304, { etag: headers["etag"]!, "last-modified": headers["last-modified"]!, ...version })
  }
  const { bytes } = found.object
  if (world.quirks.partReads && parameter(call.query, "partNumber") !== undefined) {
    return getPart(call, found.object, headers)
  }
  const range = rangeCounts(call.headers.get("if-range"), found)
    ? parseRange(call.headers.get("range"), bytes.length)
    : undefined
  if (range !== undefined) {
    const contentRange = `bytes ${range.start}-${range.end - 1}/${bytes.length}`
    return {
      status: 206,
      headers: { ...headers, "content-range": contentRange },
      body: bytes.subarray(range.start, range.end),
    }
  }
  const asked = call.headers.get("x-amz-checksum-mode")?.toUpperCase() === "ENABLED"
  return { status: 200, headers: { ...headers, ...(asked ? knownChecksum(found.object, world) : {}) }, body: bytes }
}

/** One part of an object, as it was uploaded. An object that was put whole is its own part 1. */
const getPart = (call: Call, object: StoredObject, headers: Readonly<Record<string, string>>): Answer => {
  if (call.headers.has("range")) {
    throw new S3Failure(400, "InvalidRequest", "Cannot specify both Range header and partNumber query parameter")
  }
  const number = numberParameter(call.query, "partNumber", 1, 10_000)
  const sizes = object.parts?.map((part) => part.size) ?? [object.bytes.length]
  if (number < 1 || number > sizes.length) {
    throw new S3Failure(416, "InvalidPartNumber", "The requested partnumber is not satisfiable")
  }
  const start = sizes.slice(0, number - 1).reduce((sum, size) => sum + size, 0)
  const end = start + sizes[number - 1]!
  const count: Record<string, string> = object.parts === undefined
    ? {}
    : { "x-amz-mp-parts-count": String(sizes.length) }
  return {
    status: 206,
    headers: { ...headers, ...count, "content-range": `bytes ${start}-${end - 1}/${object.bytes.length}` },
    body: object.bytes.subarray(start, end),
  }
}

const getObjectAttributes: Handler = (call, world) => {
  if (!world.quirks.attributes) return getObject(call, world)
  const bucket = bucketNamed(world, call.bucket)
  const found = readVersion(bucket, call.key, parameter(call.query, "versionId"))
  checkCustomerKey(call.headers, found.object.encryption, world)
  const { object } = found
  const wanted = new Set((call.headers.get("x-amz-object-attributes") ?? "").split(",").map((name) => name.trim()))
  const when = (name: string, content: () => string): string => wanted.has(name) ? content() : ""
  const checksum = object.checksum ?? checksumOf(world, "crc64nvme", object.bytes)
  const elementFor = (name: string): string => `Checksum${name.toUpperCase()}`
  return xmlAnswer(
    document(
      "GetObjectAttributesResponse",
      when("ETag", () => text("ETag", object.etag)),
      when(
        "Checksum",
        () => element("Checksum", text(elementFor(checksum.name), checksum.value), text("ChecksumType", checksum.type)),
      ),
      when("ObjectParts", () =>
        object.parts === undefined ? "" : element(
          "ObjectParts",
          text("PartsCount", object.parts.length),
          text("IsTruncated", false),
          ...object.parts.map((part, i) =>
            element(
              "Part",
              text("PartNumber", i + 1),
              text("Size", part.size),
              part.checksum === undefined ? "" : text(elementFor(part.checksum.name), part.checksum.value),
            )
          ),
        )),
      when("StorageClass", () => text("StorageClass", object.storageClass)),
      when("ObjectSize", () => text("ObjectSize", object.bytes.length)),
    ),
    { "last-modified": httpTime(found.modified), ...versionHeader(bucket, found) },
  )
}

const deleteObject: Handler = (call, world) => {
  const bucket = bucketNamed(world, call.bucket)
  if (world.quirks.conditions.remove) {
    const behindMarker = bucket.objects.get(call.key)?.[0]?.object === undefined && bucket.objects.has(call.key)
    checkRemove(call.headers.get("if-match"), call.key, currentObject(bucket, call.key), behindMarker)
  }
  const removed = removeObject(bucket, call.key, parameter(call.query, "versionId"), call.now, world)
  return bare(204, {
    ...(removed.deleteMarker ? { "x-amz-delete-marker": "true" } : {}),
    ...(removed.versionId === undefined ? {} : { "x-amz-version-id": removed.versionId }),
  })
}

const deleteObjects: Handler = (call, world) => {
  const bucket = bucketNamed(world, call.bucket)
  const protectedBy = [...call.headers.keys()].some((name) =>
    name === "content-md5" || name.startsWith("x-amz-checksum-")
  )
  if (!protectedBy && ![...call.trailers.keys()].some((name) => name.startsWith("x-amz-checksum-"))) {
    throw new S3Failure(
      400,
      "InvalidRequest",
      "Missing required header for this request: Content-MD5 OR x-amz-checksum-*",
    )
  }
  verifyBody(call, world)
  const request = readXml(call, "Delete")
  const objects = request.children.filter((one) => one.name === "Object")
  if (objects.length < 1 || objects.length > 1000 || objects.some((one) => child(one, "Key") === undefined)) {
    throw new S3Failure(
      400,
      "MalformedXML",
      "The XML you provided was not well-formed or did not validate against our " +
        "published schema",
    )
  }
  const quiet = childText(request, "Quiet") === "true"
  const results = objects.map((one) => {
    const key = childText(one, "Key")!
    const versionId = childText(one, "VersionId")
    try {
      const match = world.quirks.conditions.remove ? childText(one, "ETag") : undefined
      checkRemove(match, key, currentObject(bucket, key), bucket.objects.has(key))
      const removed = removeObject(bucket, key, versionId, call.now, world)
      return quiet ? "" : element(
        "Deleted",
        text("Key", key),
        text("VersionId", versionId),
        removed.deleteMarker ? text("DeleteMarker", true) + text("DeleteMarkerVersionId", removed.versionId) : "",
      )
    } catch (error) {
      if (!(error instanceof S3Failure)) throw error
      return element(
        "Error",
        text("Key", key),
        text("VersionId", versionId),
        text("Code", error.code),
        text("Message", error.message),
      )
    }
  })
  return xmlAnswer(document("DeleteResult", ...results))
}

const getObjectTagging: Handler = (call, world) => {
  const bucket = bucketNamed(world, call.bucket)
  const found = readVersion(bucket, call.key, parameter(call.query, "versionId"))
  const tags = found.object.tags.map(([name, value]) => element("Tag", text("Key", name), text("Value", value)))
  return xmlAnswer(document("Tagging", element("TagSet", ...tags)), versionHeader(bucket, found))
}

/** Gives a version other tags; the version stays the same. */
const retag = (call: Call, world: World, tags: StoredObject["tags"], status: number): Answer => {
  const bucket = bucketNamed(world, call.bucket)
  const found = readVersion(bucket, call.key, parameter(call.query, "versionId"))
  const versions = bucket.objects.get(call.key)!
  versions[versions.findIndex((one) => one.id === found.id)] = { ...found, object: { ...found.object, tags } }
  return bare(status, versionHeader(bucket, found))
}

const putObjectTagging: Handler = (call, world) => {
  const set = child(readXml(call, "Tagging"), "TagSet")?.children ?? []
  return retag(call, world, set.map((one) => [childText(one, "Key") ?? "", childText(one, "Value") ?? ""]), 200)
}

const deleteObjectTagging: Handler = (call, world) => retag(call, world, [], 204)

/** `KeyTooLongError`: names are counted in the bytes of their UTF-8. */
export const checkKey = (key: string): void => {
  const size = encoder.encode(key).length
  if (size <= 1024) return
  throw new S3Failure(400, "KeyTooLongError", "Your key is too long", {
    details: { Size: String(size), MaxSizeAllowed: "1024" },
  })
}

/** The operations of this file, by name. */
export const objectOperations: {
  readonly [
    name in
      | "PutObject"
      | "GetObject"
      | "HeadObject"
      | "GetObjectAttributes"
      | "DeleteObject"
      | "DeleteObjects"
      | "GetObjectTagging"
      | "PutObjectTagging"
      | "DeleteObjectTagging"
  ]: Handler
} = {
  PutObject: putObject,
  GetObject: getObject,
  HeadObject: getObject,
  GetObjectAttributes: getObjectAttributes,
  DeleteObject: deleteObject,
  DeleteObjects: deleteObjects,
  GetObjectTagging: getObjectTagging,
  PutObjectTagging: putObjectTagging,
  DeleteObjectTagging: deleteObjectTagging,
}
