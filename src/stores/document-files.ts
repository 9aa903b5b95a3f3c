/**
 * The files of a document: embedded as `base64(gzip(bytes))`, or kept beside the documents under `files/{sha256}`, each
 * content once. Whatever is read of them has been held against its digest.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import { StoreError } from "../error.ts"
import type { ObjectStoreService } from "../object-store.ts"
import { sha256 } from "../streams/digest.ts"
import { decodeGzip } from "../streams/gzip.ts"
import type { Document, DocumentFile } from "./document-schema.ts"
import { fileKeyOf } from "./document-names.ts"
import { fromBase64, sha256Hex, toBase64 } from "./document-signature.ts"
import { maxRecordBytes, recordBytes } from "./records.ts"

/** A file that is to belong to a document. */
export interface Attachment {
  /** What the document calls it: where it came from. */
  readonly path: string
  /** Its bytes. They are read twice where they are not embedded. */
  readonly bytes: Uint8Array<ArrayBuffer> | Blob
  /** Media type. Default: that of a `Blob`, else `"application/octet-stream"`. */
  readonly mimetype?: string | undefined
}

const failed = (detail: string, key?: string, cause?: unknown): StoreError =>
  new StoreError({ reason: "Corrupt", detail, operation: "load", key, cause })

const gzip = async (bytes: Blob): Promise<Uint8Array> => {
  const encoder = new CompressionStream("gzip") as ReadableWritablePair<Uint8Array, Uint8Array>
  const packed = new Uint8Array(await new Response(bytes.stream().pipeThrough(encoder)).arrayBuffer())
  // No time, no speed and no system, as JACS has it: its digests are over these bytes.
  packed.set([0, 0, 0, 0, 0, 255], 4)
  return packed
}

const gunzip = async (bytes: Uint8Array): Promise<Uint8Array<ArrayBuffer>> => {
  let rest: Uint8Array | undefined = bytes
  const pull = (): Promise<Uint8Array | undefined> => {
    const all = rest
    rest = undefined
    return Promise.resolve(all)
  }
  const pieces: Array<Uint8Array<ArrayBuffer>> = []
  for await (const piece of decodeGzip(pull, { maxOutput: maxRecordBytes })) pieces.push(new Uint8Array(piece))
  return await new Blob(pieces).bytes()
}

const hashOf = async (blob: Blob): Promise<string> => {
  const hasher = sha256()
  if (hasher === undefined) return await sha256Hex(await blob.bytes())
  for await (const chunk of blob.stream()) hasher.update(chunk)
  return hasher.hex()
}

/** Puts attachments into the form in which a document names them; with `keep`, what is not embedded is stored first. */
export const attach = (
  store: ObjectStoreService,
  attachments: ReadonlyArray<Attachment>,
  options: { readonly embed: boolean; readonly keep: boolean },
): Effect.Effect<ReadonlyArray<DocumentFile>, StoreError> =>
  Effect.forEach(attachments, ({ path, bytes, mimetype }) =>
    Effect.gen(function* () {
      const blob = bytes instanceof Blob ? bytes : new Blob([bytes])
      const type = mimetype ?? (blob.type === "" ? "application/octet-stream" : blob.type)
      // Base64 makes four bytes of three, and the document has to stay a record.
      if (options.embed && blob.size > maxRecordBytes / 2) {
        return yield* Effect.fail(
          new StoreError({
            reason: "TooLarge",
            detail: `${JSON.stringify(path)} has ${blob.size} bytes; the most that is embedded is ${
              maxRecordBytes / 2
            }`,
            hint: "leave it outside the document, with embed: false",
            operation: "create",
          }),
        )
      }
      const read = <A>(work: () => Promise<A>): Effect.Effect<A, StoreError> =>
        Effect.tryPromise({
          try: work,
          catch: (cause) =>
            new StoreError({
              reason: "InvalidInput",
              detail: `the file ${JSON.stringify(path)} cannot be read: ${(cause as Error).message}`,
              operation: "create",
              cause,
            }),
        })
      if (options.embed) {
        const contents = toBase64(yield* read(() => gzip(blob)))
        return { mimetype: type, path, embed: true, contents, sha256: yield* Effect.promise(() => sha256Hex(contents)) }
      }
      const hash = yield* read(() => hashOf(blob))
      if (options.keep) yield* keep(store, hash, blob, type)
      return { mimetype: type, path, embed: false, sha256: hash }
    }))

/** Stores a file under its hash, unless it is there. */
const keep = (store: ObjectStoreService, hash: string, blob: Blob, type: string): Effect.Effect<void, StoreError> =>
  Effect.gen(function* () {
    const key = fileKeyOf(hash)
    const there = yield* Effect.catchIf(
      store.stat(key),
      (error) => error.reason === "NotFound",
      () => Effect.undefined,
    )
    if (there?.size === blob.size) return
    yield* store.save(key, blob, {
      compression: "none",
      contentType: type,
      expectedSize: blob.size,
      // A file that changes between its two readings is refused here.
      expectedSha256: sha256() === undefined ? undefined : hash,
    })
  })

