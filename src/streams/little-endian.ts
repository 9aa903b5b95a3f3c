/**
 * Unsigned numbers as zstd and gzip store them: the low byte first.
 *
 * @module
 */

/** Two bytes. */
export const u16 = (bytes: Uint8Array, at: number): number => bytes[at]! | bytes[at + 1]! << 8

/** Three bytes. */
export const u24 = (bytes: Uint8Array, at: number): number => u16(bytes, at) | bytes[at + 2]! << 16

/** Four bytes. */
export const u32 = (bytes: Uint8Array, at: number): number => (u24(bytes, at) | bytes[at + 3]! << 24) >>> 0
