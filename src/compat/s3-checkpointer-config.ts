/**
 * `S3Config` of PERSIST-003: its sixteen options under their names, and what they default to.
 *
 * @module
 */
import { StoreError } from "../error.ts"

/** The options, by the original's names. */
export interface S3Config {
  /** The bucket. Default `"langgraph-checkpoints"`. */
  readonly bucket_name: string
  /** Its region. Default `"us-east-1"`. */
  readonly region: string
  /** Put in front of every thread as it is. Default `"checkpoints/"`. */
  readonly key_prefix: string
  /** Keep versions: `ensureBucketExists` turns them on. Default `false`. */
  readonly enable_versioning: boolean
  /**
   * Ask the service to encrypt with AES-256. Default: where the service confirms that it does. `true`: saves to a service
   * that does not are refused.
   */
  readonly enable_encryption: boolean
  /** Store checkpoints inside gzip. Default `true`; either is read. */
  readonly compression: boolean
  /** MiB from which a checkpoint goes up in parts. Default 5, which is also the least. */
  readonly multipart_threshold_mb: number
  /** Requests, and with them sockets, in use at once. Default 10. */
  readonly connection_pool_size: number
  /** How often a request is sent again after a transient failure. Default 3. */
  readonly max_retries: number
  /** Milliseconds before the first of these; they double. Default 100. */
  readonly initial_retry_delay_ms: number
  /** Milliseconds before each of these at most. Default 5,000. */
  readonly max_retry_delay_ms: number
  /** Seconds that an attempt may take to be answered, and a body may be silent. Default 30. */
  readonly timeout_seconds: number
  /** Operations in a row without an answer that open the circuit breaker. Default 5. */
  readonly circuit_breaker_threshold: number
  /** Seconds until it lets one through to see. Default 60. */
  readonly circuit_breaker_timeout_seconds: number
  /** The service. Default: Amazon's. */
  readonly endpoint_url: string | undefined
  /** The bucket in the path instead of the host name. Default `false`: as the service is known to want it. */
  readonly force_path_style: boolean
}

type CamelCase<Name extends string> = Name extends `${infer Head}_${infer Tail}`
  ? `${Head}${Capitalize<CamelCase<Tail>>}`
  : Name

/** Options in either spelling: `bucket_name` or `bucketName`. What is left out has its default. */
export type S3ConfigInput =
  & { readonly [name in keyof S3Config]?: S3Config[name] | undefined }
  & { readonly [name in keyof S3Config as CamelCase<name>]?: S3Config[name] | undefined }

/** What is used where nothing is said. */
export const defaultS3Config: S3Config = {
  bucket_name: "langgraph-checkpoints",
  region: "us-east-1",
  key_prefix: "checkpoints/",
  enable_versioning: false,
  enable_encryption: true,
  compression: true,
  multipart_threshold_mb: 5,
  connection_pool_size: 10,
  max_retries: 3,
  initial_retry_delay_ms: 100,
  max_retry_delay_ms: 5000,
  timeout_seconds: 30,
  circuit_breaker_threshold: 5,
  circuit_breaker_timeout_seconds: 60,
  endpoint_url: undefined,
  force_path_style: false,
}

const least: { readonly [name in keyof S3Config]?: number } = {
  multipart_threshold_mb: 0,
  connection_pool_size: 1,
  max_retries: 0,
  initial_retry_delay_ms: 0,
  max_retry_delay_ms: 0,
  timeout_seconds: 0.001,
  circuit_breaker_threshold: 1,
  circuit_breaker_timeout_seconds: 0,
}

const toSnakeCase = (name: string): string => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)

const wrong = (detail: string): StoreError => new StoreError({ reason: "Config", detail, operation: "open" })

/** Options with their defaults. Throws `Config` for an unknown option, or a value that makes no sense. */
export const s3Config = (input: S3ConfigInput = {}): S3Config => {
  const given: Record<string, unknown> = {}
  for (const [name, value] of Object.entries(input)) {
    const known = toSnakeCase(name)
    if (!Object.hasOwn(defaultS3Config, known)) throw wrong(`there is no option ${JSON.stringify(name)}`)
    if (value === undefined) continue
    if (Object.hasOwn(given, known)) throw wrong(`the option ${known} is given twice`)
    const expected = known === "endpoint_url" ? "string" : typeof defaultS3Config[known as keyof S3Config]
    const actual: string = typeof value
    if (actual !== expected) throw wrong(`the option ${known} must be a ${expected}`)
    const minimum = least[known as keyof S3Config]
    if (minimum !== undefined && !((value as number) >= minimum && Number.isFinite(value))) {
      throw wrong(`the option ${known} must be ${minimum} or more`)
    }
    given[known] = value
  }
  return { ...defaultS3Config, ...given }
}

/** What the original's tests read: `S3_BUCKET_NAME`, `AWS_REGION`, `S3_ENDPOINT_URL` and `S3_FORCE_PATH_STYLE`. */
export const s3ConfigFrom = (env: Readonly<Record<string, string | undefined>>): S3ConfigInput => ({
  bucket_name: env["S3_BUCKET_NAME"],
  region: env["AWS_REGION"],
  endpoint_url: env["S3_ENDPOINT_URL"],
  force_path_style: env["S3_FORCE_PATH_STYLE"] === undefined ? undefined : env["S3_FORCE_PATH_STYLE"] === "true",
})
