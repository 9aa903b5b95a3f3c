/**
 * Perstack's storages under their own names, with their options and defaults: a program that imports
 * `@perstack/filesystem-storage`, `@perstack/s3-storage` or `@perstack/r2-storage` runs when those names lead here.
 *
 * In a Worker `R2Storage` needs nothing else; `FileSystemStorage` loads the disk when it is first used.
 *
 * @module
 */
import { FileSystemStorage, type FileSystemStorageConfig } from "./perstack-filesystem.ts"
import { R2Storage, type R2StorageConfig } from "./perstack-r2.ts"
import { S3Storage, type S3StorageConfig } from "./perstack-s3.ts"
import type { PerstackStorage } from "./perstack-storage.ts"

export {
  type BackendChoice,
  chooseBackend,
  guides,
  iamPolicy,
  type Policy,
  type PolicyStatement,
  type Recommendation,
  type Scenario,
  type Scenarios,
  type System,
} from "./guides.ts"
export { FileSystemStorage, type FileSystemStorageConfig } from "./perstack-filesystem.ts"
export { r2CredentialSteps, R2Storage, type R2StorageConfig } from "./perstack-r2.ts"
export { S3Storage, type S3StorageConfig } from "./perstack-s3.ts"
export { type PerstackOptions, PerstackStorage, type Storage } from "./perstack-storage.ts"
export type * from "../stores/execution-messages.ts"
export type * from "../stores/execution-schema.ts"
export type * from "../stores/execution-settings.ts"

/** Which storage, and its options. */
export type StorageConfig =
  | FileSystemStorageConfig & { readonly backend?: "filesystem" | undefined }
  | S3StorageConfig & { readonly backend: "s3" }
  | R2StorageConfig & { readonly backend: "r2" }

/**
 * The storage that a configuration names; without one the file system, as in Perstack.
 *
 * @example The default
 * ```ts
 * import { createStorage, FileSystemStorage } from "@holdfast/holdfast/perstack"
 *
 * console.assert(createStorage() instanceof FileSystemStorage)
 * ```
 */
export const createStorage = (config: StorageConfig = {}): PerstackStorage => {
  switch (config.backend) {
    case "s3": {
      const { backend: _, ...options } = config
      return new S3Storage(options)
    }
    case "r2": {
      const { backend: _, ...options } = config
      return new R2Storage(options)
    }
    case "filesystem":
    case undefined: {
      const { backend: _, ...options } = config
      return new FileSystemStorage(options)
    }
  }
  const { backend } = config as { readonly backend: unknown }
  throw new TypeError(`the backend ${JSON.stringify(backend)} is none of "filesystem", "s3" and "r2"`)
}
