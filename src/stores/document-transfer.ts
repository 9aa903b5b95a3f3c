/**
 * All documents at once: from one store to another, into a tar archive, and out of one.
 *
 * Every object is written only where none is, and compared where one is. So whatever interrupts a transfer, doing it
 * again finishes it, and it never replaces anything.
 *
 * @module
 */
import { createTarDecoder, createTarPacker, type ParsedTarEntry } from "modern-tar"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import type { ObjectEntry } from "../backend.ts"
import { StoreError } from "../error.ts"
import type { ObjectStoreService } from "../object-store.ts"
import { iterate, run } from "../run.ts"
import { sha256 } from "../streams/digest.ts"
import { decodeGzip } from "../streams/gzip.ts"
import { readerOf, sameBytes, streamOf } from "../streams/reader.ts"
import { openSource, type Source } from "../streams/source.ts"
import {
  type DocumentEntry,
  type DocumentKind,
  type DocumentRef,
  fileKeyOf,
  inSuccession,
  refOf,
} from "./document-names.ts"
import { parseDocument } from "./document-schema.ts"
import type { DocumentCollectionService } from "./document-service.ts"
import { canonicalJson } from "./document-signature.ts"
import { corruptRecord, maxRecordBytes } from "./records.ts"

/** How many objects of a kind were written, and how many were there already. */
export interface TransferCount {
  /** Written by this transfer. */
  readonly copied: number
  /** There already, and the same. */
  readonly present: number
}

/** What a transfer has done. */
export interface TransferReport {
  /** Versions of documents. */
  readonly documents: TransferCount
  /** Versions of agents. */
  readonly agents: TransferCount
  /** Files that are not embedded. */
  readonly files: TransferCount
  /** What was removed, and public keys. */
  readonly others: TransferCount
  /** What could not be copied, and why: it is damaged, or another object is in its place. */
  readonly failed: ReadonlyArray<{ readonly key: string; readonly error: StoreError }>
  /** Members of an archive that belong to no store of documents. */
  readonly ignored: number
}

/** Both kinds, on one store. */
export interface Collections {
  readonly store: ObjectStoreService
  readonly documents: DocumentCollectionService
  readonly agents: DocumentCollectionService
}

/** Objects that are copied at a time. */
const inFlight = 8

/** What lies beside documents and agents and moves with them. */
const otherPrefixes = ["archive/", "public_keys/"] as const

/** Counts while a transfer goes on. */
class Tally {
  readonly counts = {
    documents: { copied: 0, present: 0 },
    agents: { copied: 0, present: 0 },
    files: { copied: 0, present: 0 },
    others: { copied: 0, present: 0 },
  }
  readonly failed: Array<{ key: string; error: StoreError }> = []
  ignored = 0

  /** Counts what became of one object. What concerns the store, rather than the object, goes on as a failure. */
  add(
    kind: keyof Tally["counts"],
    key: string,
    outcome: Effect.Effect<"copied" | "present", StoreError>,
  ): Effect.Effect<void, StoreError> {
    return Effect.flatMap(Effect.result(outcome), (result) => {
      if (Result.isSuccess(result)) this.counts[kind][result.success]++
      else if (ofOne(result.failure)) this.failed.push({ key, error: result.failure })
      else return Effect.fail(result.failure)
      return Effect.void
    })
  }

  report(): TransferReport {
    return { ...this.counts, failed: this.failed, ignored: this.ignored }
  }
}

const ofOne = ({ reason }: StoreError): boolean =>
  ["Corrupt", "Truncated", "TooLarge", "InvalidKey", "InvalidInput", "NotFound", "AlreadyExists", "Changed"].includes(
    reason,
  )

/** Stores an object where there is none, or finds that it is there. The source is only opened if it is needed. */
const place = (
  target: ObjectStoreService,
  key: string,
  size: number,
  open: Effect.Effect<{ readonly source: Source; readonly contentType?: string | undefined }, StoreError>,
): Effect.Effect<"copied" | "present", StoreError> =>
  Effect.gen(function* () {
    const there = yield* Effect.catchIf(
      target.stat(key),
      (error) => error.reason === "NotFound",
      () => Effect.undefined,
    )
    const hash = hashOf(key)
    // The name of a file says what is in it.
    if (there?.length === size && hash !== undefined) return "present"
    const other = new StoreError({
      reason: "AlreadyExists",
      detail: "there is another object of that name",
      operation: "copy",
      key,
    })
    if (there !== undefined && there.length !== size) return yield* Effect.fail(other)
    if (there !== undefined) {
      const same = yield* Effect.acquireUseRelease(
        target.load(key),
        (loaded) =>
          Effect.flatMap(open, ({ source }) =>
            Effect.tryPromise({
              try: () => sameBytes(openSource(source), readerOf(loaded.body)),
              catch: (cause) => StoreError.is(cause) ? cause : broken(key)(cause),
            })),
        (loaded) => Effect.promise(() => loaded.cancel()),
      )
      return same ? "present" : yield* Effect.fail(other)
    }
    const { source, contentType } = yield* open
    yield* target.save(key, source, {
      compression: "none",
      expectedSize: size,
      expectedSha256: sha256() === undefined ? undefined : hash,
      contentType: contentType ?? "application/octet-stream",
      // Whoever else writes a file under its hash writes the same bytes.
      ifNoneMatch: hash === undefined ? "*" : undefined,
    })
    return "copied"
  })

