/**
 * Lists: objects, versions and uploads, page by page, in the order of the keys' UTF-8 bytes.
 *
 * @module
 */
import { compareKeys } from "../../key.ts"
import { fromBase64 } from "./hashing.ts"
import { S3Failure, xmlAnswer } from "./message.ts"
import {
  type Bucket,
  bucketNamed,
  type Call,
  type Handler,
  isoTime,
  numberParameter,
  type StoredObject,
  type Version,
} from "./state.ts"
import { parameter, percentEncode } from "./target.ts"
import { document, element, text } from "./xml.ts"

/** https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html */
const maxPage = 1000

/** Something that a list holds: its key, a second name where a key has several, and how it is written. */
interface Item {
  readonly key: string
  readonly id: string
  readonly write: () => string
}

/** Where the page before ended. */
interface Place {
  readonly key: string
  readonly id?: string | undefined
}

interface Page {
  readonly items: ReadonlyArray<Item>
  readonly prefixes: ReadonlyArray<string>
  /** Where the next page goes on; absent on the last. */
  readonly next: Place | undefined
}

const beyond = (items: ReadonlyArray<Item>, after: Place): ReadonlyArray<Item> => {
  const same = after.id === undefined ? -1 : items.findIndex((one) => one.key === after.key && one.id === after.id)
  return same >= 0 ? items.slice(same + 1) : items.filter((one) => compareKeys(one.key, after.key) > 0)
}

/** Cuts a page out of `items`, which are in order. Keys that hold the delimiter after the prefix are folded. */
const cutPage = (
  items: ReadonlyArray<Item>,
  prefix: string,
  delimiter: string,
  most: number,
  after: Place,
): Page => {
  const found: Array<Item> = []
  const prefixes: Array<string> = []
  let last: Place | undefined
  for (const item of beyond(items, after)) {
    if (!item.key.startsWith(prefix)) continue
    const end = delimiter === "" ? -1 : item.key.indexOf(delimiter, prefix.length)
    const folded = end < 0 ? undefined : item.key.slice(0, end + delimiter.length)
    if (folded !== undefined && (folded === prefixes.at(-1) || folded === after.key)) continue
    if (found.length + prefixes.length >= most) return { items: found, prefixes, next: last }
    if (folded === undefined) {
      found.push(item)
      last = { key: item.key, id: item.id }
    } else {
      prefixes.push(folded)
      last = { key: folded }
    }
  }
  return { items: found, prefixes, next: undefined }
}

/** Writes a key the way the client asked for: as it is, or percent-encoded with `+` for a space. */
const keyWriter = (call: Call): (key: string) => string => {
  const type = parameter(call.query, "encoding-type")
  if (type === undefined) return (key) => key
  if (type !== "url") {
    throw new S3Failure(400, "InvalidArgument", "Invalid Encoding Method specified in Request", {
      details: { ArgumentName: "encoding-type", ArgumentValue: type },
    })
  }
  return (key) => percentEncode(key, "/").replaceAll("%20", "+")
}

const owner = element("Owner", text("ID", "peer"), text("DisplayName", "peer"))

const currentItems = (bucket: Bucket, write: (key: string, version: Version, object: StoredObject) => string) =>
  [...bucket.objects]
    .flatMap(([key, [version]]): ReadonlyArray<Item> => {
      const object = version?.object
      return version === undefined || object === undefined
        ? []
        : [{ key, id: version.id, write: () => write(key, version, object) }]
    })
    .toSorted((a, b) => compareKeys(a.key, b.key))

const checksumElements = (object: StoredObject): string =>
  object.checksum === undefined
    ? ""
    : text("ChecksumAlgorithm", object.checksum.name.toUpperCase()) + text("ChecksumType", object.checksum.type)

/** What a list of objects is asked for, apart from where it starts. */
const listShape = (call: Call, countName: string) => ({
  prefix: parameter(call.query, "prefix") ?? "",
  delimiter: parameter(call.query, "delimiter") ?? "",
  most: numberParameter(call.query, countName, maxPage, maxPage),
  key: keyWriter(call),
})

const objectWriter =
  (key: (key: string) => string, withOwner: boolean) =>
  (name: string, version: Version, object: StoredObject): string =>
    element(
      "Contents",
      text("Key", key(name)),
      text("LastModified", isoTime(version.modified)),
      text("ETag", `"${object.etag}"`),
      checksumElements(object),
      text("Size", object.bytes.length),
      withOwner ? owner : "",
      text("StorageClass", object.storageClass),
    )

const commonPrefixes = (page: Page, key: (key: string) => string): string =>
  page.prefixes.map((one) => element("CommonPrefixes", text("Prefix", key(one)))).join("")

const tokenOf = (place: Place): string => new TextEncoder().encode(place.key).toBase64()

const placeOf = (token: string): Place => {
  const bytes = fromBase64(token)
  if (bytes !== undefined && bytes.length > 0) return { key: new TextDecoder().decode(bytes) }
  throw new S3Failure(400, "InvalidArgument", "The continuation token provided is incorrect", {
    details: { ArgumentName: "continuation-token" },
  })
}

