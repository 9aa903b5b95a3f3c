/**
 * `format.json`: which rules one root follows. Written once, by the first write; a root without it holds nothing
 * but other programs' files.
 *
 * @module
 */
import { lstat, rename, unlink } from "node:fs/promises"
import { codeOf, refuse } from "./errors.ts"
import type { Folders } from "./folders.ts"
import { type Names, privateFolder, sha256Hex } from "./layout.ts"
import { createIn, type Folder, openToRead, seal } from "./safe-path.ts"

/** The newest format this code reads, and the one it writes. */
const version = 1

/** The rules of one root. */
export interface Format {
  readonly version: number
  /** How many locks the keys share. */
  readonly shards: number
  /** What tells a key's lock: the first four bytes of this hash of it, modulo `shards`. */
  readonly shardHash: "sha256"
  readonly names: Names
}

/** What holds in a root that has no `format.json` (yet). */
const unwritten: Format = {
  version,
  shards: 64,
  shardHash: "sha256",
  // What the file system does can only be seen by writing to it; Linux' fold nothing unless asked to.
  names: process.platform === "linux" ? "exact" : "portable",
}

const fileName = "format.json"

/** The rules of the root at `root`, and whether they are written down. */
export const readFormat = async (root: string): Promise<{ readonly format: Format; readonly written: boolean }> => {
  let text: string
  try {
    const { handle } = await openToRead(root, `${root}/${privateFolder}/${fileName}`)
    try {
      text = await handle.readFile("utf8")
    } finally {
      await handle.close()
    }
  } catch (error) {
    if (codeOf(error) === "ENOENT" || codeOf(error) === "ENOTDIR") return { format: unwritten, written: false }
    throw error
  }
  return { format: parseFormat(text), written: true }
}

/** The rules in a file's text. */
export const parseFormat = (text: string): Format => {
  let format: Partial<Format> | null
  try {
    format = JSON.parse(text)
  } catch {
    format = null
  }
  if (typeof format?.version !== "number") {
    throw refuse("Corrupt", ".holdfast/format.json is damaged", { hint: "restore the file from a copy of the root" })
  }
  const { shards, names, shardHash } = format
  const known = format.version === version && shardHash === "sha256" && (names === "exact" || names === "portable")
  if (!known || typeof shards !== "number") {
    throw refuse("Unsupported", `the root has format version ${format.version}; this Holdfast knows ${version}`, {
      hint: "use the version of Holdfast that wrote it, or a newer one",
    })
  }
  return { version, shards, shardHash, names }
}

/** Writes down the rules of a root that has none, by way of `temp`, a folder that is this process's own. */
export const writeFormat = async (folders: Folders, temp: Folder): Promise<Format> => {
  const format: Format = { ...unwritten, names: await probeNames(temp) }
  const handle = await createIn(temp, fileName)
  try {
    await handle.writeFile(`${JSON.stringify(format, null, 2)}\n`)
    await seal(handle)
  } finally {
    await handle.close()
  }
  // Another process may do the same now: it finds the same and writes the same.
  await using folder = await folders.ensure([privateFolder])
  await rename(temp.at(fileName), folder.at(fileName))
  await folders.sync(folder)
  return format
}

/** Finds out whether the file system tells names apart that differ only in case, or in their Unicode form. */
const probeNames = async (temp: Folder): Promise<Names> => {
  if (process.platform === "win32") return "portable"
  const pairs = [["Probe", "probe"], ["probe-\u00e9", "probe-e\u0301"]] as const
  for (const [made, folded] of pairs) {
    await (await createIn(temp, made)).close()
    try {
      await lstat(temp.at(folded))
      return "portable"
    } catch (error) {
      if (codeOf(error) !== "ENOENT") throw error
    } finally {
      await unlink(temp.at(made))
    }
  }
  return "exact"
}

/** The lock of an object, by the SHA-256 of its key. */
export const shardOf = (keyHash: string, { shards }: Format): number => parseInt(keyHash.slice(0, 8), 16) % shards

/** A key's SHA-256: names its sidecar and its lock. */
export const keyHash: (key: string) => string = sha256Hex
