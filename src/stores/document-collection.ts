/**
 * The verbs on the documents, or the agents, of a store.
 *
 * A version is one object that is created once and never replaced, so each verb that writes is one conditional write,
 * whatever else happens around it: who dies half-way leaves the old state or the new one.
 *
 * @module
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import { StoreError } from "../error.ts"
import type { ObjectStoreService } from "../object-store.ts"
import { moveObject } from "./document-archive.ts"
import { attach, checkFiles, fileOf, openFile } from "./document-files.ts"
import {
  archiveKeyOf,
  checkedId,
  checkedRef,
  type DocumentEntry,
  type DocumentKind,
  type DocumentRef,
  firstVersion,
  inSuccession,
  keyOf,
  nextVersion,
  olderKeyOf,
} from "./document-names.ts"
import { inFlight, makeReader, maxRounds, nounOf, type Stored } from "./document-reading.ts"
import { checkDocument, type Document, parseDocument } from "./document-schema.ts"
import type {
  DocumentCollectionService,
  DocumentContent,
  DocumentResult,
  DocumentsOptions,
  DocumentWriteOptions,
} from "./document-service.ts"
import { canonicalJson, sealed } from "./document-signature.ts"
import { checkPayload } from "./payload.ts"
import { lostRace, writeRecord } from "./records.ts"

const defaultSchema = "https://hai.ai/schemas/header/v1/header.schema.json"

/** Fields of the header that only this store gives their values. */
const managed = [
  "jacsId",
  "jacsVersion",
  "jacsVersionDate",
  "jacsOriginalVersion",
  "jacsOriginalDate",
  "jacsPreviousVersion",
  "jacsSha256",
  "jacsSignature",
] as const

