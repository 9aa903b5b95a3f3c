/**
 * What this backend uses of a bucket that is bound to a Worker: a part of the `R2Bucket` of
 * `@cloudflare/workers-types`, written down here so that no program needs those types, nor one version of them. A real
 * binding fits, and so does a stand-in in a test.
 *
 * Source: https://developers.cloudflare.com/r2/api/workers/workers-api-reference/
 *
 * @module
 */

/** The bytes of an object. Less than a `ReadableStream`, whose types differ from one runtime to the next. */
export interface R2Body {
  /** Locks the stream, for reads into buffers: without them workerd delivers 4 KiB at a time. */
  getReader(options: { mode: "byob" }): R2Reader
  /** Frees what it holds. */
  cancel(reason?: unknown): Promise<void>
}

/** Reads an {@link R2Body}. */
export interface R2Reader {
  /** The next bytes, at most as many as the view has; its buffer is gone afterwards. */
  read(view: Uint8Array): Promise<{ readonly done: boolean; readonly value?: Uint8Array | undefined }>
  /** Frees what the body holds. */
  cancel(reason?: unknown): Promise<void>
}

/** Facts of an object. */
export interface R2Object {
  /** Differs for every write. */
  readonly version: string
  /** Stored bytes. */
  readonly size: number
  /** Of an object made by one put the MD5 of its bytes: the same bytes have the same one. */
  readonly etag: string
  /** When it was written. */
  readonly uploaded: Date
  /** The media type among others; a listing leaves it out. */
  readonly httpMetadata?: { readonly contentType?: string | undefined } | undefined
  /** Ours and the user's; a listing leaves it out. */
  readonly customMetadata?: Readonly<Record<string, string>> | undefined
  /** `"Standard"`, `"InfrequentAccess"`; miniflare has none. */
  readonly storageClass?: string | undefined
  /** MD5 of the customer's key, of an object that is encrypted with one. */
  readonly ssecKeyMd5?: string | undefined
  /** The bytes, in the answer to a get whose condition held. */
  readonly body?: R2Body | undefined
}

/** An object in a listing. */
export interface R2Entry extends Pick<R2Object, "version" | "size" | "etag" | "uploaded"> {
  /** Its name. */
  readonly key: string
}

/** One page of a listing. */
export interface R2Page {
  /** The objects. */
  readonly objects: ReadonlyArray<R2Entry>
  /** What the delimiter folded. */
  readonly delimitedPrefixes: ReadonlyArray<string>
  /** There is more. */
  readonly truncated: boolean
  /** Where the next page starts. */
  readonly cursor?: string | undefined
}

/** Only if the object's etag is, or is not, this one; without quotes. */
export interface R2Conditional {
  /** It is. */
  etagMatches?: string
  /** It is not; `"*"`: there is no object. */
  etagDoesNotMatch?: string
}

/** What is given when an upload begins. */
export interface R2MultipartOptions {
  /** The media type. */
  httpMetadata?: { contentType?: string }
  /** Strings kept with the object. */
  customMetadata?: Record<string, string>
  /** Instead of the bucket's. */
  storageClass?: string
  /** Key of 32 bytes in lower-case hex. */
  ssecKey?: string
}

/** What is given to a put. */
export interface R2PutOptions extends R2MultipartOptions {
  /** The condition; where it does not hold, nothing is stored and the answer is `null`. */
  onlyIf?: R2Conditional
  /** R2 refuses bytes that have another SHA-256. */
  sha256?: ArrayBuffer
}

/** What is given to a get. */
export interface R2GetOptions {
  /** The condition; where it does not hold, the answer has no body. */
  onlyIf?: R2Conditional
  /** The bytes wanted. */
  range?: { offset: number; length?: number }
  /** Key of 32 bytes in lower-case hex. */
  ssecKey?: string
}

/** What is given to a list. */
export interface R2ListOptions {
  /** Only keys that start so. */
  prefix?: string
  /** What folds keys. */
  delimiter?: string
  /** Where an earlier page ended. */
  cursor?: string
  /** Most objects and prefixes, up to 1,000. */
  limit?: number
}

/** A part that is stored. */
export interface R2UploadedPart {
  /** 1 for the first. */
  partNumber: number
  /** R2's name for it. */
  etag: string
}

/** An upload that has been begun. */
export interface R2MultipartUpload {
  /** R2's name for it. */
  readonly uploadId: string
  /** Stores a part. */
  uploadPart(number: number, bytes: Uint8Array, options?: { ssecKey?: string }): Promise<R2UploadedPart>
  /** Makes the object. */
  complete(parts: Array<R2UploadedPart>): Promise<R2Object>
  /** Frees the parts. */
  abort(): Promise<void>
}

/** A bucket that is bound to a Worker, `env.BUCKET`. */
export interface R2Bucket {
  /** Facts of an object; `null` when there is none. */
  head(key: string): Promise<R2Object | null>
  /** Facts and bytes; `null` when there is no object. */
  get(key: string, options: R2GetOptions): Promise<R2Object | null>
  /** Stores an object; `null` when the condition does not hold. */
  put(key: string, bytes: Uint8Array, options: R2PutOptions): Promise<R2Object | null>
  /** Removes objects, up to 1,000; those that are missing count as removed. */
  delete(keys: string | Array<string>): Promise<void>
  /** One page of objects. */
  list(options: R2ListOptions): Promise<R2Page>
  /** Begins an upload. */
  createMultipartUpload(key: string, options: R2MultipartOptions): Promise<R2MultipartUpload>
  /** An upload that was begun before; nothing is asked of R2. */
  resumeMultipartUpload(key: string, uploadId: string): R2MultipartUpload
}