/** SHA-256 that the name of a file is, if it is one. */
const hashOf = (key: string): string | undefined => /^files\/([0-9a-f]{64})$/.exec(key)?.[1]

/** Options of a transfer from store to store. */
export interface CopyDocumentsOptions {
  /**
   * Sign every document anew with the target's signer, in place of the signature it has; ids, versions and history stay.
   * Default `false`: documents stay as they are, byte for byte.
   */
  readonly resign?: boolean | undefined
}

/** Copies everything of one store to another: files first, so that no document is there before what it names. */
export const copyAll = (
  from: Collections,
  to: Collections,
  options: CopyDocumentsOptions = {},
): Effect.Effect<TransferReport, StoreError> =>
  Effect.suspend(() => {
    const tally = new Tally()
    const copyObject = (kind: "files" | "others", { key }: ObjectEntry) =>
      tally.add(
        kind,
        key,
        Effect.flatMap(from.store.stat(key), ({ length, size }) =>
          place(
            to.store,
            key,
            length ?? size,
            Effect.map(from.store.load(key), ({ body, info }) => ({ source: body, contentType: info.contentType })),
          )),
      )
    const objects = (kind: "files" | "others", prefix: string) =>
      Stream.runForEach(
        Stream.mapEffect(from.store.list({ prefix }), (entry) => copyObject(kind, entry), { concurrency: inFlight }),
        () => Effect.void,
      )
    const documents = (kind: DocumentKind) =>
      Effect.gen(function* () {
        const groups = Map.groupBy(yield* Stream.runCollect(from[kind].list()), ({ id }) => id)
        const there = new Set((yield* Stream.runCollect(to[kind].list())).map(({ id, version }) => `${id}:${version}`))
        const copyOne = (entry: DocumentEntry) => {
          const name = `${entry.id}:${entry.version}`
          const state = there.has(name) ? "present" as const : "copied" as const
          return tally.add(kind, entry.key, Effect.as(copyDocument(from[kind], to[kind], name, state, options), state))
        }
        // The versions of a document go one after the other: a newer one is never there without what it replaces.
        yield* Effect.forEach(groups.values(), (versions) => Effect.forEach(inSuccession(versions), copyOne), {
          concurrency: inFlight,
          discard: true,
        })
      })
    return Effect.gen(function* () {
      yield* objects("files", fileKeyOf(""))
      for (const prefix of otherPrefixes) yield* objects("others", prefix)
      yield* documents("agents")
      yield* documents("documents")
      return tally.report()
    })
  })

const copyDocument = (
  from: DocumentCollectionService,
  to: DocumentCollectionService,
  name: string,
  state: "copied" | "present",
  { resign }: CopyDocumentsOptions,
): Effect.Effect<unknown, StoreError> =>
  resign !== true ? Effect.flatMap(from.getText(name), to.add) : Effect.gen(function* () {
    const { jacsSignature: _, jacsSha256: __, ...fields } = yield* from.get(name)
    if (state === "copied") return yield* to.create(fields)
    const { jacsSignature: ___, jacsSha256: ____, ...others } = yield* to.get(name)
    if (canonicalJson(fields) === canonicalJson(others)) return
    const detail = "there is another document of this id and version"
    return yield* Effect.fail(new StoreError({ reason: "AlreadyExists", detail, operation: "copy", key: name }))
  })

/** Everything that belongs to a store of documents. */
const prefixes = ["agent/", "agents/", "archive/", "documents/", "files/", "public_keys/"] as const

/** The name that JACS' page gives a backup of a day: `"jacs_backup_20261121.tar.gz"`, by the clock on the wall. */
export const backupName = (day: Date): string => {
  const [month, date] = [day.getMonth() + 1, day.getDate()].map((number) => String(number).padStart(2, "0"))
  return `jacs_backup_${day.getFullYear()}${month}${date}.tar.gz`
}

/** Options of an export. */
export interface ExportOptions {
  /** The folder that everything in the archive is in. Default `"jacs_data"`; `""`: none. */
  readonly folder?: string | undefined
}

/**
 * Everything as a gzipped tar archive, made while it is read. What is removed meanwhile is left out; whatever else fails
 * fails the stream.
 */