/** The file of a document with this path. */
export const fileOf = (document: Document, path: string): Effect.Effect<DocumentFile, StoreError> => {
  const file = document.jacsFiles?.find((one) => one.path === path)
  return file === undefined
    ? Effect.fail(
      new StoreError({
        reason: "NotFound",
        detail: `the document has no file ${JSON.stringify(path)}`,
        hint: "its jacsFiles say which there are",
        operation: "load",
      }),
    )
    : Effect.succeed(file)
}

/** An embedded file's bytes, checked. */
const embedded = ({ path, contents, sha256: expected }: DocumentFile): Effect.Effect<
  Uint8Array<ArrayBuffer>,
  StoreError
> =>
  Effect.gen(function* () {
    const packed = contents === undefined ? undefined : fromBase64(contents)
    if (contents === undefined || packed === undefined) {
      return yield* Effect.fail(failed(`the embedded file ${JSON.stringify(path)} has no base64 contents`))
    }
    const bytes = yield* Effect.tryPromise({
      try: () => gunzip(packed),
      catch: (cause) =>
        failed(`the embedded file ${JSON.stringify(path)} is no gzip: ${(cause as Error).message}`, undefined, cause),
    })
    if (expected !== undefined && expected !== (yield* Effect.promise(() => sha256Hex(contents)))) {
      return yield* Effect.fail(failed(`the embedded file ${JSON.stringify(path)} is not the one of its sha256`))
    }
    return bytes
  })

/** Reads a document's file: an embedded one from the document, another from `files/`. Errors at the latest at its end. */
export const openFile = (
  store: ObjectStoreService,
  file: DocumentFile,
): Effect.Effect<ReadableStream<Uint8Array>, StoreError> =>
  Effect.gen(function* () {
    if (file.embed) {
      const bytes = yield* embedded(file)
      return new Blob([bytes]).stream()
    }
    const key = yield* keyOfFile(file)
    const hasher = sha256()
    if (hasher === undefined) {
      const { bytes } = yield* recordBytes(store, key, "attachment")
      yield* sameHash(file, yield* Effect.promise(() => sha256Hex(bytes)), key)
      return new Blob([bytes]).stream()
    }
    const loaded = yield* store.load(key)
    return loaded.body.pipeThrough(
      new TransformStream<Uint8Array, Uint8Array>({
        transform: (chunk, controller) => {
          hasher.update(chunk)
          controller.enqueue(chunk)
        },
        flush: (controller) => {
          if (hasher.hex() !== file.sha256) controller.error(otherHash(file, key))
        },
      }),
    )
  })

const keyOfFile = ({ path, sha256: hash }: DocumentFile): Effect.Effect<string, StoreError> =>
  hash !== undefined && /^[0-9a-f]{64}$/.test(hash)
    ? Effect.succeed(fileKeyOf(hash))
    : Effect.fail(failed(`the file ${JSON.stringify(path)} is outside the document, which does not say its sha256`))

const otherHash = ({ path }: DocumentFile, key?: string): StoreError =>
  failed(`the file ${JSON.stringify(path)} is not the one that the document names: its sha256 is another`, key)

const sameHash = (file: DocumentFile, hash: string, key?: string): Effect.Effect<void, StoreError> =>
  hash === file.sha256 ? Effect.void : Effect.fail(otherHash(file, key))

/** Where {@link checkFiles} reads files that are outside the document. */
export type ReadFile = (path: string) => Promise<Uint8Array<ArrayBuffer> | Blob | undefined>

/**
 * Checks every file of a document. One outside is read at its path where `readFile` is given, as JACS does, and it must
 * be there; else under `files/`.
 */
export const checkFiles = (
  store: ObjectStoreService,
  document: Document,
  readFile: ReadFile | undefined,
): Effect.Effect<void, StoreError> =>
  Effect.forEach(document.jacsFiles ?? [], (file) =>
    Effect.gen(function* () {
      if (file.embed || readFile === undefined) {
        const body = yield* openFile(store, file)
        return yield* Effect.tryPromise({
          try: () => body.pipeTo(new WritableStream()),
          catch: (cause) => StoreError.is(cause) ? cause : failed((cause as Error).message, undefined, cause),
        })
      }
      const found = yield* Effect.tryPromise({
        try: () => readFile(file.path),
        catch: (cause) => failed(`the file ${JSON.stringify(file.path)} cannot be read`, undefined, cause),
      })
      if (found === undefined) {
        return yield* Effect.fail(
          new StoreError({
            reason: "NotFound",
            detail: `the file ${JSON.stringify(file.path)}, which the document names, is not there`,
            operation: "verify",
          }),
        )
      }
      const blob = found instanceof Blob ? found : new Blob([found])
      const hash = yield* Effect.promise(() => hashOf(blob))
      if (hash === file.sha256) return
      // JACS names a file outside by the hash of what it would have embedded, which other encoders do not always make.
      const packed = yield* Effect.promise(async () => sha256Hex(toBase64(await gzip(blob))))
      yield* sameHash(file, packed)
    }), { discard: true })
