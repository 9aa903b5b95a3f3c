/**
 * JACS' configuration file: which store, where, and whose keys. What it leaves out comes from the environment, as it is
 * when the configuration is read, and what that leaves out from the defaults.
 *
 * @module
 */
import type { EncryptionInput } from "../options.ts"
import { StoreError } from "../error.ts"
import { readBytes } from "./jacs-host.ts"

/** The variables of a process, by name. */
export type JacsEnvironment = Readonly<Record<string, string | undefined>>

/** The kinds of storage that the configuration can name. */
export const jacsStorages = ["fs", "aws", "hai", "memory"] as const

/** A kind of storage. */
export type JacsStorage = typeof jacsStorages[number]

/** A configuration, complete. */
export interface JacsConfig {
  /** `jacs_default_storage`; default `"fs"`. */
  readonly storage: JacsStorage
  /** `jacs_data_directory`; default `"./jacs_data"`. */
  readonly dataDirectory: string
  /** `jacs_key_directory`; default `"./jacs_keys"`. */
  readonly keyDirectory: string
  /** Whether the configuration or the environment has said where keys are. */
  readonly keysNamed: boolean
  /** `jacs_agent_private_key_filename`; default `"jacs.private.pem.enc"`. */
  readonly privateKeyFilename: string
  /** `jacs_agent_public_key_filename`; default `"jacs.public.pem"`. */
  readonly publicKeyFilename: string
  /** `jacs_agent_key_algorithm`; default `"ring-Ed25519"`, the one that is built in. */
  readonly algorithm: string
  /** `jacs_agent_id_and_version`: the agent, as `"id:version"`. */
  readonly agent: string | undefined
  /** `aws_s3_encryption`: what the service is asked to encrypt with. */
  readonly encryption: EncryptionInput | undefined
}

const invalid = (detail: string, hint?: string): StoreError =>
  new StoreError({ reason: "Config", detail, hint, operation: "load" })

/** Reads a configuration; without a path, the environment and the defaults alone. */
export const readConfig = async (path: string | undefined, env: JacsEnvironment): Promise<JacsConfig> => {
  if (path === undefined) return configOf({}, env)
  const bytes = await readBytes(path)
  if (bytes === undefined) throw invalid(`there is no configuration at ${JSON.stringify(path)}`)
  let value: unknown
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes))
  } catch (cause) {
    throw invalid(`the configuration at ${JSON.stringify(path)} is no JSON`).with({ cause })
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw invalid(`the configuration at ${JSON.stringify(path)} is no JSON object`)
  }
  return configOf(value as Record<string, unknown>, env)
}

/** A configuration out of the fields of the file. Throws for what is not possible, with what is. */
export const configOf = (fields: Readonly<Record<string, unknown>>, env: JacsEnvironment): JacsConfig => {
  const text = (name: string): string | undefined => {
    const value = fields[name]
    if (value === undefined || value === null || value === "") {
      const variable = env[name.toUpperCase()]
      return variable === "" ? undefined : variable
    }
    if (typeof value !== "string") throw invalid(`${name} must be a string`)
    return value
  }
  const storage = text("jacs_default_storage") ?? "fs"
  if (!isStorage(storage)) {
    throw invalid(`jacs_default_storage is ${JSON.stringify(storage)}; it can be ${jacsStorages.join(", ")}`)
  }
  const keyDirectory = text("jacs_key_directory")
  return {
    storage,
    dataDirectory: text("jacs_data_directory") ?? "./jacs_data",
    keyDirectory: keyDirectory ?? "./jacs_keys",
    keysNamed: keyDirectory !== undefined,
    privateKeyFilename: text("jacs_agent_private_key_filename") ?? "jacs.private.pem.enc",
    publicKeyFilename: text("jacs_agent_public_key_filename") ?? "jacs.public.pem",
    algorithm: text("jacs_agent_key_algorithm") ?? "ring-Ed25519",
    agent: text("jacs_agent_id_and_version"),
    encryption: encryptionOf(text("aws_s3_encryption"), text("aws_s3_kms_key_id")),
  }
}

const isStorage = (name: string): name is JacsStorage => (jacsStorages as ReadonlyArray<string>).includes(name)

const encryptionOf = (name: string | undefined, keyId: string | undefined): EncryptionInput | undefined => {
  switch (name) {
    case undefined:
      return undefined
    case "AES256":
      return { type: "sse-s3" }
    case "aws:kms":
      return { type: "sse-kms", keyId }
    default:
      throw invalid(`aws_s3_encryption is ${JSON.stringify(name)}; it can be AES256 or aws:kms`)
  }
}

/** The URL of the store that a configuration names. */
export const storeUrlOf = (config: JacsConfig, env: JacsEnvironment): string => {
  const { storage, dataDirectory } = config
  switch (storage) {
    case "memory":
      return "mem:"
    case "fs":
      if (/^[a-z0-9+.-]+:\/\//i.test(dataDirectory)) {
        throw invalid("jacs_data_directory is a URL, and jacs_default_storage is fs", 'set it to "aws" for s3://')
      }
      return `file:${dataDirectory}`
    case "aws": {
      if (dataDirectory.startsWith("s3://")) return dataDirectory
      // As JACS itself has it: the bucket from the environment, and the directory within it.
      const bucket = env["JACS_ENABLE_AWS_BUCKET_NAME"]
      if (bucket === undefined || bucket === "") {
        throw invalid(
          "jacs_default_storage is aws, and nothing names a bucket",
          'write "jacs_data_directory": "s3://bucket/data", or set JACS_ENABLE_AWS_BUCKET_NAME',
        )
      }
      return `s3://${bucket}/${dataDirectory.replace(/^(\.?\/)+/, "").replace(/\/+$/, "")}`
    }
    case "hai": {
      // As JACS has it: documents lie behind WebDAV, and only the environment says where.
      const server = env["HAI_STORAGE_URL"]
      if (server === undefined || server === "") {
        throw invalid(
          "jacs_default_storage is hai, and HAI_STORAGE_URL is not set",
          "set it to the address of the storage",
        )
      }
      if (!/^https?:\/\//.test(server)) {
        throw invalid("HAI_STORAGE_URL is no http address", 'write "https://host/folder"')
      }
      return `webdav+${server}`
    }
  }
}
