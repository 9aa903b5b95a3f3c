/**
 * Where Persist keeps its snapshots: its configuration objects, and how arguments, a file and the environment come to
 * one of them.
 *
 * @module
 */
import { thisMachine } from "../aws/machine.ts"
import { PersistConfigurationError } from "./persist-errors.ts"

/** The kinds of place. */
export type StorageBackend = "local" | "s3" | "gcs" | "azure" | "memory"

/** The kinds of place under the names of Persist's enum. */
export const StorageBackend: {
  readonly Local: "local"
  readonly S3: "s3"
  readonly GCS: "gcs"
  readonly Azure: "azure"
  readonly Memory: "memory"
} = { Local: "local", S3: "s3", GCS: "gcs", Azure: "azure", Memory: "memory" }

const backends: ReadonlyArray<string> = Object.values(StorageBackend)

/** What there is to be said of a place. */
export interface StorageConfigFields {
  /** The kind of place. Default `"local"`. Environment: `PERSIST_STORAGE`. */
  readonly backend: StorageBackend
  /** The S3 bucket; S3 needs one. Environment: `PERSIST_S3_BUCKET`, then `AWS_S3_BUCKET`. */
  readonly s3_bucket: string | undefined
  /** Its region. Environment: `AWS_REGION`, then AWS's config file. Default `us-east-1`. */
  readonly s3_region: string | undefined
  /** The folder that paths are in; then they cannot leave it. Environment: `PERSIST_LOCAL_PATH`. Default: none. */
  readonly local_base_path: string | undefined
  /** The bucket of Google Cloud Storage; it needs one. Environment: `PERSIST_GCS_BUCKET`, then `GCS_BUCKET`. */
  readonly gcs_bucket: string | undefined
  /** Put in front of every path, with a slash. Environment: `PERSIST_GCS_PREFIX`. Default: none. */
  readonly gcs_prefix: string | undefined
  /** A service account's key file. Environment: `GOOGLE_APPLICATION_CREDENTIALS`. */
  readonly gcs_credentials_path: string | undefined
  /** Seconds until a call on Google Cloud Storage is given up. Environment: `PERSIST_GCS_TIMEOUT`. Default 30. */
  readonly gcs_timeout_seconds: number
  /** The key that Google Cloud Storage is to encrypt with. Environment: `PERSIST_GCS_KMS_KEY`. Default: none. */
  readonly gcs_kms_key: string | undefined
}

/** `s3_bucket` as `s3Bucket`. */
export type CamelCase<Name extends string> = Name extends `${infer Head}_${infer Tail}`
  ? `${Head}${Capitalize<CamelCase<Tail>>}`
  : Name

/** The fields of `A` in either spelling, all optional. */
export type EitherCase<A> =
  & { readonly [name in keyof A]?: A[name] | undefined }
  & { readonly [name in keyof A as name extends string ? CamelCase<name> : never]?: A[name] | undefined }

/** A configuration in either spelling: `s3_bucket` or `s3Bucket`. */
export type StorageConfigInput = EitherCase<StorageConfigFields>

/** The variables of a process. */
export type Environment = Readonly<Record<string, string | undefined>>

/** Where each field is looked for in the environment; the first variable that is set counts. */
const variables: { readonly [name in keyof StorageConfigFields]: ReadonlyArray<string> } = {
  backend: ["PERSIST_STORAGE"],
  s3_bucket: ["PERSIST_S3_BUCKET", "AWS_S3_BUCKET"],
  s3_region: ["AWS_REGION"],
  local_base_path: ["PERSIST_LOCAL_PATH"],
  gcs_bucket: ["PERSIST_GCS_BUCKET", "GCS_BUCKET"],
  gcs_prefix: ["PERSIST_GCS_PREFIX"],
  gcs_credentials_path: ["GOOGLE_APPLICATION_CREDENTIALS"],
  gcs_timeout_seconds: ["PERSIST_GCS_TIMEOUT"],
  gcs_kms_key: ["PERSIST_GCS_KMS_KEY"],
}

const names = Object.keys(variables) as ReadonlyArray<keyof StorageConfigFields>

/** The other spelling of a name. */
export const camelCase = (name: string): string =>
  name.replaceAll(/_(\w)/g, (_, letter: string) => letter.toUpperCase())

const invalid = (message: string, hint?: string): PersistConfigurationError =>
  new PersistConfigurationError({ message, tag: "Configuration", hint })

