/**
 * Which of S3's operations a request is: method, path, query and headers decide.
 *
 * @module
 */
import { S3Failure } from "./message.ts"
import { parameter, type Query, type Target } from "./target.ts"

/** The operations of the peer, by the names in S3's documentation. */
export type PeerOperation =
  | "ListBuckets"
  | "CreateBucket"
  | "HeadBucket"
  | "DeleteBucket"
  | "GetBucketLocation"
  | "GetBucketVersioning"
  | "PutBucketVersioning"
  | "PutBucketConfiguration"
  | "GetBucketConfiguration"
  | "DeleteBucketConfiguration"
  | "ListObjects"
  | "ListObjectsV2"
  | "ListObjectVersions"
  | "ListMultipartUploads"
  | "DeleteObjects"
  | "PutObject"
  | "GetObject"
  | "HeadObject"
  | "DeleteObject"
  | "CopyObject"
  | "GetObjectAttributes"
  | "GetObjectTagging"
  | "PutObjectTagging"
  | "DeleteObjectTagging"
  | "CreateMultipartUpload"
  | "UploadPart"
  | "UploadPartCopy"
  | "CompleteMultipartUpload"
  | "AbortMultipartUpload"
  | "ListParts"

/** Sub-resources of a bucket that are kept as they were put and given back: nothing acts on them. */
export const bucketConfigurations: Readonly<Record<string, string>> = {
  lifecycle: "NoSuchLifecycleConfiguration",
  policy: "NoSuchBucketPolicy",
  cors: "NoSuchCORSConfiguration",
  tagging: "NoSuchTagSet",
  encryption: "ServerSideEncryptionConfigurationNotFoundError",
  replication: "ReplicationConfigurationNotFoundError",
}

/** The configuration that a request to a bucket is about. */
export const configurationOf = (query: Query): string | undefined =>
  Object.keys(bucketConfigurations).find((name) => parameter(query, name) !== undefined)

const onBucket = (method: string, target: Target): PeerOperation | undefined => {
  const has = (name: string): boolean => parameter(target.query, name) !== undefined
  const configured = configurationOf(target.query) !== undefined
  switch (method) {
    case "HEAD":
      return "HeadBucket"
    case "PUT":
      return has("versioning") ? "PutBucketVersioning" : configured ? "PutBucketConfiguration" : "CreateBucket"
    case "DELETE":
      return configured ? "DeleteBucketConfiguration" : "DeleteBucket"
    case "POST":
      return has("delete") ? "DeleteObjects" : undefined
    case "GET":
      if (has("location")) return "GetBucketLocation"
      if (has("versioning")) return "GetBucketVersioning"
      if (has("versions")) return "ListObjectVersions"
      if (has("uploads")) return "ListMultipartUploads"
      if (configured) return "GetBucketConfiguration"
      return parameter(target.query, "list-type") === "2" ? "ListObjectsV2" : "ListObjects"
  }
}

const onObject = (
  method: string,
  target: Target,
  headers: ReadonlyMap<string, string>,
): PeerOperation | undefined => {
  const has = (name: string): boolean => parameter(target.query, name) !== undefined
  const copies = headers.has("x-amz-copy-source")
  switch (method) {
    case "HEAD":
      return "HeadObject"
    case "GET":
      if (has("uploadId")) return "ListParts"
      if (has("attributes")) return "GetObjectAttributes"
      return has("tagging") ? "GetObjectTagging" : "GetObject"
    case "PUT":
      if (has("uploadId")) return copies ? "UploadPartCopy" : "UploadPart"
      if (has("tagging")) return "PutObjectTagging"
      return copies ? "CopyObject" : "PutObject"
    case "POST":
      return has("uploads") ? "CreateMultipartUpload" : has("uploadId") ? "CompleteMultipartUpload" : undefined
    case "DELETE":
      if (has("uploadId")) return "AbortMultipartUpload"
      return has("tagging") ? "DeleteObjectTagging" : "DeleteObject"
  }
}

/** The operation that a request asks for. There is none: `MethodNotAllowed`. */
export const operationOf = (
  method: string,
  target: Target,
  headers: ReadonlyMap<string, string>,
): PeerOperation => {
  const found = target.bucket === ""
    ? method === "GET" ? "ListBuckets" : undefined
    : target.key === ""
    ? onBucket(method, target)
    : onObject(method, target, headers)
  if (found === undefined) {
    throw new S3Failure(405, "MethodNotAllowed", "The specified method is not allowed against this resource.", {
      details: { Method: method, ResourceType: target.key === "" ? "BUCKET" : "OBJECT" },
    })
  }
  return found
}
