/**
 * What tests know of an S3 service: where it is, who may use it, what it is.
 *
 * @module
 */
import { AwsClient } from "aws4fetch"
import type { Profile, ProfileName } from "../../src/backends/s3/mod.ts"

/** The servers that can be started here. */
export type ServerName = "ceph" | "r2" | "versitygw"

/** A bucket on an S3 service. */
export interface Target {
  /** For the names of tests. */
  readonly name: string
  /** `undefined`: Amazon's for the region. */
  readonly endpoint: string | undefined
  readonly region: string | undefined
  readonly bucket: string
  /** A bucket that keeps versions, where there is one. */
  readonly versionedBucket?: string | undefined
  /** A key of the service's key management, where there is one. */
  readonly kmsKeyId?: string | undefined
  /** `undefined`: where Amazon's tools look. */
  readonly credentials: Keys | undefined
  /** `undefined`: by the endpoint's host. */
  readonly profile: ProfileName | Profile | undefined
}

/** Who signs. */
export interface Keys {
  readonly accessKeyId: string
  readonly secretAccessKey: string
}

/** A server that was started here. */
export interface Server extends Target {
  readonly name: ServerName
  readonly endpoint: string
  readonly region: string
  readonly credentials: Keys
  readonly profile: Profile
  /** Ends what answers requests as `kill -9` does. What is stored stays. */
  readonly kill: () => Promise<void>
  /** Starts it again at the same address, and waits until it answers. */
  readonly restart: () => Promise<void>
  /** Ends everything and removes what was stored. */
  readonly stop: () => Promise<void>
}

/**
 * The service that the environment names, for `RUN_S3_TESTS=1`: `TEST_S3_BUCKET`, and where they are needed
 * `TEST_S3_ENDPOINT`, `TEST_S3_REGION`, `TEST_S3_PROFILE`, `TEST_S3_VERSIONED_BUCKET` and `TEST_S3_KMS_KEY`. The
 * credentials are those that Amazon's tools would find.
 */
export const targetFrom = (env: Readonly<Record<string, string | undefined>>): Target | undefined => {
  if (env["RUN_S3_TESTS"] !== "1") return undefined
  const bucket = env["TEST_S3_BUCKET"]
  if (!bucket) throw new Error("RUN_S3_TESTS=1 needs TEST_S3_BUCKET, the bucket to test in")
  return {
    name: "remote",
    endpoint: env["TEST_S3_ENDPOINT"],
    region: env["TEST_S3_REGION"] ?? env["AWS_REGION"],
    bucket,
    versionedBucket: env["TEST_S3_VERSIONED_BUCKET"],
    kmsKeyId: env["TEST_S3_KMS_KEY"],
    credentials: undefined,
    // Another name is refused when the store is opened, with the list of them.
    profile: env["TEST_S3_PROFILE"] as ProfileName | undefined,
  }
}

/** The keys of all servers that are started here; they guard nothing. */
export const keys: Keys = {
  accessKeyId: "holdfast-test-key",
  secretAccessKey: "holdfast-test-secret-holdfast-test-secret",
}

/** Creates a bucket, by a client that is not ours. */
export const createBucket = async (endpoint: string, bucket: string, versioned: boolean): Promise<void> => {
  const client = new AwsClient({ ...keys, service: "s3", region: "us-east-1", retries: 0 })
  const put = async (query: string, body?: string): Promise<void> => {
    const reply = await client.fetch(`${endpoint}/${bucket}${query}`, { method: "PUT", ...(body && { body }) })
    const text = await reply.text()
    if (!reply.ok) throw new Error(`creating the bucket ${bucket}: ${reply.status} ${text.slice(0, 300)}`)
  }
  await put("")
  if (versioned) {
    await put("?versioning", "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>")
  }
}
