/**
 * The least that an IAM policy must allow for a purpose.
 *
 * @module
 */
import type { S3Location } from "../../store-url.ts"
import type { EncryptionInput } from "../../options.ts"
import type { Purpose } from "./check.ts"

/** One statement of a policy. */
export interface Statement {
  /** What it does. */
  readonly Effect: "Allow"
  /** Calls of the service. */
  readonly Action: ReadonlyArray<string>
  /** Where. */
  readonly Resource: string
  /** For which prefixes. */
  readonly Condition?: { readonly StringLike: Readonly<Record<string, ReadonlyArray<string>>> }
}

/** A policy as IAM takes it. */
export interface Policy {
  /** Of the language. */
  readonly Version: "2012-10-17"
  /** What is allowed. */
  readonly Statement: ReadonlyArray<Statement>
}

/** https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazons3.html */
const objectActions: Readonly<Record<Purpose, ReadonlyArray<string>>> = {
  read: ["s3:GetObject"],
  // A lost reply is settled by a look at the object, so whoever writes must read.
  write: ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"],
  all: [
    "s3:GetObject",
    "s3:GetObjectVersion",
    "s3:PutObject",
    "s3:PutObjectTagging",
    "s3:DeleteObject",
    "s3:DeleteObjectVersion",
    "s3:AbortMultipartUpload",
    "s3:ListMultipartUploadParts",
  ],
}

/** Those whose answers can be bound to a prefix. */
const listActions: Readonly<Record<Purpose, ReadonlyArray<string>>> = {
  read: ["s3:ListBucket"],
  write: ["s3:ListBucket"],
  all: ["s3:ListBucket", "s3:ListBucketVersions"],
}

const partitionOf = (region: string | undefined): string =>
  region?.startsWith("cn-") ? "aws-cn" : region?.startsWith("us-gov-") ? "aws-us-gov" : "aws"

/** The smallest policy for a bucket, or for a prefix of it. */
export const policyFor = (
  { bucket, prefix, region }: S3Location,
  encryption: EncryptionInput | undefined,
  purpose: Purpose,
): Policy => {
  const arn = `arn:${partitionOf(region)}:s3:::${bucket}`
  const below = prefix === undefined ? "" : `${prefix}/`
  const key = encryption?.type === "sse-kms" ? encryption.keyId : undefined
  const statements: Array<Statement> = [
    { Effect: "Allow", Action: objectActions[purpose], Resource: `${arn}/${below}*` },
    {
      Effect: "Allow",
      Action: listActions[purpose],
      Resource: arn,
      ...(below === "" ? {} : { Condition: { StringLike: { "s3:prefix": [`${below}*`] } } }),
    },
  ]
  if (purpose !== "read") {
    statements.push({ Effect: "Allow", Action: ["s3:ListBucketMultipartUploads"], Resource: arn })
  }
  if (key?.startsWith("arn:")) {
    const actions = purpose === "read" ? ["kms:Decrypt"] : ["kms:Decrypt", "kms:GenerateDataKey"]
    statements.push({ Effect: "Allow", Action: actions, Resource: key })
  }
  return { Version: "2012-10-17", Statement: statements }
}
