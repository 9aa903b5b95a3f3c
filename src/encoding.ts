/**
 * What the options of a layer and of a call come to together: the codec of a save, the key of a read; and what is
 * known of an object's length without looking at its bytes.
 *
 * @module
 */
import * as Redacted from "effect/Redacted"
import type { CustomerKey, Encryption, ObjectInfo } from "./backend.ts"
import type { CompressionOptions, EncryptionInput } from "./options.ts"
import { defaultCodec } from "./streams/codec.ts"
import type { EncodeOptions } from "./streams/container-encoder.ts"

/** How a save is encoded; `undefined`: not at all. A layer's level is for the layer's codec only. */
export const encodingOf = (layer: CompressionOptions, call: CompressionOptions): EncodeOptions | undefined => {
  const preset = layer.compression ?? defaultCodec
  const codec = call.compression ?? preset
  if (codec === "none") return undefined
  return {
    codec,
    level: call.level ?? (codec === preset ? layer.level : undefined),
    frameSize: call.frameSize ?? layer.frameSize,
  }
}

/** The facts with the length before compression, where the stored bytes are what was saved. */
export const withLength = (info: ObjectInfo): ObjectInfo =>
  info.length === undefined && info.codec === undefined ? { ...info, length: info.size } : info

const redacted = (key: Uint8Array | CustomerKey): CustomerKey =>
  Redacted.isRedacted(key) ? key as CustomerKey : Redacted.make(key as Uint8Array)

/** Encryption as a backend takes it. */
export const encryptionOf = (encryption: EncryptionInput | undefined): Encryption | undefined =>
  encryption?.type === "sse-c" ? { type: "sse-c", key: redacted(encryption.key) } : encryption

/** The key that a read travels with: the call's, or the one that the layer writes with. */
export const customerKeyOf = (
  call: Uint8Array | CustomerKey | undefined,
  layer: EncryptionInput | undefined,
): CustomerKey | undefined => {
  const key = call ?? (layer?.type === "sse-c" ? layer.key : undefined)
  return key === undefined ? undefined : redacted(key)
}
