/**
 * Copies within the service: whole objects, and ranges of them as parts of an upload.
 *
 * @module
 */
import { checkSource, checkWrite } from "./conditions.ts"
import { S3Failure, xmlAnswer } from "./message.ts"
import { headerTags, objectHeaders } from "./objects.ts"
import { checksumOf, namedChecksum } from "./checksums.ts"
import { checkCustomerKey, encryptionHeaders, etagOf, requestedEncryption } from "./encryption.ts"
import {
  type Bucket,
  bucketNamed,
  type Call,
  currentObject,
  type Handler,
  isoTime,
  readVersion,
  type StoredObject,
  storeObject,
  type Version,
  versionHeader,
  type World,
} from "./state.ts"
import { percentDecode } from "./target.ts"
import { document, text } from "./xml.ts"

/** What a copy reads. */
export interface Source {
  readonly bucket: Bucket
  readonly key: string
  readonly version: Version & { readonly object: StoredObject }
}

/** The source that `x-amz-copy-source` names, once its conditions and its key hold. */
export const copySource = (call: Call, world: World): Source => {
  const header = call.headers.get("x-amz-copy-source") ?? ""
  const [path = "", query = ""] = header.split("?", 2)
  const decoded = percentDecode(path).replace(/^\//, "")
  const slash = decoded.indexOf("/")
  if (slash < 1 || slash === decoded.length - 1) {
    throw new S3Failure(
      400,
      "InvalidArgument",
      "Copy Source must mention the source bucket and key: sourcebucket/sourcekey",
      {
        details: { ArgumentName: "x-amz-copy-source", ArgumentValue: header },
      },
    )
  }
  const bucket = bucketNamed(world, decoded.slice(0, slash))
  const named = decoded.slice(slash + 1)
  const key = world.quirks.composesKeys ? named.normalize("NFC") : named
  const version = readVersion(bucket, key, /^versionId=(.+)$/.exec(query)?.[1])
  checkCustomerKey(call.headers, version.object.encryption, world, "x-amz-copy-source")
  checkSource(call.headers, version, world.quirks.conditions)
  return { bucket, key, version }
}

/** CopyObject. */
export const copyObject: Handler = (call, world) => {
  const bucket = bucketNamed(world, call.bucket)
  const source = copySource(call, world)
  const { object } = source.version
  if (object.bytes.length > world.maxSize) {
    throw new S3Failure(
      400,
      "InvalidRequest",
      "The specified copy source is larger than the maximum allowable size " +
        `for a copy source: ${world.maxSize}`,
    )
  }
  const replaces = call.headers.get("x-amz-metadata-directive")?.toUpperCase() === "REPLACE"
  const encryption = requestedEncryption(call.headers, world)
  const storageClass = call.headers.get("x-amz-storage-class") ?? "STANDARD"
  const changes = replaces || encryption.kind !== object.encryption.kind || storageClass !== object.storageClass
  if (source.bucket === bucket && source.key === call.key && !changes) {
    throw new S3Failure(
      400,
      "InvalidRequest",
      "This copy request is illegal because it is trying to copy an object to " +
        "itself without changing the object's metadata, storage class, website redirect location or encryption attributes.",
    )
  }
  const { conditions } = world.quirks
  checkWrite(call.headers, call.key, currentObject(bucket, call.key), conditions.copy, conditions)

  const wanted = world.quirks.checksums ? namedChecksum(call) ?? object.checksum?.name : undefined
  const checksum = wanted === undefined ? undefined : checksumOf(world, wanted, object.bytes)
  const etag = etagOf(object.bytes, encryption, world)
  const copied: StoredObject = {
    ...(replaces ? objectHeaders(call, world) : object),
    encryption,
    storageClass,
    bytes: object.bytes,
    etag,
    checksum,
    parts: undefined,
    tags: call.headers.get("x-amz-tagging-directive")?.toUpperCase() === "REPLACE" ? headerTags(call) : object.tags,
  }
  const version = storeObject(bucket, call.key, copied, call.now, world)
  return xmlAnswer(
    document(
      "CopyObjectResult",
      text("LastModified", isoTime(call.now)),
      text("ETag", `"${etag}"`),
      checksum === undefined
        ? ""
        : text("ChecksumType", checksum.type) + text(`Checksum${checksum.name.toUpperCase()}`, checksum.value),
    ),
    {
      ...encryptionHeaders(encryption, true),
      ...versionHeader(bucket, version),
      ...(source.bucket.versioning === undefined ? {} : { "x-amz-copy-source-version-id": source.version.id }),
    },
  )
}
