/**
 * Perstack's `FileSystemStorage`. The disk is loaded when the storage is first used.
 *
 * @module
 */
import { openBackend } from "../store.ts"
import { type PerstackOptions, PerstackStorage } from "./perstack-storage.ts"

/** Options of {@link FileSystemStorage}. */
export interface FileSystemStorageConfig extends PerstackOptions {
  /** The folder that holds `jobs/`. Default: `perstack` in the process's folder, as it is when this is made. */
  readonly basePath?: string | undefined
}

const workingFolder = (): string => {
  const { process } = globalThis as { readonly process?: { readonly cwd?: () => string } }
  if (process?.cwd === undefined) throw new TypeError("there is no working folder here; give a basePath")
  return process.cwd()
}

/**
 * Perstack's execution state in a folder: `{basePath}/jobs/…`, in files that only their owner may read. A folder that
 * Perstack has written is read as it is. Beside `jobs/` stands `.holdfast/`, with what Holdfast knows of the files.
 *
 * @example Without options it is `perstack/` in the process's folder
 * ```ts
 * import { FileSystemStorage } from "@holdfast/holdfast/perstack"
 *
 * const storage = new FileSystemStorage({ basePath: "perstack-example" })
 * console.assert((await storage.getAllJobs()).length === 0)
 * ```
 */
export class FileSystemStorage extends PerstackStorage {
  /** Opens nothing yet. */
  constructor({ basePath, ...options }: FileSystemStorageConfig = {}) {
    const root = basePath ?? `${workingFolder()}/perstack`
    super(async () => openBackend((await import("../backends/disk/mod.ts")).make({ root })), options)
  }
}