const listObjectsV2: Handler = (call, world) => {
  const bucket = bucketNamed(world, call.bucket)
  const { prefix, delimiter, most, key } = listShape(call, "max-keys")
  const token = parameter(call.query, "continuation-token")
  const startAfter = parameter(call.query, "start-after")
  const items = currentItems(bucket, objectWriter(key, parameter(call.query, "fetch-owner") === "true"))
  const after = token === undefined ? { key: startAfter ?? "" } : placeOf(token)
  const page = cutPage(items, prefix, delimiter, most, after)
  return xmlAnswer(document(
    "ListBucketResult",
    text("Name", call.bucket),
    text("Prefix", key(prefix)),
    text("StartAfter", startAfter === undefined ? undefined : key(startAfter)),
    text("ContinuationToken", token),
    text("NextContinuationToken", page.next === undefined ? undefined : tokenOf(page.next)),
    text("KeyCount", page.items.length + page.prefixes.length),
    text("MaxKeys", most),
    text("Delimiter", delimiter === "" ? undefined : key(delimiter)),
    text("EncodingType", parameter(call.query, "encoding-type")),
    text("IsTruncated", page.next !== undefined),
    ...page.items.map((item) => item.write()),
    commonPrefixes(page, key),
  ))
}

const listObjects: Handler = (call, world) => {
  const bucket = bucketNamed(world, call.bucket)
  const { prefix, delimiter, most, key } = listShape(call, "max-keys")
  const marker = parameter(call.query, "marker") ?? ""
  const page = cutPage(currentItems(bucket, objectWriter(key, true)), prefix, delimiter, most, { key: marker })
  return xmlAnswer(document(
    "ListBucketResult",
    text("Name", call.bucket),
    text("Prefix", key(prefix)),
    text("Marker", key(marker)),
    // Without a delimiter a client goes on from the last key it got.
    text("NextMarker", page.next === undefined || delimiter === "" ? undefined : key(page.next.key)),
    text("MaxKeys", most),
    text("Delimiter", delimiter === "" ? undefined : key(delimiter)),
    text("EncodingType", parameter(call.query, "encoding-type")),
    text("IsTruncated", page.next !== undefined),
    ...page.items.map((item) => item.write()),
    commonPrefixes(page, key),
  ))
}

const listObjectVersions: Handler = (call, world) => {
  const bucket = bucketNamed(world, call.bucket)
  const { prefix, delimiter, most, key } = listShape(call, "max-keys")
  const after = { key: parameter(call.query, "key-marker") ?? "", id: parameter(call.query, "version-id-marker") }
  const items = [...bucket.objects]
    .toSorted(([a], [b]) => compareKeys(a, b))
    .flatMap(([name, versions]) =>
      versions.map((version, age): Item => ({
        key: name,
        id: version.id,
        write: () => {
          const common = [
            text("Key", key(name)),
            text("VersionId", version.id),
            text("IsLatest", age === 0),
            text("LastModified", isoTime(version.modified)),
          ]
          return version.object === undefined ? element("DeleteMarker", ...common, owner) : element(
            "Version",
            ...common,
            text("ETag", `"${version.object.etag}"`),
            checksumElements(version.object),
            text("Size", version.object.bytes.length),
            text("StorageClass", version.object.storageClass),
            owner,
          )
        },
      }))
    )
  const page = cutPage(items, prefix, delimiter, most, after)
  return xmlAnswer(document(
    "ListVersionsResult",
    text("Name", call.bucket),
    text("Prefix", key(prefix)),
    text("KeyMarker", key(after.key)),
    text("VersionIdMarker", after.id),
    text("NextKeyMarker", page.next === undefined ? undefined : key(page.next.key)),
    text("NextVersionIdMarker", page.next?.id),
    text("MaxKeys", most),
    text("Delimiter", delimiter === "" ? undefined : key(delimiter)),
    text("EncodingType", parameter(call.query, "encoding-type")),
    text("IsTruncated", page.next !== undefined),
    ...page.items.map((item) => item.write()),
    commonPrefixes(page, key),
  ))
}

const listMultipartUploads: Handler = (call, world) => {
  const bucket = bucketNamed(world, call.bucket)
  const { prefix, delimiter, most, key } = listShape(call, "max-uploads")
  const after = { key: parameter(call.query, "key-marker") ?? "", id: parameter(call.query, "upload-id-marker") }
  const items = [...bucket.uploads.values()]
    .toSorted((a, b) => compareKeys(a.key, b.key) || a.initiated - b.initiated)
    .map((upload): Item => ({
      key: upload.key,
      id: upload.id,
      write: () =>
        element(
          "Upload",
          text("Key", key(upload.key)),
          text("UploadId", upload.id),
          element("Initiator", text("ID", "peer"), text("DisplayName", "peer")),
          owner,
          text("StorageClass", upload.storageClass),
          text("Initiated", isoTime(upload.initiated)),
        ),
    }))
  const page = cutPage(items, prefix, delimiter, most, after)
  return xmlAnswer(document(
    "ListMultipartUploadsResult",
    text("Bucket", call.bucket),
    text("KeyMarker", key(after.key)),
    text("UploadIdMarker", after.id),
    text("NextKeyMarker", page.next === undefined ? undefined : key(page.next.key)),
    text("NextUploadIdMarker", page.next?.id),
    text("Prefix", key(prefix)),
    text("Delimiter", delimiter === "" ? undefined : key(delimiter)),
    text("EncodingType", parameter(call.query, "encoding-type")),
    text("MaxUploads", most),
    text("IsTruncated", page.next !== undefined),
    ...page.items.map((item) => item.write()),
    commonPrefixes(page, key),
  ))
}

/** The operations of this file, by name. */
export const listOperations: {
  readonly [name in "ListObjects" | "ListObjectsV2" | "ListObjectVersions" | "ListMultipartUploads"]: Handler
} = {
  ListObjects: listObjects,
  ListObjectsV2: listObjectsV2,
  ListObjectVersions: listObjectVersions,
  ListMultipartUploads: listMultipartUploads,
}
