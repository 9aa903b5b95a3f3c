/**
 * What the operating system says, as {@link StoreError}s. The only file here that knows error codes' meaning.
 *
 * Code further in throws what it met, or {@link refuse}s; the edge (`backend.ts`) calls {@link toStoreError} once
 * with the operation and the key. On a local disk nothing is in doubt: an error is `ambiguous` only where
 * {@link ambiguously} says so, which is after the rename that decides.
 *
 * @module
 */
import { type Reason, StoreError, type StoreErrorArgs } from "../../error.ts"

/** A refusal of our own; the operation and the key are added at the edge. */
export const refuse = (reason: Reason, detail: string, more?: Partial<StoreErrorArgs>): StoreError =>
  new StoreError({ reason, detail, backend: "disk", ambiguous: false, ...more })

/** There is no object. */
export const missing = (more?: Partial<StoreErrorArgs>): StoreError =>
  refuse("NotFound", "there is no such object", more)

/** The code of an error of the operating system (`"ENOENT"`), if it is one. */
export const codeOf = (error: unknown): string | undefined => {
  const code = (error as { code?: unknown } | null)?.code
  return typeof code === "string" ? code : undefined
}

/** What a code means for the one who asked. */
type Meaning = readonly [reason: Reason, detail: string, more?: Pick<StoreErrorArgs, "hint" | "transient">]

const outOfFiles: Meaning = ["Unavailable", "too many files are open in this process or on this machine", {
  transient: true,
  hint: "raise the limit (ulimit -n), or lower the concurrency",
}]

const full: Meaning = ["NoSpace", "the disk or the quota is full"]

const denied: Meaning = ["Forbidden", "the operating system denies it", {
  hint: "check who owns the store's folder and its modes, and that it is not mounted read-only",
}]

const meanings: Readonly<Record<string, Meaning>> = {
  ENOENT: ["NotFound", "it is not there"],
  ENAMETOOLONG: ["InvalidKey", "the path of this key is longer than the file system allows", {
    hint: "use a shorter key, or a root nearer to the top",
  }],
  ENOSPC: full,
  EDQUOT: full,
  EFBIG: ["TooLarge", "the object is larger than a file may be here"],
  EACCES: denied,
  EPERM: denied,
  EROFS: denied,
  EMFILE: outOfFiles,
  ENFILE: outOfFiles,
  ENOMEM: ["Unavailable", "the machine is out of memory", { transient: true }],
  EBUSY: ["Unavailable", "another program keeps the file busy", { transient: true }],
  EXDEV: ["Config", "there is a mount point inside the root, so files cannot be renamed into place", {
    hint: "open the mounted folder as a store of its own",
  }],
  ELOOP: ["Forbidden", "there is a symbolic link on the way", {
    hint: "the disk backend follows no links below its root; replace the link by a real file or folder",
  }],
  ENXIO: ["Unsupported", "it is not a regular file"],
  ENODEV: ["Unsupported", "it is not a regular file"],
  EIO: ["Unavailable", "the disk reported an input/output error", {
    transient: false,
    hint: "check the disk and the kernel's log before you save anything else on it",
  }],
}

/** In the way of a write, and simply not an object for a read. */
const notAFolder: Meaning = ["Conflict", "a folder of this key is an object itself, or the key is a folder", {
  hint: 'on disk "a" and "a/b" cannot both be objects; use another key, or remove the one in the way',
}]

const reads: ReadonlySet<string> = new Set(["stat", "get", "list", "listUploads", "listParts"])

/** A writer makes what it needs: what is missing then was removed by something else. */
const vanished: Meaning = ["Unavailable", "a file or folder of the store vanished while it was used", {
  transient: true,
}]

const meaningOf = (code: string | undefined, operation: string): Meaning => {
  if (code === "ENOENT" && !reads.has(operation)) return vanished
  if (code === "ENOTDIR" || code === "EISDIR" || code === "ENOTEMPTY" || code === "EEXIST") {
    return reads.has(operation) ? meanings["ENOENT"]! : notAFolder
  }
  return meanings[code ?? ""] ??
    ["Unavailable", `the operating system reports ${code ?? "an unknown error"}`, { transient: false }]
}

/**
 * The error a caller gets for `error`, which met `operation` on `key`. `undefined` if it did not come from the
 * operating system and is no refusal: then it is a bug and must not look like a fact about the store.
 */
export const toStoreError = (error: unknown, operation: string, key: string | undefined): StoreError | undefined => {
  if (StoreError.is(error)) return error.with({ operation, key: error.key ?? key })
  const code = codeOf(error)
  if ((error as Error | null)?.name === "NotCapable") {
    const hint = "run Deno with --allow-read and --allow-write for the root"
    return refuse("Forbidden", "Deno was not given the permission", { operation, key, hint, cause: error })
  }
  if (code === undefined || !/^E[A-Z0-9]+$/.test(code)) return undefined
  const [reason, detail, more] = meaningOf(code, operation)
  return refuse(reason, detail, { operation, key, cause: error, ...more })
}

/** Runs the part of a change that comes after its commit: a failure there leaves the outcome in doubt. */
export const ambiguously = async <A>(run: () => Promise<A>): Promise<A> => {
  try {
    return await run()
  } catch (error) {
    throw toStoreError(error, "write", undefined)?.with({ ambiguous: true }) ?? error
  }
}
