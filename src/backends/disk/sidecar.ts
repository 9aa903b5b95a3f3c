/**
 * What is known of an object beside its bytes: a file per key in `meta/`, with the records of at most two
 * writes.
 *
 * `next` is the write that was about to be renamed into place when the file was made, `current` the one that was
 * there then. Which of them is the object is never told by position: a record describes the live file or it does
 * not. So a commit that died half-way needs no repair.
 *
 * A record finds its file by device, inode, birth, size and modification second: as much as every runtime can
 * see. The birth is there because inodes are reused: a file restored onto the inode that the other record's file
 * once had would match it, were both written in one second with one size. After a restore the record is found
 * again by {@link rebind}.
 *
 * @module
 */
import type { BigIntStats } from "node:fs"
import { formatChecked, parseChecked } from "./checked.ts"

/** One write. */
export interface WriteRecord {
  /** Absent on a file that something else wrote, which is noted only so that a commit over it can fail safely. */
  readonly writeId?: string | undefined
  readonly dev: string
  readonly ino: string
  /** When the inode was made, in milliseconds; where the file system does not say, whatever stands for it. */
  readonly born: number
  readonly size: number
  /** Modification time in whole seconds: a tar archive keeps no more. */
  readonly mtime: number
  readonly crc32?: number | undefined
  readonly sha256?: string | undefined
  readonly codec?: string | undefined
  readonly length?: number | undefined
  readonly contentType?: string | undefined
  readonly metadata?: Readonly<Record<string, string>> | undefined
}

/** The two writes a key may hold. */
export interface Sidecar {
  readonly key: string
  readonly current?: WriteRecord | undefined
  readonly next?: WriteRecord | undefined
}

/** What identifies a file, as a record keeps it. */
export const fileFacts = (stat: BigIntStats): Pick<WriteRecord, "dev" | "ino" | "born" | "size" | "mtime"> => ({
  dev: String(stat.dev),
  ino: String(stat.ino),
  born: Number(stat.birthtimeMs),
  size: Number(stat.size),
  mtime: Math.floor(Number(stat.mtimeMs) / 1000),
})

/** The file's text. */
export const formatSidecar = ({ key, current, next }: Sidecar): string => formatChecked({ key, current, next })

/** The sidecar in a file's text: of `key`, if that is known. `undefined`: the text is damaged, or another key's. */
export const parseSidecar = (text: string, key?: string): Sidecar | undefined => {
  const body = parseChecked(text) as Partial<Sidecar> | undefined
  return body?.key !== undefined && body.key === (key ?? body.key) ? body as Sidecar : undefined
}

const records = ({ current, next }: Sidecar): ReadonlyArray<WriteRecord> =>
  [current, next].filter((record) => record !== undefined)

/** The record that describes the file exactly. */
export const matching = (sidecar: Sidecar, stat: BigIntStats): WriteRecord | undefined => {
  const { dev, ino, born, size, mtime } = fileFacts(stat)
  return records(sidecar).findLast((record) =>
    record.dev === dev && record.ino === ino && record.born === born && record.size === size && record.mtime === mtime
  )
}

/**
 * The record of a file whose inode or time is not the recorded one, as after a restore from a backup: by size and
 * modification second if they single one out, else by size and content. `undefined`: the file was changed by
 * something else.
 */
export const rebind = async (
  sidecar: Sidecar,
  stat: BigIntStats,
  contentCrc: () => Promise<number>,
): Promise<WriteRecord | undefined> => {
  const { size, mtime } = fileFacts(stat)
  const sized = records(sidecar).filter((record) => record.size === size)
  const timed = sized.filter((record) => record.mtime === mtime)
  if (timed.length === 1) return timed[0]
  const candidates = timed.length > 1 ? timed : sized
  const crc = await contentCrc()
  return candidates.findLast((record) => record.crc32 === crc) ?? timed.findLast((record) => record.crc32 === undefined)
}

/** The record of the write that a changed file most resembles: one of its size, else the last. */
export const resembling = (sidecar: Sidecar, stat: BigIntStats): WriteRecord => {
  const { size } = fileFacts(stat)
  const all = records(sidecar)
  return all.findLast((record) => record.size === size) ?? all.at(-1) ?? fileFacts(stat)
}
