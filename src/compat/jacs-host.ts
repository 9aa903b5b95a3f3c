/**
 * The files of the machine that a JACS agent runs on: its configuration, its keys, what it attaches. Nothing of `node:`
 * is imported, so that this loads where there are no files; there every call says so.
 *
 * @module
 */
import { StoreError } from "../error.ts"

interface Entry {
  readonly name: string
  isDirectory(): boolean
  isFile(): boolean
}

/** What is used of `node:fs` and `node:fs/promises`. */
interface FileSystem {
  openAsBlob(path: string): Promise<Blob>
  readonly promises: {
    readFile(path: string): Promise<Uint8Array<ArrayBuffer>>
    writeFile(
      path: string,
      data: Uint8Array | string,
      options: { readonly mode: number; readonly flag: string },
    ): Promise<
      void
    >
    mkdir(path: string, options: { readonly recursive: boolean; readonly mode: number }): Promise<unknown>
    readdir(path: string, options: { readonly withFileTypes: true }): Promise<Array<Entry>>
    lstat(path: string): Promise<Entry & { readonly mode: number }>
    stat(path: string): Promise<Entry & { readonly mode: number }>
    chmod(path: string, mode: number): Promise<void>
  }
}

/** What is used of `process`. */
interface Process {
  readonly env?: Readonly<Record<string, string | undefined>>
  getBuiltinModule?(id: string): unknown
}

const host = (globalThis as { readonly process?: Process }).process

/** The environment as it is now. */
export const currentEnvironment = (): Readonly<Record<string, string | undefined>> => ({ ...host?.env })

/** A module of `node:`, where there is one. */
export const builtin = <A>(name: string): A | undefined => host?.getBuiltinModule?.(`node:${name}`) as A | undefined

/** The file system; throws where there is none. */
export const fileSystem = (): FileSystem => {
  const found = builtin<FileSystem>("fs")
  if (found?.promises === undefined) {
    throw new StoreError({
      reason: "Unsupported",
      detail: "this runtime has no files",
      hint: "use DocumentStore of @holdfast/holdfast/documents, which needs none",
      operation: "open",
    })
  }
  return found
}

/** Whether an error says that there is no such file. */
export const isMissing = (error: unknown): boolean => {
  const code = (error as { readonly code?: unknown } | null)?.code
  return code === "ENOENT" || code === "ENOTDIR"
}

/** A file's bytes; missing: `undefined`. */
export const readBytes = async (path: string): Promise<Uint8Array<ArrayBuffer> | undefined> => {
  try {
    return new Uint8Array(await fileSystem().promises.readFile(path))
  } catch (error) {
    if (isMissing(error)) return undefined
    throw error
  }
}

/** A file, read as it is needed; missing: `undefined`. */
export const openBlob = async (path: string): Promise<Blob | undefined> => {
  const { openAsBlob, promises } = fileSystem()
  try {
    if (!(await promises.stat(path)).isFile()) return undefined
    return await openAsBlob(path)
  } catch (error) {
    if (isMissing(error)) return undefined
    throw error
  }
}

/** Writes a file that only its owner may read; `flag` is `"w"`, or `"wx"` for one that must not be there. */
export const writePrivate = async (path: string, data: Uint8Array | string, flag: "w" | "wx"): Promise<void> => {
  const { promises } = fileSystem()
  await promises.writeFile(path, data, { mode: 0o600, flag })
  // The mode above is for a new file only, and the umask may take more of it than it should.
  await promises.chmod(path, 0o600)
}

/** Makes a folder that only its owner may enter, with those above it. One that is there stays as it is. */
export const makePrivateFolder = async (path: string): Promise<void> => {
  await fileSystem().promises.mkdir(path, { recursive: true, mode: 0o700 })
}

/** A path in a folder. */
export const within = (folder: string, name: string): string => `${folder.replace(/\/+$/, "")}/${name}`

/** All files of a folder and the folders in it, by name; symbolic links are not followed. A file is itself. */
export const filesOf = async (path: string): Promise<ReadonlyArray<string>> => {
  const { promises } = fileSystem()
  if (!(await promises.stat(path)).isDirectory()) return [path]
  const found: Array<string> = []
  const entries = await promises.readdir(path, { withFileTypes: true })
  for (const entry of entries.toSorted((a, b) => a.name < b.name ? -1 : 1)) {
    const inside = within(path, entry.name)
    if (entry.isDirectory()) found.push(...await filesOf(inside))
    else if (entry.isFile()) found.push(inside)
  }
  return found
}

/** A file or folder that others may look into. */
export interface LooseMode {
  /** Where it is. */
  readonly path: string
  /** Its mode, such as `"755"`. */
  readonly mode: string
  /** What it should be: `"700"` of a folder, `"600"` of a file. */
  readonly expected: "700" | "600"
}

/**
 * Whatever in a data directory has a looser mode than 0700 for folders and 0600 for files, as JACS' page on security
 * asks for. What Holdfast writes has these modes; a folder that was there before, and a copy, may not.
 */
export const auditModes = async (root: string): Promise<ReadonlyArray<LooseMode>> => {
  const { promises } = fileSystem()
  const loose: Array<LooseMode> = []
  const look = async (path: string): Promise<void> => {
    const stat = await promises.lstat(path)
    const folder = stat.isDirectory()
    if (!folder && !stat.isFile()) return
    if ((stat.mode & 0o077) !== 0) {
      loose.push({ path, mode: (stat.mode & 0o7777).toString(8), expected: folder ? "700" : "600" })
    }
    if (!folder) return
    const entries = await promises.readdir(path, { withFileTypes: true })
    for (const { name } of entries.toSorted((a, b) => a.name < b.name ? -1 : 1)) await look(within(path, name))
  }
  await look(root)
  return loose
}

const mimetypes: Readonly<Record<string, string>> = {
  csv: "text/csv",
  gif: "image/gif",
  htm: "text/html",
  html: "text/html",
  jpeg: "image/jpeg",
  jpg: "image/jpeg",
  json: "application/json",
  md: "text/markdown",
  pdf: "application/pdf",
  png: "image/png",
  svg: "image/svg+xml",
  txt: "text/plain",
  xml: "text/xml",
  zip: "application/zip",
}

/** The media type that a file's name promises. */
export const mimetypeOf = (path: string): string =>
  mimetypes[/\.([^./]+)$/.exec(path)?.[1]?.toLowerCase() ?? ""] ?? "application/octet-stream"
