/**
 * The operations on buckets themselves.
 *
 * @module
 */
import { bare, S3Failure, xmlAnswer } from "./message.ts"
import { readXml } from "./objects.ts"
import { bucketConfigurations, configurationOf } from "./operation.ts"
import { type Bucket, bucketNamed, type Call, type Handler, isoTime, makeBucket, type World } from "./state.ts"
import { childText, document, element, text } from "./xml.ts"

const listBuckets: Handler = (_, world) =>
  xmlAnswer(document(
    "ListAllMyBucketsResult",
    element(
      "Buckets",
      ...[...world.buckets.values()].map((bucket) =>
        element("Bucket", text("Name", bucket.name), text("CreationDate", isoTime(bucket.created)))
      ),
    ),
    element("Owner", text("ID", "peer"), text("DisplayName", "peer")),
  ))

const createBucket: Handler = (call, world) => {
  if (!/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/.test(call.bucket)) {
    throw new S3Failure(400, "InvalidBucketName", "The specified bucket is not valid.", {
      details: { BucketName: call.bucket },
    })
  }
  if (world.buckets.has(call.bucket)) {
    throw new S3Failure(
      409,
      "BucketAlreadyOwnedByYou",
      "Your previous request to create the named bucket succeeded " +
        "and you already own it.",
      { details: { BucketName: call.bucket } },
    )
  }
  world.buckets.set(call.bucket, makeBucket(call.bucket, call.now))
  return bare(200, { location: `/${call.bucket}` })
}

const headBucket: Handler = (call, world) => {
  bucketNamed(world, call.bucket)
  return bare(200, { "x-amz-bucket-region": world.region })
}

const deleteBucket: Handler = (call, world) => {
  const bucket = bucketNamed(world, call.bucket)
  if (bucket.objects.size > 0) {
    throw new S3Failure(409, "BucketNotEmpty", "The bucket you tried to delete is not empty", {
      details: { BucketName: call.bucket },
    })
  }
  world.buckets.delete(call.bucket)
  return bare(204)
}

// Amazon's first region has no name here.
const getBucketLocation: Handler = (call, world) => {
  bucketNamed(world, call.bucket)
  return xmlAnswer(document("LocationConstraint", world.region === "us-east-1" ? "" : world.region))
}

const getBucketVersioning: Handler = (call, world) =>
  xmlAnswer(document("VersioningConfiguration", text("Status", bucketNamed(world, call.bucket).versioning)))

const putBucketVersioning: Handler = (call, world) => {
  const bucket = bucketNamed(world, call.bucket)
  const status = childText(readXml(call, "VersioningConfiguration"), "Status")
  if (status !== "Enabled" && status !== "Suspended") {
    throw new S3Failure(400, "IllegalVersioningConfigurationException", "The Versioning element must be specified")
  }
  bucket.versioning = status
  return bare(200)
}

const configured = (call: Call, world: World): { readonly bucket: Bucket; readonly name: string } => ({
  bucket: bucketNamed(world, call.bucket),
  name: configurationOf(call.query) ?? "",
})

const getBucketConfiguration: Handler = (call, world) => {
  const { bucket, name } = configured(call, world)
  const body = bucket.configurations.get(name)
  if (body === undefined) {
    throw new S3Failure(404, bucketConfigurations[name] ?? "", `The ${name} configuration does not exist`, {
      details: { BucketName: bucket.name },
    })
  }
  return { status: 200, headers: { "content-type": name === "policy" ? "application/json" : "application/xml" }, body }
}

const putBucketConfiguration: Handler = (call, world) => {
  const { bucket, name } = configured(call, world)
  bucket.configurations.set(name, call.body)
  return bare(200)
}

const deleteBucketConfiguration: Handler = (call, world) => {
  const { bucket, name } = configured(call, world)
  bucket.configurations.delete(name)
  return bare(204)
}

/** The operations of this file, by name. */
export const bucketOperations: {
  readonly [
    name in
      | "ListBuckets"
      | "CreateBucket"
      | "HeadBucket"
      | "DeleteBucket"
      | "GetBucketLocation"
      | "GetBucketVersioning"
      | "PutBucketVersioning"
      | "GetBucketConfiguration"
      | "PutBucketConfiguration"
      | "DeleteBucketConfiguration"
  ]: Handler
} = {
  ListBuckets: listBuckets,
  CreateBucket: createBucket,
  HeadBucket: headBucket,
  DeleteBucket: deleteBucket,
  GetBucketLocation: getBucketLocation,
  GetBucketVersioning: getBucketVersioning,
  PutBucketVersioning: putBucketVersioning,
  GetBucketConfiguration: getBucketConfiguration,
  PutBucketConfiguration: putBucketConfiguration,
  DeleteBucketConfiguration: deleteBucketConfiguration,
}
