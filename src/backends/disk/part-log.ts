/**
 * The parts of an upload, written down so that another process finds them: a log with a line for each change.
 *
 * A line `{ number, offset, size, crc32 }` says that a part is in the file; it is written when the part's bytes are
 * durable. A line `{ from, to }` says that what the file holds between the two is lost; it is durable before
 * anything is written over bytes of a part. So whenever a process dies, the parts in the log are whole.
 *
 * What follows the last line break is of a line that was never finished, and counts for nothing. A line that is
 * damaged may have said that anything is lost, so nothing before it counts.
 *
 * A log costs a flush a part. A file a part would cost two, of itself and of the folder: twice the time for small
 * parts in Bun.
 *
 * @module
 */
import type { FileHandle } from "node:fs/promises"
import { formatChecked, parseChecked } from "./checked.ts"
import { forget, type StoredPart, type StoredParts } from "./parts.ts"
import { writeAll } from "./temp.ts"

/** A change of what is stored. */
export type LogLine = StoredPart | { readonly from: number; readonly to: number }

/** A log as far as it has been read. */
export class PartLog {
  readonly parts: StoredParts = new Map()
  #end = 0
  #torn = false

  /** Reads what has been added to the file, by whomever. */
  async follow(handle: FileHandle): Promise<void> {
    const { size } = await handle.stat()
    const bytes = new Uint8Array(Math.max(0, size - this.#end))
    let length = 0
    for (let bytesRead = -1; bytesRead !== 0 && length < bytes.length; length += bytesRead) {
      bytesRead = (await handle.read(bytes, length, bytes.length - length, this.#end + length)).bytesRead
    }
    // A character a byte, so that lengths are the file's.
    const lines = new TextDecoder("latin1").decode(bytes.subarray(0, length)).split("\n")
    for (const line of lines.slice(0, -1)) {
      this.#apply(parseChecked(line) as LogLine | undefined)
      this.#end += line.length + 1
    }
    this.#torn = size > this.#end
  }

  /** Adds a line durably, after those that were read. Call it under the upload's lock. */
  async append(handle: FileHandle, line: LogLine): Promise<void> {
    const bytes = new TextEncoder().encode(`${formatChecked(line)}\n`)
    if (this.#torn) await handle.truncate(this.#end)
    this.#torn = false
    await writeAll(handle, bytes, this.#end)
    await handle.datasync()
    this.#apply(line)
    this.#end += bytes.length
  }

  #apply(line: LogLine | undefined): void {
    if (line === undefined) this.parts.clear()
    else if ("from" in line) forget(this.parts, line.from, line.to)
    else this.parts.set(line.number, line)
  }
}
