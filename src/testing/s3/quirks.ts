/**
 * How S3-compatible services differ, as data. Each profile says what a service does with a request that Amazon's
 * would serve; the operations look it up and hold no name of a service.
 *
 * Where the facts come from: `ceph16` was measured on RADOS Gateway 16.2.15 and `r2` on Cloudflare's local R2; `minio`
 * follows what its users report and was not measured; `generic` is the least that still calls itself S3.
 *
 * @module
 */
import type { PeerTrailers } from "./chunked.ts"
import type { PeerOperation } from "./operation.ts"

/** Which conditions a service looks at. Those it does not, it ignores, which is the danger. */
export interface PeerConditions {
  /** `If-None-Match: *` and `If-Match` on PutObject. */
  readonly put: boolean
  /** The same in a bucket that keeps versions. */
  readonly putInVersions: boolean
  /** Either on CompleteMultipartUpload. */
  readonly complete: boolean
  /** `If-Match` on DeleteObject. */
  readonly remove: boolean
  /** Either on the target of CopyObject. */
  readonly copy: boolean
  /** `x-amz-copy-source-if-…`. */
  readonly copySource: boolean
  /**
   * The form of an etag in the `If-Match` of a write: Ceph compares a quoted one as if the quotes belonged to it, R2
   * fails over one without.
   */
  readonly etagForm: "either" | "quoted" | "unquoted"
}

/** What a service does in its own way. */
export interface PeerQuirks {
  /** The profile's name. */
  readonly name: string
  /** Answered with 501. */
  readonly unsupported: ReadonlyArray<PeerOperation>
  /** Which conditions count. */
  readonly conditions: PeerConditions
  /** Whether `x-amz-checksum-…` is verified, stored and returned; otherwise it is ignored. */
  readonly checksums: boolean
  /** What becomes of `aws-chunked` bodies with a trailer. */
  readonly trailers: PeerTrailers
  /** Whether all parts but the last must have one size. */
  readonly equalParts: boolean
  /** Whether parts must be listed in ascending order. */
  readonly partOrder: boolean
  /** Whether `partNumber` on GetObject and HeadObject counts. */
  readonly partReads: boolean
  /** Whether CompleteMultipartUpload answers the new object's etag, or an empty element. */
  readonly completeEtag: boolean
  /** Whether completing an upload again, the same way, succeeds again. */
  readonly completeTwice: boolean
  /** Whether GetObjectAttributes answers as documented, or with the object itself. */
  readonly attributes: boolean
  /** Whether every object says `x-amz-server-side-encryption: AES256`. */
  readonly encrypts: boolean
  /** Whether `a` and `a/b` can both be objects. */
  readonly nestedKeys: boolean
  /** Whether keys are folded to Unicode's composed form. */
  readonly composesKeys: boolean
  /** Whether the region of a signature's scope must be the peer's. */
  readonly checksRegion: boolean
  /** The status of the answer to an unknown access key. */
  readonly unknownKey: 401 | 403
}

/** Amazon S3 itself. */
const aws: PeerQuirks = {
  name: "aws",
  unsupported: [],
  conditions: {
    put: true,
    putInVersions: true,
    complete: true,
    remove: true,
    copy: true,
    copySource: true,
    etagForm: "either",
  },
  checksums: true,
  trailers: "accepted",
  equalParts: false,
  partOrder: true,
  partReads: true,
  completeEtag: true,
  completeTwice: false,
  attributes: true,
  encrypts: true,
  nestedKeys: true,
  composesKeys: false,
  checksRegion: true,
  unknownKey: 403,
}

/** The profiles that {@link makeS3Peer} knows by name. Spread one to make another. */
export const peerQuirks: Readonly<Record<"aws" | "r2" | "ceph16" | "minio" | "generic", PeerQuirks>> = {
  aws,
  r2: {
    ...aws,
    name: "r2",
    unsupported: [
      "PutBucketVersioning",
      "GetBucketVersioning",
      "ListObjectVersions",
      "GetObjectAttributes",
      "GetObjectTagging",
      "PutObjectTagging",
      "DeleteObjectTagging",
    ],
    conditions: { ...aws.conditions, etagForm: "quoted" },
    equalParts: true,
    encrypts: false,
    composesKeys: true,
    unknownKey: 401,
  },
  ceph16: {
    ...aws,
    name: "ceph16",
    conditions: {
      put: true,
      putInVersions: false,
      complete: false,
      remove: false,
      copy: false,
      copySource: false,
      etagForm: "unquoted",
    },
    checksums: false,
    trailers: "mismatch",
    partOrder: false,
    partReads: false,
    completeEtag: false,
    completeTwice: true,
    attributes: false,
    encrypts: false,
    checksRegion: false,
  },
  minio: {
    ...aws,
    name: "minio",
    conditions: { ...aws.conditions, remove: false, copy: false },
    encrypts: false,
    nestedKeys: false,
  },
  generic: {
    ...aws,
    name: "generic",
    unsupported: ["PutBucketVersioning", "GetBucketVersioning", "ListObjectVersions", "GetObjectAttributes"],
    conditions: {
      put: false,
      putInVersions: false,
      complete: false,
      remove: false,
      copy: false,
      copySource: false,
      etagForm: "either",
    },
    checksums: false,
    trailers: "unsupported",
    encrypts: false,
    checksRegion: false,
  },
}
