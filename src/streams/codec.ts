/**
 * The codecs by name.
 *
 * @module
 */
import { canEncodeZstd } from "./zstd.ts"

/** How stored bytes are compressed. */
export type Codec = "zstd" | "gzip"

/** What this runtime compresses with unless told otherwise: zstd where it can encode it, else gzip. */
export const defaultCodec: Codec = canEncodeZstd ? "zstd" : "gzip"

/** Levels from the fastest to the smallest, and the one the codec's own tool takes by default. */
export const codecLevels: Readonly<
  Record<Codec, { readonly min: number; readonly max: number; readonly default: number }>
> = {
  zstd: { min: 1, max: 19, default: 3 },
  gzip: { min: 1, max: 9, default: 6 },
}

/** The codec whose magic number `bytes` begin with; 4 bytes tell. For messages only: a load never guesses. */
export const sniff = (bytes: Uint8Array): Codec | undefined => {
  if (bytes[0] === 0x1f && bytes[1] === 0x8b) return "gzip"
  if (bytes[0] === 0x28 && bytes[1] === 0xb5 && bytes[2] === 0x2f && bytes[3] === 0xfd) return "zstd"
  return undefined
}