/** Checks the name of a kind of place, in any case of letters. */
const backendOf = (mode: unknown): StorageBackend => {
  const name = String(mode).toLowerCase()
  if (backends.includes(name)) return name as StorageBackend
  throw invalid(`Invalid storage_mode '${name}'. Must be 'local' or 's3', 'gcs', 'azure' or 'memory'`)
}

const secondsOf = (seconds: unknown): number => {
  const number = typeof seconds === "string" && seconds.trim() !== "" ? Number(seconds) : seconds
  if (typeof number === "number" && number > 0 && Number.isFinite(number)) return number
  throw invalid(`Invalid gcs_timeout_seconds '${seconds}'. Must be a number above zero`)
}

/**
 * Persist's `StorageConfig`. The static functions have the names of the original's constructors.
 *
 * @example A bucket by its URI
 * ```ts
 * import { StorageConfig } from "@holdfast/holdfast/persist"
 *
 * const [config, key] = StorageConfig.from_uri("s3://snapshots/agents/1.json.gz")
 * console.assert(config.s3_bucket === "snapshots" && key === "agents/1.json.gz")
 * config.validate()
 * ```
 */
export class StorageConfig implements StorageConfigFields {
  /** The kind of place. */
  readonly backend: StorageBackend
  /** The S3 bucket. */
  readonly s3_bucket: string | undefined
  /** Its region. */
  readonly s3_region: string | undefined
  /** The folder that paths are in. */
  readonly local_base_path: string | undefined
  /** The bucket of Google Cloud Storage. */
  readonly gcs_bucket: string | undefined
  /** Put in front of every path there. */
  readonly gcs_prefix: string | undefined
  /** A service account's key file. */
  readonly gcs_credentials_path: string | undefined
  /** Seconds until a call there is given up. */
  readonly gcs_timeout_seconds: number
  /** The key that the service is to encrypt with. */
  readonly gcs_kms_key: string | undefined

  /** What is left out has its default. Throws {@link PersistConfigurationError} for what there cannot be. */
  constructor(input: StorageConfigInput = {}) {
    this.backend = backendOf(fieldOf(input, "backend") ?? "local")
    this.s3_bucket = fieldOf(input, "s3_bucket")
    this.s3_region = fieldOf(input, "s3_region")
    this.local_base_path = fieldOf(input, "local_base_path")
    this.gcs_bucket = fieldOf(input, "gcs_bucket")
    this.gcs_prefix = fieldOf(input, "gcs_prefix")
    this.gcs_credentials_path = fieldOf(input, "gcs_credentials_path")
    this.gcs_timeout_seconds = secondsOf(fieldOf(input, "gcs_timeout_seconds") ?? 30)
    this.gcs_kms_key = fieldOf(input, "gcs_kms_key")
  }

  /** Local files, paths as they are. */
  static default_local(): StorageConfig {
    return new StorageConfig()
  }

  /** S3 with Persist's default bucket, `persist-default-bucket`. */
  static default_s3(): StorageConfig {
    return StorageConfig.s3_with_bucket("persist-default-bucket")
  }

  /** S3 with a bucket. */
  static s3_with_bucket(bucket: string): StorageConfig {
    return new StorageConfig({ backend: "s3", s3_bucket: bucket })
  }

  /** S3 with a bucket in a region. */
  static s3_with_bucket_and_region(bucket: string, region: string): StorageConfig {
    return new StorageConfig({ backend: "s3", s3_bucket: bucket, s3_region: region })
  }

  /** Google Cloud Storage with Persist's default bucket, `persist-default-gcs-bucket`. */
  static default_gcs(): StorageConfig {
    return StorageConfig.gcs_with_bucket("persist-default-gcs-bucket")
  }

  /** Google Cloud Storage with a bucket. */
  static gcs_with_bucket(bucket: string): StorageConfig {
    return new StorageConfig({ backend: "gcs", gcs_bucket: bucket })
  }

  /** Google Cloud Storage with a bucket and a service account's key file. */
  static gcs_with_bucket_and_credentials(bucket: string, credentials_path: string): StorageConfig {
    return new StorageConfig({ backend: "gcs", gcs_bucket: bucket, gcs_credentials_path: credentials_path })
  }

  /** Google Cloud Storage with a bucket, a prefix, and perhaps a service account's key file. */
  static gcs_with_bucket_prefix_and_credentials(
    bucket: string,
    prefix: string,
    credentials_path?: string,
  ): StorageConfig {
    return new StorageConfig({
      backend: "gcs",
      gcs_bucket: bucket,
      gcs_prefix: prefix,
      gcs_credentials_path: credentials_path,
    })
  }

