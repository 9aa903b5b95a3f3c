/**
 * How services that speak S3 differ, as data: one profile a service, chosen by the host of the endpoint and open to
 * be overridden. The code around it asks a profile and knows no service by name.
 *
 * What a service would ignore without a word is left out here, so that it is `Unsupported` before any request: a
 * condition that is not checked loses updates. To add a service, add a profile and say where each fact comes from.
 *
 * @module
 */
import type { Encryption, PartRules } from "../../backend.ts"

const MiB = 2 ** 20
const GiB = 2 ** 30

/** What is true of a service. */
export interface Profile {
  /** For messages. */
  readonly name: string
  /** The rules for parts. */
  readonly parts: PartRules
  /** Most bytes of one PutObject. */
  readonly maxPut: number
  /** Most bytes of one CopyObject. */
  readonly maxCopy: number
  /**
   * What holds the bytes of a request to what was sent: `crc32`: `x-amz-checksum-crc32`, which the service checks
   * and keeps; `signed`: the signature covers their SHA-256; `md5`: `Content-MD5`.
   */
  readonly protection: "crc32" | "signed" | "md5"
  /** Where conditions are checked together with the write. */
  readonly conditional: {
    /** `If-None-Match: *` on PutObject. */
    readonly create: boolean
    /** `If-Match` on PutObject. */
    readonly replace: boolean
    /** Both also in a bucket that keeps versions. Where not, the bucket is asked before the first such write. */
    readonly inVersions: boolean
    /** Both on CompleteMultipartUpload. */
    readonly complete: boolean
    /** Both on the target of CopyObject. */
    readonly copy: boolean
    /** `If-Match` on DeleteObject. */
    readonly remove: boolean
    /**
     * `x-amz-copy-source-if-match` on CopyObject. Where it is not, copies are made as uploads, and their source is
     * looked at once more before they complete.
     */
    readonly copySource: boolean
    /** The same on UploadPartCopy. Where it is not, the source is looked at after every part. */
    readonly copySourcePart: boolean
  }
  /** Whether an etag in the `If-Match` of a write has its quotes. */
  readonly quotedIfMatch: boolean
  /** The kinds of encryption that a write can ask for. The service's answer must confirm each. */
  readonly encryption: ReadonlyArray<Encryption["type"]>
  /** Versions can be listed and read. */
  readonly versions: boolean
  /** Writes can carry tags. */
  readonly tags: boolean
  /** Writes can name a storage class. */
  readonly storageClasses: boolean
  /** DeleteObjects exists. */
  readonly batchDelete: boolean
  /** UploadPartCopy exists. */
  readonly copyParts: boolean
  /** ListMultipartUploads finds all uploads under a prefix. */
  readonly listsUploads: boolean
  /** ListParts exists. */
  readonly listsParts: boolean
  /** `a` and `a/b` can both be objects. */
  readonly nestedKeys: boolean
  /**
   * Which keys stay what they are; others are refused before they become another object. `composed`: those in Unicode's
   * composed form; `path`: those that can be a file's path: no empty segment, none over 255 bytes.
   */
  readonly keys: "any" | "composed" | "path"
  /** Names of metadata keep an underscore. Where not, such entries travel in one header of Holdfast's own. */
  readonly underscores: boolean
  /** Names in ListMultipartUploads are escaped although the answer does not say so. */
  readonly escapesUploads: boolean
  /** How one gets keys that are allowed to do what was refused, where the service has a way of its own. */
  readonly keysHint?: string | undefined
  /** The region in signatures where the options and the host name give none. */
  readonly region: string
}

/** The names of the profiles. */
export type ProfileName = "aws" | "r2" | "ceph" | "minio" | "versitygw" | "gcs-interop" | "b2" | "generic"

/** https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html */
const limits: PartRules = {
  minSize: 5 * MiB,
  maxSize: 5 * GiB,
  recommendedSize: 8 * MiB,
  maxCount: 10_000,
  equalSize: false,
  sequential: false,
  concurrency: 4,
}

/** Amazon S3, the measure of all others. Its documentation: https://docs.aws.amazon.com/AmazonS3/latest/API/ */
const aws: Profile = {
  name: "Amazon S3",
  parts: limits,
  maxPut: 5 * GiB,
  // API_CopyObject: up to 5 GB in one request, UploadPartCopy beyond.
  maxCopy: 5 * GiB,
  protection: "crc32",
  // User guide, "Conditional requests": PutObject and Complete since 2024, CopyObject and DeleteObject since 2025.
  conditional: {
    create: true,
    replace: true,
    inVersions: true,
    complete: true,
    copy: true,
    remove: true,
    copySource: true,
    copySourcePart: true,
  },
  quotedIfMatch: true,
  encryption: ["sse-s3", "sse-kms", "sse-c"],
  versions: true,
  tags: true,
  storageClasses: true,
  batchDelete: true,
  copyParts: true,
  listsUploads: true,
  listsParts: true,
  nestedKeys: true,
  keys: "any",
  underscores: true,
  escapesUploads: false,
  region: "us-east-1",
}