/** The verbs on one kind of document. */
export const makeCollection = (
  store: ObjectStoreService,
  kind: DocumentKind,
  options: DocumentsOptions = {},
): DocumentCollectionService => {
  const { signer } = options
  const noun = nounOf[kind]
  const reader = makeReader(store, kind, options)
  const { format, check, read, entries, latest, archived } = reader
  const failure = (
    reason: StoreError["reason"],
    operation: string,
    detail: string,
    more: { readonly key?: string; readonly hint?: string; readonly cause?: unknown } = {},
  ): StoreError => new StoreError({ reason, operation, detail, backend: store.backend, ...more })

  /** What a check of names has found, as an effect. */
  const checked = <A>(found: A | StoreError): Effect.Effect<A, StoreError> =>
    StoreError.is(found) ? Effect.fail(found) : Effect.succeed(found)

  const now: Effect.Effect<Date> = Effect.map(Clock.currentTimeMillis, (millis) => new Date(millis))

  const get: DocumentCollectionService["get"] = (address) =>
    Effect.map(Effect.flatMap(checked(checkedRef("get", address)), read), ({ document }) => document)

  const getText: DocumentCollectionService["getText"] = (address) =>
    Effect.map(Effect.flatMap(checked(checkedRef("get", address)), read), ({ text }) => text)

  const versions: DocumentCollectionService["versions"] = (id) =>
    Effect.flatMap(
      checked(checkedId("versions", id)),
      (known) =>
        Effect.map(entries(known), (found) =>
          // The same version in both layouts is one version.
          inSuccession([...new Map(found.toReversed().map((one) => [one.version, one])).values()])),
    )

  const getLatest: DocumentCollectionService["getLatest"] = (id) =>
    Effect.flatMap(
      checked(checkedId("getLatest", id)),
      (known) => Effect.map(latest("getLatest", known), ({ document }) => document),
    )

  /** Content as JSON has it: what it cannot hold is refused, and what it leaves out is left out before it is signed. */
  const plain = (
    operation: string,
    content: DocumentContent,
    schema: DocumentWriteOptions["fields"],
  ): Effect.Effect<DocumentContent, StoreError> =>
    Effect.flatMap(asContent(operation, content), (given) => {
      if (schema === undefined) return Effect.succeed(given)
      const isOwn = ([name]: readonly [string, unknown]): boolean => name !== "$schema" && !name.startsWith("jacs")
      const entries = Object.entries(given)
      const own = Object.fromEntries(entries.filter(isOwn))
      const rest = Object.fromEntries(entries.filter((entry) => !isOwn(entry)))
      return Effect.map(
        checkPayload(schema, own, noun, "save", `${kind}/`),
        (fields): DocumentContent => ({ ...rest, ...fields }),
      )
    })

  const asContent = (operation: string, content: DocumentContent): Effect.Effect<DocumentContent, StoreError> =>
    Effect.try({
      try: () => {
        const value: unknown = JSON.parse(JSON.stringify(content) ?? "null")
        if (typeof value !== "object" || value === null || Array.isArray(value)) throw new TypeError("it is no object")
        return value as DocumentContent
      },
      catch: (cause) =>
        failure("InvalidInput", operation, `the content cannot be a document: ${(cause as Error).message}`, { cause }),
    })

  const withFiles = (content: DocumentContent, { attachments, embed }: DocumentWriteOptions, keep: boolean) =>
    Effect.gen(function* () {
      if (attachments === undefined || attachments.length === 0) return content
      const added = yield* attach(store, attachments, { embed: embed ?? false, keep })
      const had = Array.isArray(content["jacsFiles"]) ? content["jacsFiles"] as ReadonlyArray<unknown> : []
      return { ...content, jacsFiles: [...had, ...added] }
    })

  /** The finished document of fields that must make one. */
  const seal = (operation: string, fields: DocumentContent, at: Date): Effect.Effect<Document, StoreError> =>
    Effect.tryPromise({
      try: () => {
        checkDocument(fields)
        return sealed(fields, signer, at)
      },
      catch: (cause) =>
        StoreError.is(cause)
          ? cause
          : failure("InvalidInput", operation, `this is no ${noun}: ${(cause as Error).message}`, { cause }),
    })

  /** Writes a version that must not be there; its ids have been checked. */
  const writeNew = (stored: Stored): Effect.Effect<void, StoreError> => {
    const { jacsId, jacsVersion } = stored.document
    const key = keyOf(kind, { id: jacsId, version: jacsVersion })
    return Effect.asVoid(writeRecord(store, key, format, stored, { ifNoneMatch: "*" }))
  }

  const create: DocumentCollectionService["create"] = (content, o = {}) =>
    Effect.gen(function* () {
      const given = yield* plain("create", content, o.fields)
      const moved = yield* movedFrom(given)
      const at = yield* now
      const date = at.toISOString()
      const schema = given["$schema"] ?? o.schema ?? defaultSchema
      const version = firstVersion()
      const header = moved ?? {
        jacsId: crypto.randomUUID(),
        jacsVersion: version,
        jacsVersionDate: date,
        jacsOriginalVersion: version,
        jacsOriginalDate: date,
      }
      const type = typeOf(schema, kind)
      const save = o.save !== false
      const fields = yield* withFiles({ jacsType: type, jacsLevel: "raw", ...given, $schema: schema }, o, save)
      const document = yield* seal("create", { $schema: schema, ...header, ...fields, ...header }, at)
      if (save) yield* writeNew({ document, text: JSON.stringify(document) })
      return document
    })

  /** The identity that content brings along, if it may. */
  const movedFrom = (given: DocumentContent): Effect.Effect<DocumentContent | undefined, StoreError> => {
    const brings = (name: string): boolean => given[name] !== undefined
    if (!managed.some(brings)) return Effect.undefined
    if (!brings("jacsId") || !brings("jacsVersion") || brings("jacsSignature") || brings("jacsSha256")) {
      return Effect.fail(
        failure("InvalidInput", "create", "New JACs documents should have no id or version", {
          hint:
            "update the document instead; to move it from another store, remove jacsSignature and jacsSha256 from it",
        }),
      )
    }
    const ref = checkedRef("create", { id: given["jacsId"], version: given["jacsVersion"] })
    return Effect.map(
      checked(ref),
      () => Object.fromEntries(managed.filter(brings).map((name) => [name, given[name]])),
    )
  }

  /** A document that somebody else has finished, and its text. */
  const finished = (operation: string, given: Document | string): Effect.Effect<Stored, StoreError> =>
    Effect.try({
      try: () => {
        // What JSON cannot hold is left out or refused here, and not after its digest has been checked.
        const text = typeof given === "string" ? given : JSON.stringify(given)
        return { document: parseDocument(new TextEncoder().encode(text)), text }
      },
      catch: (cause) =>
        failure("InvalidInput", operation, `this is no ${noun}: ${(cause as Error).message}`, { cause }),
    })

  const add: DocumentCollectionService["add"] = (given) =>
    Effect.gen(function* () {
      const stored = yield* finished("add", given)
      const { document, text } = stored
      const ref = yield* checked(checkedRef("add", { id: document.jacsId, version: document.jacsVersion }))
      const key = keyOf(kind, ref)
      yield* check({ document, text }, key)
      const taken = failure("AlreadyExists", "add", "there is another document of this id and version", { key })
      const written = (yield* store.exists(olderKeyOf(kind, ref)))
        ? Result.fail(taken)
        : yield* Effect.result(writeNew(stored))
      if (Result.isSuccess(written)) return document
      if (!lostRace(written.failure)) return yield* Effect.fail(written.failure)
      // Nothing is there: then it was no other writer.
      const there = yield* Effect.catchIf(
        read(ref),
        (error) => error.reason === "NotFound",
        () => Effect.fail(written.failure),
      )
      return canonicalJson(there.document) === canonicalJson(document) ? document : yield* Effect.fail(taken)
    })

  const conflict = (ref: DocumentRef, detail: string): StoreError =>
    failure("Conflict", "update", detail, {
      key: keyOf(kind, ref),
      hint: "get the newest version, redo the change on what it holds now, and update that",
    })

  const update: DocumentCollectionService["update"] = (address, content, o = {}) =>
    Effect.gen(function* () {
      const pinned = typeof address === "string" && !address.includes(":")
        ? undefined
        : yield* checked(checkedRef("update", address))
      const id = pinned?.id ?? (yield* checked(checkedId("update", address)))
      for (let round = 0; round < maxRounds; round++) {
        if (round > 0) yield* Effect.sleep((yield* Random.next) * Math.min(5 * 2 ** round, 250))
        const { document: current } = yield* latest("update", id)
        if (pinned !== undefined && current.jacsVersion !== pinned.version) {
          return yield* Effect.fail(conflict(pinned, `version ${current.jacsVersion} has replaced this one`))
        }
        const given = yield* plain(
          "update",
          typeof content === "function" ? content(current) : content,
          o.fields,
        )
        const fields = yield* withFiles(given, o, true)
        const next = yield* succeed(current, fields)
        if (next !== undefined) return next
        if (pinned !== undefined) return yield* Effect.fail(conflict(pinned, "another writer has just replaced it"))
      }
      const detail = `the ${noun} was changed by others ${maxRounds} times while it was being changed here`
      return yield* Effect.fail(failure("Conflict", "update", detail, { key: `${kind}/${id}/` }))
    })

  /** Writes the version after `current`; `undefined` if another writer has. */
  const succeed = (current: Document, fields: DocumentContent): Effect.Effect<Document | undefined, StoreError> =>
    Effect.gen(function* () {
      if (fields["jacsId"] !== undefined && fields["jacsId"] !== current.jacsId) {
        return yield* Effect.fail(failure("InvalidInput", "update", "the content has the jacsId of another document"))
      }
      const own = Object.fromEntries(
        Object.entries(fields).filter(([name]) => !(managed as ReadonlyArray<string>).includes(name)),
      )
      for (let steps = 1;; steps++) {
        const version = nextVersion(current.jacsVersion, steps)
        if (version === undefined) {
          const detail = `the id ${
            JSON.stringify(current.jacsVersion)
          } is no UUID, or the last one: nothing can follow it`
          return yield* Effect.fail(failure("Unsupported", "update", detail, { hint: "create a new document" }))
        }
        const ref = { id: current.jacsId, version }
        // An id that a removed version has is not given away again.
        if (yield* store.exists(archiveKeyOf(kind, ref))) continue
        const at = yield* now
        // Clocks differ. A version is never older than the one it replaces, by its own date.
        const earliest = Date.parse(current.jacsVersionDate) + 1
        const header = {
          jacsId: current.jacsId,
          jacsVersion: version,
          jacsVersionDate: new Date(Math.max(at.getTime(), earliest || 0)).toISOString(),
          jacsOriginalVersion: current.jacsOriginalVersion,
          jacsOriginalDate: current.jacsOriginalDate,
          jacsPreviousVersion: current.jacsVersion,
        }
        const { $schema, jacsType, jacsLevel } = current
        const document = yield* seal("update", { $schema, ...header, jacsType, jacsLevel, ...own }, at)
        const text = JSON.stringify(document)
        const written = yield* Effect.result(writeNew({ document, text }))
        if (Result.isFailure(written)) {
          return lostRace(written.failure) ? undefined : yield* Effect.fail(written.failure)
        }
        // Another writer may have made and removed a version of this id since it was looked for. If it is this one that
        // is in the archive, it has been removed already.
        const removed = yield* Effect.mapError(archived(ref), (cause) => unsettled(ref, cause))
        if (removed === undefined || removed === text) return document
        yield* Effect.mapError(store.remove(keyOf(kind, ref)), (cause) => unsettled(ref, cause))
      }
    })

  /** The new version is there, and a last question about it failed. */
  const unsettled = (ref: DocumentRef, cause: StoreError): StoreError =>
    failure("CommitUnknown", "update", `version ${ref.version} is written, but could not be settled: ${cause.detail}`, {
      key: keyOf(kind, ref),
      hint: "get the newest version before you update it again",
      cause,
    })

  const removeOne = (ref: DocumentRef): Effect.Effect<void, StoreError> =>
    Effect.gen(function* () {
      reader.forget(ref)
      for (const key of [keyOf(kind, ref), olderKeyOf(kind, ref)]) {
        yield* moveObject(store, "remove", key, archiveKeyOf(kind, ref))
      }
    })

  return {
    create,
    createMany: (contents, o) =>
      Effect.forEach(contents, (content) => Effect.map(Effect.result(create(content, o)), asResult), {
        concurrency: inFlight,
      }),
    add,
    get,
    getText,
    getMany: (addresses) =>
      Effect.forEach(addresses, (address) => Effect.map(Effect.result(get(address)), asResult), {
        concurrency: inFlight,
      }),
    getLatest,
    exists: (address) =>
      Effect.flatMap(
        checked(checkedRef("exists", address)),
        (ref) =>
          Effect.flatMap(store.exists(keyOf(kind, ref)), (found) =>
            found ? Effect.succeed(true) : store.exists(olderKeyOf(kind, ref))),
      ),
    versions,
    update,
    remove: (address) => {
      if (typeof address === "string" && !address.includes(":")) {
        // The newest goes last, so that what is left of an interrupted removal is still the document as it was.
        return Effect.flatMap(versions(address), (all) => Effect.forEach(all, removeOne, { discard: true }))
      }
      return Effect.flatMap(checked(checkedRef("remove", address)), removeOne)
    },
    restore: (address) =>
      Effect.gen(function* () {
        const ref = yield* checked(checkedRef("restore", address))
        const moved = yield* moveObject(store, "restore", archiveKeyOf(kind, ref), keyOf(kind, ref))
        const found = yield* Effect.result(read(ref))
        if (Result.isSuccess(found)) return found.success.document
        const detail = `the archive holds no such ${noun}`
        return yield* Effect.fail(
          moved ? found.failure : failure("NotFound", "restore", detail, { key: archiveKeyOf(kind, ref) }),
        )
      }),
    list: () => Stream.flatMap(reader.pages(), Stream.fromIterable),
    find: (filter = {}) => {
      const matches = (document: Document): boolean =>
        (filter.type === undefined || document.jacsType === filter.type) &&
        (filter.level === undefined || document.jacsLevel === filter.level) &&
        (filter.agentId === undefined || document.jacsSignature?.agentID === filter.agentId) &&
        (filter.where === undefined || filter.where(document))
      const newestOf = (all: ReadonlyArray<DocumentEntry>): Effect.Effect<Document | undefined, StoreError> =>
        Effect.catchIf(Effect.map(reader.newest(all), (found) => found?.document), ofOne, (error) => {
          filter.onUnreadable?.(error)
          return Effect.undefined
        })
      return Stream.unwrap(
        Effect.map(
          entries(),
          (all) => Stream.fromIterable(Map.groupBy(all, ({ id }) => id).values()),
        ),
      ).pipe(
        Stream.mapEffect(newestOf, { concurrency: inFlight }),
        Stream.filter((document) => document !== undefined),
        Stream.filter(matches),
      )
    },
    verify: (given, o = {}) =>
      Effect.gen(function* () {
        const { document, text } = yield* finished("verify", given)
        const key = keyOf(kind, { id: document.jacsId, version: document.jacsVersion })
        const signature = yield* check({ document, text }, key)
        yield* checkFiles(store, document, o.readFile)
        return { signature, files: document.jacsFiles?.length ?? 0 }
      }),
    file: (document, path) => Effect.flatMap(fileOf(document, path), (file) => openFile(store, file)),
  }
}

const asResult = (result: Result.Result<Document, StoreError>): DocumentResult =>
  Result.isSuccess(result) ? { document: result.success } : { error: result.failure }

/** Whether an error is about one document, rather than about the store. */
const ofOne = ({ reason }: StoreError): boolean =>
  reason === "Corrupt" || reason === "Truncated" || reason === "TooLarge"

/** The short name of a schema: `"message"` of `…/message/v1/message.schema.json`. */
const typeOf = (schema: unknown, kind: DocumentKind): string => {
  const [, name] = /([^/]+)\.schema\.json$/.exec(String(schema)) ?? []
  return name === undefined || name === "header" ? nounOf[kind] : name
}
