/**
 * What can be wrong with the options of a call, found before anything is asked of a backend. Each message says what
 * to write instead.
 *
 * @module
 */
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import type { Backend, Capabilities, WriteCondition } from "./backend.ts"
import type { Reason } from "./error.ts"
import { keyFlaw, metadataFlaw } from "./key.ts"
import type { CompressionOptions, EncryptionInput, LoadOptions, ReadOptions, SaveOptions } from "./options.ts"
import { codecLevels } from "./streams/codec.ts"
import { maxFrameSize } from "./streams/container-tail.ts"
import { canEncodeZstd } from "./streams/zstd.ts"

/** A call that cannot be made, and why. */
export interface Flaw {
  readonly reason: Reason
  readonly detail: string
}

export const invalid = (detail: string | undefined): Flaw | undefined =>
  detail === undefined ? undefined : { reason: "InvalidInput", detail }

export const invalidKey = (key: string): Flaw | undefined => {
  const detail = keyFlaw(key)
  return detail === undefined ? undefined : { reason: "InvalidKey", detail }
}

export const weakFlaw = (name: string, etag: string | undefined): Flaw | undefined => {
  if (etag === undefined) return undefined
  if (typeof etag !== "string" || etag === "") {
    return { reason: "InvalidInput", detail: `${name} is empty; give an etag` }
  }
  if (!etag.startsWith("W/")) return undefined
  return {
    reason: "InvalidInput",
    detail: `${name} is the weak etag ${JSON.stringify(etag)}, which cannot tell one write from another; save the ` +
      "object again through Holdfast to give it a strong one",
  }
}

/** What this store cannot do. */
export const unsupported = (detail: string): Flaw => ({ reason: "Unsupported", detail })

export const conditionFlaw = (o: WriteCondition, create: boolean, replace: boolean): Flaw | undefined => {
  if (o.ifMatch !== undefined && o.ifNoneMatch !== undefined) {
    return { reason: "InvalidInput", detail: "ifMatch and ifNoneMatch exclude each other; give one" }
  }
  if (o.ifNoneMatch !== undefined && o.ifNoneMatch !== "*") {
    const detail = `ifNoneMatch of a write is ${JSON.stringify(o.ifNoneMatch)}; only "*" is possible`
    return { reason: "InvalidInput", detail }
  }
  const unchecked = (name: string): Flaw => unsupported(`this store cannot check ${name} together with this write`)
  if (o.ifNoneMatch !== undefined && !create) return unchecked("ifNoneMatch")
  if (o.ifMatch !== undefined && !replace) return unchecked("ifMatch")
  return weakFlaw("ifMatch", o.ifMatch)
}

export const optionFlaw = (name: string, value: number | undefined, least: number, most: number): string | undefined =>
  value === undefined || (Number.isInteger(value) && value >= least && value <= most)
    ? undefined
    : `${name} is ${value}; give a whole number from ${least} to ${most}`

export const durationFlaw = (name: string, value: Duration.Input | undefined): string | undefined => {
  if (value === undefined) return undefined
  const millis = Option.map(Duration.fromInput(value), Duration.toMillis)
  return Option.isSome(millis) && millis.value > 0
    ? undefined
    : `${name} is ${
      JSON.stringify(value)
    }; give a duration above zero, such as "30 seconds" or a number of milliseconds`
}

export const headFlaw = (o: SaveOptions): string | undefined => {
  if (o.contentType !== undefined && !/^[\x21-\x7e]+\/[\x20-\x7e]+$/.test(o.contentType)) {
    return `contentType is ${JSON.stringify(o.contentType)}; give a media type such as "application/json"`
  }
  return o.metadata === undefined ? undefined : metadataFlaw(o.metadata)
}

export const needsDigest = (o: SaveOptions): boolean => o.digest !== undefined || o.expectedSha256 !== undefined

export const saveNumbersFlaw = (o: SaveOptions, capabilities: Capabilities): string | undefined => {
  const rules = capabilities.parts
  if (o.digest !== undefined && o.digest !== "sha256") {
    return `digest is ${JSON.stringify(o.digest)}; only "sha256" is possible`
  }
  if (o.expectedSha256 !== undefined && !/^[0-9a-f]{64}$/i.test(o.expectedSha256)) {
    return "expectedSha256 is not a SHA-256; give 64 hex digits"
  }
  return optionFlaw("expectedSize", o.expectedSize, 0, Number.MAX_SAFE_INTEGER) ??
    optionFlaw("concurrency", o.concurrency, 1, 1000) ??
    optionFlaw("partSize", o.partSize, rules?.minSize ?? 1, rules?.maxSize ?? capabilities.maxPut)
}

