/**
 * The folder of an upload that outlives its process, `uploads/<id>/`:
 *
 * | file | |
 * | --- | --- |
 * | `data` | the parts' bytes, each where it belongs; renamed, it is the object |
 * | `parts` | which parts are in it: `part-log.ts` |
 * | `head.json` | the key and what is stored beside the bytes; written last, so what has one was begun whole |
 *
 * What a maintainer must keep: an upload is there exactly as long as its `data` is. A completion renames it, an
 * abort removes it, each in one step, and whatever is left of the folder then means nothing. So an upload cannot
 * be committed twice, and there is no half of either.
 *
 * @module
 */
import type { BigIntStats } from "node:fs"
import { type FileHandle, lstat, readdir, unlink } from "node:fs/promises"
import type { ObjectHead } from "../../backend.ts"
import { formatChecked, parseChecked } from "./checked.ts"
import { codeOf } from "./errors.ts"
import { privateFolder } from "./layout.ts"
import type { Root } from "./root.ts"
import { createIn, type Folder, openToReadIn, openToWriteIn, seal } from "./safe-path.ts"
import { TempFile } from "./temp.ts"

const uploadsFolder = [privateFolder, "uploads"] as const
const headFile = "head.json"
const dataFile = "data"
const logFile = "parts"

/** What `head.json` holds. */
export interface UploadHead {
  readonly key: string
  /** When it was begun, in milliseconds. */
  readonly started: number
  readonly head: Pick<ObjectHead, "contentType" | "metadata" | "writeId" | "codec">
}

/** An upload that is there. Close it. */
export interface UploadFolder extends UploadHead {
  /** Its `data`, to write in. Close it, and never discard it. */
  readonly openData: () => Promise<TempFile>
  /** Its `parts`, to write in. */
  readonly openLog: () => Promise<FileHandle>
  /** Its `parts`. */
  readonly readLog: () => Promise<FileHandle>
  /** Whether it is still there. */
  readonly isThere: () => Promise<boolean>
  [Symbol.asyncDispose](): Promise<void>
}

/** Whether a text from outside may be used as a folder's name. */
export const isUploadId = (id: string): boolean => /^[0-9a-f-]{36}$/.test(id)

/** The ids of all uploads, and of what is left of some. */
export const uploadIds = async (root: Root): Promise<ReadonlyArray<string>> => {
  try {
    await using folder = await root.folders.open(uploadsFolder)
    return (await readdir(folder.at("."))).filter(isUploadId)
  } catch (error) {
    if (isMissing(error)) return []
    throw error
  }
}

/** Makes the folder of a new upload. Call it under the upload's lock, like all that changes one. */
export const createUpload = async (root: Root, id: string, head: UploadHead): Promise<void> => {
  const names = [...uploadsFolder, id]
  try {
    await using folder = await root.folders.ensure(names)
    for (const name of [dataFile, logFile]) {
      const handle = await createIn(folder, name)
      await seal(handle).finally(() => handle.close())
    }
    await root.writeDurably(names, headFile, formatChecked(head))
  } catch (error) {
    await removeUpload(root, id).catch(() => {})
    throw error
  }
}

/** Opens an upload; `undefined` if it is over, was never begun, or is damaged. */
export const openUpload = async (root: Root, id: string): Promise<UploadFolder | undefined> => {
  const folder = isUploadId(id) ? await openFolder(root, id) : undefined
  if (folder === undefined) return undefined
  const isThere = async (): Promise<boolean> => await statIn(folder, dataFile) !== undefined
  try {
    const head = await readHead(folder)
    if (head !== undefined && await isThere()) {
      return {
        ...head,
        openData: async () => new TempFile(await openToWriteIn(folder, dataFile), folder.at(dataFile)),
        openLog: () => openToWriteIn(folder, logFile),
        readLog: () => openToReadIn(folder, logFile),
        isThere,
        [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
      }
    }
  } catch (error) {
    await folder[Symbol.asyncDispose]()
    throw error
  }
  await folder[Symbol.asyncDispose]()
  return undefined
}

/** Removes what there is of an upload, its `data` first. */
export const removeUpload = async (root: Root, id: string): Promise<void> => {
  const folder = await openFolder(root, id)
  if (folder === undefined) return
  try {
    await unlink(folder.at(dataFile)).catch(unlessMissing)
    // It must not be there again after a power cut: not even if the system, when it was renamed, made only its new
    // name durable.
    await root.folders.sync(folder)
  } finally {
    await folder[Symbol.asyncDispose]()
  }
  await root.folders.removeWithFiles([...uploadsFolder, id])
}

/** Whether an upload is over, or nothing has changed in it since a point in time. */
export const isLeft = async (root: Root, id: string, since: number): Promise<boolean> => {
  await using folder = await openFolder(root, id)
  if (folder === undefined) return false
  const data = await statIn(folder, dataFile)
  return data === undefined || (Number(folder.stat.ctimeMs) < since && Number(data.ctimeMs) < since)
}

const openFolder = async (root: Root, id: string): Promise<Folder | undefined> => {
  try {
    return await root.folders.open([...uploadsFolder, id])
  } catch (error) {
    return unlessMissing(error)
  }
}

const readHead = async (folder: Folder): Promise<UploadHead | undefined> => {
  try {
    const handle = await openToReadIn(folder, headFile)
    try {
      return parseChecked(await handle.readFile("utf8")) as UploadHead | undefined
    } finally {
      await handle.close()
    }
  } catch (error) {
    return unlessMissing(error)
  }
}

const statIn = async (folder: Folder, name: string): Promise<BigIntStats | undefined> => {
  try {
    return await lstat(folder.at(name), { bigint: true })
  } catch (error) {
    return unlessMissing(error)
  }
}

const isMissing = (error: unknown): boolean => codeOf(error) === "ENOENT" || codeOf(error) === "ENOTDIR"

const unlessMissing = (error: unknown): undefined => {
  if (!isMissing(error)) throw error
}
