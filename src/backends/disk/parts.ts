/**
 * Which parts of an upload are in its file, and whether they make up the object.
 *
 * @module
 */
import type { Part } from "../../backend.ts"
import { combineCrc32, formatCrc32 } from "../../streams/crc32.ts"
import { refuse } from "./errors.ts"

/** A part whose bytes are in the file. */
export type StoredPart = Part & { readonly crc32: number }

/** The parts in a file, by number. */
export type StoredParts = Map<number, StoredPart>

/** Whether any part has bytes between `from` and `to`. */
export const anyWithin = (stored: StoredParts, from: number, to: number): boolean => {
  for (const part of stored.values()) if (isWithin(part, from, to)) return true
  return false
}

/** Forgets the parts that have bytes between `from` and `to`: these are written over, or cut off. */
export const forget = (stored: StoredParts, from: number, to: number): void => {
  for (const [number, part] of stored) if (isWithin(part, from, to)) stored.delete(number)
}

const isWithin = ({ offset, size }: StoredPart, from: number, to: number): boolean =>
  offset < to && offset + size > from

/** The parts as a listing shows them. */
export const inOrder = (stored: StoredParts): ReadonlyArray<StoredPart> =>
  Array.from(stored.values()).sort((a, b) => a.number - b.number)

/** CRC-32 of the parts in a row; fails unless they are stored and cover `size` bytes in order without gaps. */
export const joined = (stored: StoredParts, parts: ReadonlyArray<Part>, size: number): number => {
  let end = 0
  let crc = 0
  for (const { number, offset, size: partSize, crc32: partCrc } of parts) {
    const part = stored.get(number)
    if (part === undefined) throw refuse("InvalidInput", `part ${number} is not stored`)
    if (part.offset !== end || offset !== end || part.size !== partSize || part.crc32 !== partCrc) {
      throw refuse("InvalidInput", `part ${number} does not continue at byte ${end} as it was stored`)
    }
    end += partSize
    crc = combineCrc32(crc, part.crc32, partSize)
  }
  if (end !== size) throw refuse("InvalidInput", `its parts have ${end} bytes, ${size} were announced`)
  return crc
}

/** Fails unless bytes have the CRC-32 that was announced. */
export const demandCrc = (actual: number, expected: number): void => {
  if (actual !== expected) {
    throw refuse("Corrupt", `the bytes have the CRC-32 ${formatCrc32(actual)}, ${formatCrc32(expected)} was announced`)
  }
}