/** The least that still calls itself S3: what is not known to be checked is not asked for. */
const generic: Profile = {
  ...aws,
  name: "an S3-compatible service",
  protection: "signed",
  // Many a proxy drops such headers.
  underscores: false,
  conditional: {
    create: false,
    replace: false,
    inVersions: false,
    complete: false,
    copy: false,
    remove: false,
    copySource: false,
    copySourcePart: false,
  },
  versions: false,
}

/** The profiles by name. */
export const profiles: Readonly<Record<ProfileName, Profile>> = {
  aws,

  // https://developers.cloudflare.com/r2/api/s3/api/ and …/conditional-operations/
  r2: {
    ...aws,
    name: "Cloudflare R2",
    // R2 limits: parts of one size but for the last. Two or three at a time is what it takes well from one client.
    parts: { ...limits, equalSize: true, concurrency: 3 },
    // The documentation names Content-MD5 alone for PutObject and UploadPart, and no `x-amz-checksum-…` for CopyObject.
    protection: "md5",
    // A condition on a copy's target needs headers of Cloudflare's own; a delete takes none.
    conditional: { ...aws.conditional, copy: false, remove: false, copySourcePart: false },
    // Encrypts everything by itself and takes customers' keys; has no KMS.
    encryption: ["sse-c"],
    versions: false,
    tags: false,
    // cloudflare/cloudflare-docs#4458
    keys: "composed",
    // https://developers.cloudflare.com/r2/api/tokens/
    keysHint:
      'go to Cloudflare Dashboard > R2 > Manage R2 API Tokens, create an API token with "Object Read & Write" ' +
      "permissions for this bucket, and copy the Access Key ID and the Secret Access Key",
    region: "auto",
  },

  // From runs against RADOS Gateway 16.2.15.
  ceph: {
    ...aws,
    name: "Ceph RADOS Gateway",
    // `x-amz-checksum-*` is neither checked nor kept; the payload's signature is checked.
    protection: "signed",
    // The others are ignored without a word, also those on a copy's source, and all of them where versions are kept.
    conditional: { ...generic.conditional, create: true, replace: true },
    // A quoted etag is compared with its quotes, and never matches.
    quotedIfMatch: false,
    // AES256 is taken and not confirmed, whether it took effect or not.
    encryption: ["sse-kms", "sse-c"],
    // They come back as hyphens.
    underscores: false,
    escapesUploads: true,
  },

  // https://docs.min.io, "S3 API Compatibility"
  minio: {
    ...aws,
    name: "MinIO",
    // Releases before 2025 know no checksum of a whole upload, and refuse it only at the end.
    protection: "signed",
    conditional: { ...aws.conditional, copy: false, remove: false },
    // ListMultipartUploads wants the exact name of an object as its prefix.
    listsUploads: false,
    // minio/minio#11129: one would have to be a folder of the other.
    nestedKeys: false,
  },

  // From runs against version 1.8.0, over a folder: objects are files.
  versitygw: {
    ...aws,
    name: "Versity Gateway",
    conditional: { ...aws.conditional, copy: false },
    encryption: [],
    storageClasses: false,
    // A ranged copy answers with the checksum of the whole source, and Complete then refuses the part.
    copyParts: false,
    nestedKeys: false,
    // `/a` and `a//b` become `a` and `a/b`; a long segment is no file's name.
    keys: "path",
  },

  // https://docs.cloud.google.com/storage/docs/interoperability. Prefer the gcs backend, which has conditions.
  "gcs-interop": {
    ...generic,
    name: "Google Cloud Storage (S3 interoperability)",
    protection: "md5",
    // Conditions go by generation, in headers of Google's own; encryption likewise.
    encryption: [],
    tags: false,
    storageClasses: true,
    batchDelete: false,
    copyParts: false,
    region: "auto",
  },

  // https://www.backblaze.com/docs/cloud-storage-s3-compatible-api
  b2: {
    ...generic,
    name: "Backblaze B2",
    encryption: ["sse-s3", "sse-c"],
    versions: true,
    tags: false,
    storageClasses: false,
    region: "us-west-004",
  },

  generic,
}

const hosts: ReadonlyArray<readonly [host: RegExp, profile: ProfileName]> = [
  [/(?:^|\.)amazonaws\.com(?:\.cn)?$/, "aws"],
  [/\.r2\.cloudflarestorage\.com$/, "r2"],
  [/^storage\.googleapis\.com$/, "gcs-interop"],
  [/\.backblazeb2\.com$/, "b2"],
]

/** The profile of the service behind a host name; `generic` where it tells nothing. */
export const profileOf = (hostname: string): ProfileName =>
  hosts.find(([host]) => host.test(hostname.toLowerCase()))?.[1] ?? "generic"

/** The region that a host name names: `s3.eu-west-1.amazonaws.com`, `s3.us-west-004.backblazeb2.com`. */
export const regionOf = (hostname: string): string | undefined =>
  /(?:^|\.)s3(?:-fips)?(?:\.dualstack)?[.-]((?!fips|accelerate|dualstack)[a-z0-9-]+)\.(?:amazonaws\.com|backblazeb2\.com)/
    .exec(hostname.toLowerCase())?.[1]