export const rangeFlaw = (o: LoadOptions): string | undefined => {
  const { decode, maxLength } = o
  if (decode !== undefined && decode !== "zstd" && decode !== "gzip" && decode !== "none") {
    return `decode is ${JSON.stringify(decode)}; give "zstd", "gzip" or "none"`
  }
  if (maxLength !== undefined && decode !== "zstd" && decode !== "gzip") {
    return 'maxLength bounds what a foreign object decodes to; give it together with decode: "zstd" or "gzip"'
  }
  return optionFlaw("offset", o.offset, 0, Number.MAX_SAFE_INTEGER) ??
    optionFlaw("length", o.length, 0, Number.MAX_SAFE_INTEGER) ??
    optionFlaw("maxLength", maxLength, 0, Number.MAX_SAFE_INTEGER) ??
    optionFlaw("concurrency", o.concurrency, 1, 1000)
}

/** What is wrong with the compression of a call, on a store with the compression of `layer`. */
export const compressionFlaw = (call: CompressionOptions, layer: CompressionOptions): Flaw | undefined => {
  const { compression, level, frameSize } = call
  if (compression !== undefined && compression !== "none" && !(compression in codecLevels)) {
    return invalid(`compression is ${JSON.stringify(compression)}; give "zstd", "gzip" or "none"`)
  }
  if (compression === "zstd" && !canEncodeZstd) {
    return unsupported('this runtime cannot encode zstd; use compression: "gzip"')
  }
  const codec = compression ?? layer.compression ?? (canEncodeZstd ? "zstd" : "gzip")
  if (codec === "none") {
    return level === undefined && frameSize === undefined
      ? undefined
      : invalid('level and frameSize are for compressed objects; leave them out, or give compression: "zstd"')
  }
  const { min, max } = codecLevels[codec]
  return invalid(
    optionFlaw(`level of ${codec}`, level, min, max) ?? optionFlaw("frameSize", frameSize, 1, maxFrameSize),
  )
}

const customerKeyFlaw = (key: unknown): Flaw | undefined => {
  const bytes = Redacted.isRedacted(key) ? Redacted.value(key) : key
  return bytes instanceof Uint8Array && bytes.length === 32
    ? undefined
    : invalid("the sse-c key is not 32 bytes; give a Uint8Array of 256 random bits")
}

export const encryptionFlaw = (
  encryption: EncryptionInput | undefined,
  capabilities: Capabilities,
): Flaw | undefined => {
  if (encryption === undefined) return undefined
  const { type } = encryption
  if (type !== "sse-s3" && type !== "sse-kms" && type !== "sse-c") {
    return invalid(`encryption.type is ${JSON.stringify(type)}; give "sse-s3", "sse-kms" or "sse-c"`)
  }
  if (capabilities.encryption?.includes(type) !== true) return unsupported(`this store cannot encrypt with ${type}`)
  if (type === "sse-c") return customerKeyFlaw(encryption.key)
  if (type === "sse-kms" && encryption.keyId === "") {
    return invalid("encryption.keyId is empty; name a key, or leave it out")
  }
  const context = type === "sse-kms" ? Object.entries(encryption.context ?? {}) : []
  return context.every(([name, value]) => name !== "" && typeof value === "string")
    ? undefined
    : invalid("encryption.context is not made of names and strings")
}

export const storageClassFlaw = (storageClass: string | undefined, capabilities: Capabilities): Flaw | undefined => {
  if (storageClass === undefined) return undefined
  if (capabilities.storageClasses !== true) return unsupported("this store has no storage classes")
  return /^[A-Z][A-Z0-9_-]*$/.test(storageClass)
    ? undefined
    : invalid(`storageClass is ${JSON.stringify(storageClass)}; give a name such as "STANDARD_IA"`)
}

/** What is wrong with where and how an object is to be kept. */
export const placementFlaw = (o: SaveOptions, capabilities: Capabilities): Flaw | undefined => {
  const flaw = storageClassFlaw(o.storageClass, capabilities)
  if (flaw !== undefined) return flaw
  if (o.tags !== undefined) {
    if (capabilities.tags !== true) return unsupported("this store has no tags")
    const tags = Object.entries(o.tags)
    // Source: Amazon S3, object tagging.
    const sound = tags.length <= 10 &&
      tags.every(([name, value]) =>
        name !== "" && name.length <= 128 && typeof value === "string" && value.length <= 256
      )
    if (!sound) return invalid("tags are up to 10, with names of 1 to 128 characters and values of up to 256")
  }
  if (o.stored !== undefined && o.stored.codec !== "zstd" && o.stored.codec !== "gzip") {
    return invalid(`stored.codec is ${JSON.stringify(o.stored.codec)}; give "zstd" or "gzip"`)
  }
  return undefined
}

/** What is wrong with the choice of a version or a key of the reader's. */
export const readFlaw = (o: ReadOptions, backend: Backend): Flaw | undefined => {
  if (o.versionId !== undefined) {
    if (backend.listVersions === undefined) return unsupported("this store keeps no versions")
    if (o.versionId === "") return invalid("versionId is empty; give one that versions() lists")
  }
  if (o.customerKey === undefined) return undefined
  return backend.capabilities.encryption?.includes("sse-c") === true
    ? customerKeyFlaw(o.customerKey)
    : unsupported("this store takes no key with a call")
}
