/**
 * JSON that tells whether it is still what was written: a text carries the CRC-32 of its own content, since what
 * rotted on the disk must not be read as if it were right.
 *
 * @module
 */
import { crc32, formatCrc32 } from "../../streams/crc32.ts"

/** The text of `body`, on one line. */
export const formatChecked = (body: object): string => JSON.stringify({ check: checkOf(body), ...body })

/** What was written; `undefined` if the text is damaged. What it holds has the shape that was given to write. */
export const parseChecked = (text: string): object | undefined => {
  let parsed: unknown
  try {
    parsed = JSON.parse(text)
  } catch {
    return undefined
  }
  if (typeof parsed !== "object" || parsed === null) return undefined
  // The rest keeps its order, so it turns into the very text that was checked when it was written.
  const { check, ...body } = parsed as { check?: string }
  return check === checkOf(body) ? body : undefined
}

const encoder = new TextEncoder()

const checkOf = (body: object): string => formatCrc32(crc32(encoder.encode(JSON.stringify(body))))