export const exportTar = (store: ObjectStoreService, options: ExportOptions = {}): ReadableStream<Uint8Array> => {
  const { readable, controller } = createTarPacker()
  const folder = options.folder ?? "jacs_data"
  const pack = async (): Promise<void> => {
    for (const prefix of prefixes) {
      for await (const { key } of iterate(store.list({ prefix }))) {
        const found = await run(Effect.result(store.load(key)))
        if (Result.isFailure(found)) {
          if (found.failure.reason === "NotFound") continue
          throw found.failure
        }
        const loaded = found.success
        // A member says its length before its bytes.
        const size = loaded.length ?? (await run(store.stat(key))).length ?? loaded.info.size
        const name = folder === "" ? key : `${folder}/${key}`
        await loaded.body.pipeTo(controller.add({ name, size, mode: 0o600, mtime: loaded.info.modified }))
      }
    }
    controller.finalize()
  }
  pack().catch((error) => controller.error(error))
  return readable.pipeThrough(new CompressionStream("gzip") as ReadableWritablePair<Uint8Array, Uint8Array>)
}

/** What a member of an archive is called in the store: without `./`, and without the one folder everything may be in. */
const keyOfMember = (name: string): string | undefined =>
  /^(?:\.\/)?(?:[^/]+\/)??((?:agents?|archive|documents|files|public_keys)\/.*[^/])$/.exec(name)?.[1]

/**
 * Stores what a gzipped tar archive holds, each document once it has been checked. An archive that is damaged or ends
 * early fails with `Corrupt`; what came before is stored, and importing it again does no harm.
 */
export const importTar = (
  to: Collections,
  archive: ReadableStream<Uint8Array>,
): Effect.Effect<TransferReport, StoreError> =>
  Effect.tryPromise({
    try: async (signal) => {
      const tally = new Tally()
      const decoder = createTarDecoder({ strict: true })
      // A failure of what is piped in comes out of the members.
      const piping = ungzipped(archive).pipeTo(decoder.writable, { signal }).catch(() => {})
      for await (const member of decoder.readable) {
        const { name, type } = member.header
        const key = keyOfMember(name)
        if (key === undefined || (type ?? "file") !== "file") {
          if ((type ?? "file") === "file") tally.ignored++
          await member.body.cancel()
          continue
        }
        await run(store(to, tally, key, member))
      }
      await piping
      return tally.report()
    },
    catch: (cause) =>
      StoreError.is(cause) ? cause : new StoreError({
        reason: "Corrupt",
        detail: `the archive cannot be read: ${cause instanceof Error ? cause.message : String(cause)}`,
        hint: "make the archive again; what could be read of it is stored",
        operation: "import",
        cause,
      }),
  })

const ungzipped = (archive: ReadableStream<Uint8Array>): ReadableStream<Uint8Array> => {
  const { read, cancel } = readerOf(archive)
  const pieces = decodeGzip(read)
  return streamOf({ read: async () => (await pieces.next()).value ?? undefined, cancel })
}

const store = (
  to: Collections,
  tally: Tally,
  key: string,
  { header, body }: ParsedTarEntry,
): Effect.Effect<void, StoreError> => {
  const kind = refOf("documents", key) !== undefined ? "documents" : refOf("agents", key) && "agents"
  if (kind === undefined) {
    const placed = place(to.store, key, header.size, Effect.succeed({ source: body }))
    return tally.add(key.startsWith("files/") ? "files" : "others", key, placed).pipe(
      // What is left of a member would keep the next one waiting.
      Effect.andThen(Effect.promise(() => body.locked ? Promise.resolve() : body.cancel())),
    )
  }
  if (header.size > maxRecordBytes) {
    const detail = `this ${kind === "agents" ? "agent" : "document"} has ${header.size} bytes`
    const error = new StoreError({ reason: "TooLarge", detail, operation: "import", key })
    return Effect.andThen(Effect.promise(() => body.cancel()), tally.add(kind, key, Effect.fail(error)))
  }
  return Effect.gen(function* () {
    const text = yield* Effect.tryPromise({ try: () => new Response(body).text(), catch: broken(key) })
    const ref = refOf(kind, key)!
    const there = yield* to[kind].exists(ref)
    const added = Effect.andThen(sameName(text, ref, key), to[kind].add(text))
    yield* tally.add(kind, key, Effect.as(added, there ? "present" as const : "copied" as const))
  })
}

/** Fails unless the document of a text is the one that its name says. */
const sameName = (text: string, ref: DocumentRef, key: string): Effect.Effect<void, StoreError> =>
  Effect.try({
    try: () => {
      const { jacsId, jacsVersion } = parseDocument(new TextEncoder().encode(text))
      if (jacsId !== ref.id || jacsVersion !== ref.version) {
        throw new Error(`it says that it is ${jacsId}:${jacsVersion}`)
      }
    },
    catch: (cause) => corruptRecord(key, "document", cause),
  })

const broken = (key: string) => (cause: unknown): StoreError =>
  StoreError.is(cause) ? cause : new StoreError({
    reason: "Corrupt",
    detail: `the archive ends or is damaged here: ${(cause as Error).message}`,
    operation: "import",
    key,
    cause,
  })
