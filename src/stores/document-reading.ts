/**
 * Reading documents: one, or the newest of its versions. Whatever is read has been held against its key, its `jacsSha256`
 * and, with a verifier, its signature.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { LRUCache } from "lru-cache"
import { StoreError } from "../error.ts"
import type { ObjectStoreService } from "../object-store.ts"
import { utf8Length } from "../streams/utf8.ts"
import {
  archiveKeyOf,
  type DocumentEntry,
  type DocumentKind,
  type DocumentRef,
  keyOf,
  lastOfRuns,
  olderKeyOf,
  prefixesOf,
  refOf,
} from "./document-names.ts"
import { type Document, parseDocument } from "./document-schema.ts"
import type { DocumentsOptions } from "./document-service.ts"
import { checkSignature, documentSha256, olderDocumentSha256, type SignatureState } from "./document-signature.ts"
import { corruptRecord, findRecord, readRecord, type RecordFormat } from "./records.ts"

/** A document, and the text that it was read from or is written as. */
export interface Stored {
  readonly document: Document
  readonly text: string
}

/** What one of a kind is called. */
export const nounOf: Readonly<Record<DocumentKind, string>> = { documents: "document", agents: "agent" }

/** Documents that are read or written at a time: enough to hide a round trip of tens of milliseconds. */
export const inFlight = 16

/** How often something starts again because another program was faster. */
export const maxRounds = 100

/** What reads the documents of one kind. */
export interface DocumentReader {
  /** How they are stored. */
  readonly format: RecordFormat<Stored>
  /** Holds a document against its digest and its signature, and says what the latter is worth. */
  readonly check: (stored: Stored, key: string) => Effect.Effect<SignatureState | "absent" | "unchecked", StoreError>
  /** One version. */
  readonly read: (ref: DocumentRef) => Effect.Effect<Stored, StoreError>
  /** Forgets what is kept of a version in memory. */
  readonly forget: (ref: DocumentRef) => void
  /** The versions there are, a page at a time. */
  readonly pages: () => Stream.Stream<ReadonlyArray<DocumentEntry>, StoreError>
  /** The versions there are, or those of one document. */
  readonly entries: (id?: string) => Effect.Effect<ReadonlyArray<DocumentEntry>, StoreError>
  /** The newest of some versions of one document, if any is still there. */
  readonly newest: (versions: ReadonlyArray<DocumentRef>) => Effect.Effect<Stored | undefined, StoreError>
  /** The newest version there is. */
  readonly latest: (operation: string, id: string) => Effect.Effect<Stored, StoreError>
  /** What the archive holds of a version. */
  readonly archived: (ref: DocumentRef) => Effect.Effect<string | undefined, StoreError>
}