  /** The place and the path that `s3://bucket/key`, `gs://bucket/key` or a local path name. */
  static from_uri(uri: string): readonly [config: StorageConfig, path: string] {
    const [, scheme, bucket = "", path = ""] = /^(s3|gs):\/\/([^/]*)(?:\/(.*))?$/s.exec(uri) ?? []
    if (scheme === undefined) return [StorageConfig.default_local(), uri]
    if (bucket === "") throw invalid(`Invalid ${scheme === "s3" ? "S3" : "GCS"} URI: missing bucket name`)
    return [scheme === "s3" ? StorageConfig.s3_with_bucket(bucket) : StorageConfig.gcs_with_bucket(bucket), path]
  }

  /** Throws {@link PersistConfigurationError} when something is missing. Asks nothing of any service. */
  validate(): void {
    if (this.backend === "s3" && !this.s3_bucket) {
      throw invalid("S3 backend requires a valid bucket name", "give s3_bucket, or set AWS_S3_BUCKET")
    }
    if (this.backend === "gcs" && !this.gcs_bucket) {
      throw invalid("GCS backend requires a valid bucket name", "give gcs_bucket, or set PERSIST_GCS_BUCKET")
    }
  }
}

/** A field in either spelling. */
export const fieldOf = <A extends object, Name extends keyof A & string>(input: A, name: Name): A[Name] =>
  input[name] ?? (input as Record<string, A[Name]>)[camelCase(name)] as A[Name]

/** What {@link resolveConfig} goes by. */
export interface ConfigOptions extends StorageConfigInput {
  /** The kind of place, as Persist's functions call it; goes before `backend`. */
  readonly storage_mode?: string | undefined
  /** The same in the other spelling. */
  readonly storageMode?: string | undefined
  /** A configuration for what the arguments leave open. */
  readonly config?: StorageConfig | undefined
  /** A JSON file with the fields of a configuration, for what is still open. Default: none. */
  readonly config_file?: string | undefined
  /** The same in the other spelling. */
  readonly configFile?: string | undefined
  /** Where variables are read from, when the call is made. Default: the process's environment. */
  readonly env?: Environment | undefined
}

/** Variables as the options give them, or the process's. */
export const variableOf = (env: Environment | undefined) => (name: string): string | undefined =>
  (env === undefined ? thisMachine.variable(name) : env[name]) || undefined

/**
 * The configuration that a call means. Each field by itself comes from the first that has it: the argument, `config`,
 * the file, the environment, the default. Throws {@link PersistConfigurationError} for what there cannot be.
 */
export const resolveConfig = async (options: ConfigOptions = {}): Promise<StorageConfig> => {
  const variable = variableOf(options.env)
  const path = options.config_file ?? options.configFile
  const file = path === undefined ? {} : await readConfig(path)
  const mode = options.storage_mode ?? options.storageMode
  const sources: ReadonlyArray<
    StorageConfigInput & { readonly storage_mode?: unknown; readonly storageMode?: unknown }
  > = [
    mode === undefined ? options : { ...options, backend: backendOf(mode) },
    options.config ?? {},
    file,
  ]
  const resolved = names.map((name) => {
    const given = sources.map((source) => fieldOf(source, name)).find((value) => value !== undefined && value !== null)
    return [name, given ?? variables[name].map(variable).find((value) => value !== undefined)] as const
  })
  const config = new StorageConfig(Object.fromEntries(resolved) as StorageConfigInput)
  config.validate()
  return config
}

const readConfig = async (path: string): Promise<StorageConfigInput> => {
  const text = await thisMachine.readText(path)
  if (text === undefined) throw invalid(`Configuration file not found: ${path}`)
  let fields: unknown
  try {
    fields = JSON.parse(text)
  } catch (cause) {
    throw new PersistConfigurationError({
      message: `Configuration file is no JSON: ${path}`,
      tag: "Configuration",
      cause,
    })
  }
  if (typeof fields !== "object" || fields === null) throw invalid(`Configuration file holds no fields: ${path}`)
  const known = fields as Record<string, unknown>
  const mode = known["storage_mode"] ?? known["storageMode"]
  for (const [name, value] of Object.entries(known)) {
    if (typeof value !== "string" && typeof value !== "number" && value !== null) {
      throw invalid(`Configuration file has a ${name} that is neither text nor a number: ${path}`)
    }
  }
  return (mode === undefined || mode === null ? known : { ...known, backend: backendOf(mode) }) as StorageConfigInput
}
