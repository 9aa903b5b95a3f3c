/**
 * What the decoders of this folder throw about bytes that are not what they should be. They know neither key nor
 * backend; the engine turns the error into a `StoreError` that names both.
 *
 * @module
 */

/**
 * Why stored bytes were refused.
 *
 * - `mismatch`: they do not begin like the format they are said to have;
 * - `truncated`: they end too early;
 * - `corrupt`: they contradict themselves, a checksum or the format;
 * - `unsupported`: they may be sound, but need something that this decoder does not do;
 * - `limit`: decoding them would take more memory or make more output than allowed.
 */
export type FormatErrorKind = "mismatch" | "truncated" | "corrupt" | "unsupported" | "limit"

/** Stored bytes that cannot be decoded. */
export class FormatError extends Error {
  override readonly name: string = "FormatError"
  /** Why they were refused. */
  readonly kind: FormatErrorKind
  /** Stored bytes before the frame, member or field at fault. */
  readonly offset: number
  /** The frame or member at fault, counted from 0, where the fault is in one. */
  readonly frame: number | undefined

  /** `detail` is the end of a sentence, without a capital or a full stop. */
  constructor(
    kind: FormatErrorKind,
    detail: string,
    where: { readonly offset: number; readonly frame?: number | undefined; readonly cause?: unknown },
  ) {
    const place = where.frame === undefined ? "" : `frame ${where.frame}, `
    super(`${detail} (${place}stored offset ${where.offset})`, where.cause === undefined ? {} : { cause: where.cause })
    this.kind = kind
    this.offset = where.offset
    this.frame = where.frame
  }
}