/** Reads the documents of one kind. */
export const makeReader = (
  store: ObjectStoreService,
  kind: DocumentKind,
  options: DocumentsOptions,
): DocumentReader => {
  const { verifier } = options
  const noun = nounOf[kind]
  const format: RecordFormat<Stored> = {
    what: noun,
    encode: ({ text }) => text,
    decode: (bytes) => ({ document: parseDocument(bytes), text: new TextDecoder().decode(bytes) }),
  }
  const cache = options.cache === undefined ? undefined : new LRUCache<string, string>({
    max: options.cache.count ?? 100,
    maxSize: options.cache.bytes ?? 16 * 2 ** 20,
    sizeCalculation: utf8Length,
  })

  const failure = (reason: StoreError["reason"], operation: string, detail: string, key: string): StoreError =>
    new StoreError({ reason, operation, detail, key, backend: store.backend })

  /** Holds a document against its digest and signature. */
  const check: DocumentReader["check"] = ({ document, text }, key) =>
    Effect.gen(function* () {
      const corrupt = (detail: string): StoreError =>
        failure("Corrupt", "load", `the ${noun} is not as it was signed or saved: ${detail}`, key)
      if (document.jacsSha256 === undefined) return yield* Effect.fail(corrupt("it has no jacsSha256"))
      const sha256 = yield* Effect.tryPromise({ try: () => documentSha256(document), catch: () => corrupt("no JSON") })
      if (sha256 !== document.jacsSha256) {
        const older = yield* Effect.promise(() => olderDocumentSha256(text))
        if (older !== document.jacsSha256) {
          return yield* Effect.fail(corrupt("its jacsSha256 is not that of its content"))
        }
      }
      if (verifier === undefined) return "unchecked" as const
      const { state, detail } = yield* Effect.tryPromise({
        try: () => checkSignature(document, verifier, options),
        // A verifier may have to ask somebody; that nobody answers says nothing about the document.
        catch: (cause) => StoreError.is(cause) ? cause : corruptRecord(key, noun, cause),
      })
      return state === "invalid" ? yield* Effect.fail(corrupt(detail)) : state
    })

  const readAt = (key: string, ref: DocumentRef): Effect.Effect<Stored, StoreError> =>
    Effect.flatMap(readRecord(store, key, format), ({ value }) => {
      const { jacsId, jacsVersion } = value.document
      if (jacsId !== ref.id || jacsVersion !== ref.version) {
        return Effect.fail(corruptRecord(key, noun, new Error(`it says that it is ${jacsId}:${jacsVersion}`)))
      }
      return Effect.as(check(value, key), value)
    })

  const read = (ref: DocumentRef): Effect.Effect<Stored, StoreError> => {
    const name = `${ref.id}:${ref.version}`
    const kept = cache?.get(name)
    if (kept !== undefined) return Effect.succeed({ document: JSON.parse(kept) as Document, text: kept })
    return Effect.catchIf(
      readAt(keyOf(kind, ref), ref),
      (error) => error.reason === "NotFound",
      (missing) =>
        Effect.mapError(readAt(olderKeyOf(kind, ref), ref), (error) => error.reason === "NotFound" ? missing : error),
    ).pipe(Effect.tap(({ text }) => Effect.sync(() => cache?.set(name, text))))
  }

  /** The versions there are, or those of one document, a page at a time. */
  const pages = (id?: string): Stream.Stream<ReadonlyArray<DocumentEntry>, StoreError> =>
    Stream.flatMap(Stream.fromIterable(prefixesOf(kind, id)), (prefix) => store.pages({ prefix })).pipe(
      Stream.map(({ objects }) =>
        objects.flatMap(({ key, size, modified }) => {
          const ref = refOf(kind, key)
          return ref === undefined || (id !== undefined && ref.id !== id) ? [] : [{ ...ref, key, size, modified }]
        })
      ),
    )

  const entries = (id?: string): Effect.Effect<ReadonlyArray<DocumentEntry>, StoreError> =>
    Effect.map(Stream.runCollect(pages(id)), (all) => all.flat())

  /** The newest of versions whose ids do not tell: by date, then by id. What is gone meanwhile is left out. */
  const newestOf = (
    candidates: ReadonlyArray<DocumentRef>,
    readOne: (ref: DocumentRef) => Effect.Effect<Stored, StoreError>,
  ): Effect.Effect<Stored | undefined, StoreError> =>
    Effect.map(
      Effect.forEach(
        candidates,
        (ref) => Effect.catchIf(readOne(ref), (error) => error.reason === "NotFound", () => Effect.undefined),
        { concurrency: inFlight },
      ),
      (found) =>
        found.filter((one) => one !== undefined).toSorted((a, b) => {
          const dates = [a, b].map(({ document }) => Date.parse(document.jacsVersionDate))
          return dates[1]! - dates[0]! || (a.document.jacsVersion < b.document.jacsVersion ? 1 : -1)
        })[0],
    )

  const archived = (ref: DocumentRef): Effect.Effect<string | undefined, StoreError> =>
    Effect.map(findRecord(store, archiveKeyOf(kind, ref), textFormat), (found) => found?.value)

  const latest = (operation: string, id: string): Effect.Effect<Stored, StoreError> =>
    Effect.gen(function* () {
      // A version that is removed between listing and reading is looked for again.
      for (let round = 0; round < maxRounds; round++) {
        const found = yield* entries(id)
        if (found.length === 0) break
        // Whoever creates a version of an id that the archive holds already takes it back: until then it does not count.
        // Asked after it was read, since its id became free only after the archive held it.
        const taken = new Set<string>()
        const readValid = (ref: DocumentRef): Effect.Effect<Stored, StoreError> =>
          Effect.tap(read(ref), ({ text }) =>
            Effect.map(archived(ref), (removed) => {
              if (removed !== undefined && removed !== text) taken.add(ref.version)
            }))
        for (let left: ReadonlyArray<DocumentEntry> = found; left.length > 0;) {
          const stored = yield* newestOf(lastOfRuns(left), readValid)
          if (stored === undefined) break
          if (!taken.has(stored.document.jacsVersion)) return stored
          left = left.filter(({ version }) => !taken.has(version))
        }
        if (found.every(({ version }) => taken.has(version))) break
      }
      const key = `${kind}/${id}/`
      return yield* Effect.fail(failure("NotFound", operation, `there is no such ${noun}`, key))
    })

  return {
    format,
    check,
    read,
    forget: ({ id, version }) => void cache?.delete(`${id}:${version}`),
    pages: () => pages(),
    entries,
    newest: (versions) => newestOf(lastOfRuns(versions), read),
    latest,
    archived,
  }
}

/** What is stored, whatever it is. */
const textFormat: RecordFormat<string> = {
  what: "document",
  encode: (text) => text,
  decode: (bytes) => new TextDecoder().decode(bytes),
}
