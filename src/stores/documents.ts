/**
 * A store of signed documents on any object store: immutable versions under `documents/{id}/{version}.json`, the agents
 * that sign them under `agents/`, and attached files under `files/{sha256}`. The layout and the documents are those of
 * JACS; what JACS itself has written is read as well.
 *
 * @module
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { StoreError } from "../error.ts"
import { ObjectStore, type ObjectStoreService } from "../object-store.ts"
import { iterate, run } from "../run.ts"
import type { Store } from "../store.ts"
import { makeCollection } from "./document-collection.ts"
import type { DocumentAddress, DocumentEntry } from "./document-names.ts"
import type { Document } from "./document-schema.ts"
import type { ReadFile } from "./document-files.ts"
import type {
  CreateOptions,
  DocumentCheck,
  DocumentCollectionService,
  DocumentContent,
  DocumentFilter,
  DocumentResult,
  DocumentsOptions,
  DocumentWriteOptions,
} from "./document-service.ts"
import {
  copyAll,
  type CopyDocumentsOptions,
  type ExportOptions,
  exportTar,
  importTar,
  type TransferReport,
} from "./document-transfer.ts"
import { asSoleWriter } from "./sole-writer.ts"

export {
  type Ed25519Keys,
  generateEd25519Keys,
  makeEd25519Signer,
  makeEd25519Verifier,
  publicKeyHash,
  type PublicKeys,
} from "./document-ed25519.ts"
export type { Attachment, ReadFile } from "./document-files.ts"
export type { DocumentAddress, DocumentEntry, DocumentRef } from "./document-names.ts"
export type { Document, DocumentFile, DocumentLevel, DocumentSignature } from "./document-schema.ts"
export type * from "./document-service.ts"
export type { SignatureState, Signer, Verifier } from "./document-signature.ts"
export { backupName } from "./document-transfer.ts"
export type { CopyDocumentsOptions, ExportOptions, TransferCount, TransferReport } from "./document-transfer.ts"

/** Documents, agents, and what concerns all of them. Failures are always {@link StoreError}s. */
export interface DocumentsService extends DocumentCollectionService {
  /** The same verbs on the agents. */
  readonly agents: DocumentCollectionService
  /** The store underneath. */
  readonly store: ObjectStoreService
  /**
   * Copies everything of another store here. Nothing there is changed; what is here already is compared and left, so an
   * interrupted copy is finished by doing it again.
   */
  readonly copyFrom: (
    source: DocumentsService,
    options?: CopyDocumentsOptions,
  ) => Effect.Effect<TransferReport, StoreError>
  /** Everything as a `.tar.gz`, made while it is read. */
  readonly exportTar: (options?: ExportOptions) => ReadableStream<Uint8Array>
  /** Stores what a `.tar.gz` holds: of {@link DocumentsService.exportTar}, or of `tar` over a folder. */
  readonly importTar: (archive: ReadableStream<Uint8Array>) => Effect.Effect<TransferReport, StoreError>
}

/** The verbs on documents over an object store. */
export const makeDocuments = (shared: ObjectStoreService, options: DocumentsOptions = {}): DocumentsService => {
  const store = options.soleWriter === true ? asSoleWriter(shared) : shared
  const documents = makeCollection(store, "documents", options)
  const agents = makeCollection(store, "agents", options)
  const all = { store, documents, agents }
  return {
    ...documents,
    agents,
    store,
    copyFrom: (source, o) => copyAll({ store: source.store, documents: source, agents: source.agents }, all, o),
    exportTar: (o) => exportTar(store, o),
    importTar: (archive) => importTar(all, archive),
  }
}

const DocumentsBase: Context.ServiceClass<Documents, "@holdfast/holdfast/Documents", DocumentsService> = Context
  .Service<Documents, DocumentsService>()("@holdfast/holdfast/Documents")

/**
 * The service that programs ask for.
 *
 * @example Documents in Effect
 * ```ts
 * import { Documents } from "@holdfast/holdfast/documents"
 * import * as Memory from "@holdfast/holdfast/memory"
 * import * as Effect from "effect/Effect"
 *
 * const program = Effect.gen(function* () {
 *   const documents = yield* Documents
 *   const { jacsId } = yield* documents.create({ total: 12 })
 *   return yield* documents.update(jacsId, ({ total }) => ({ total: Number(total) + 1 }))
 * })
 * const made = await Effect.runPromise(
 *   program.pipe(Effect.provide(Documents.layer()), Effect.provide(Memory.layer())),
 * )
 * console.assert(made["total"] === 13)
 * ```
 */
export class Documents extends DocumentsBase {
  /** A store of documents over the {@link ObjectStore} there is. */
  static layer(options?: DocumentsOptions): Layer.Layer<Documents, never, ObjectStore> {
    return Layer.effect(Documents, Effect.map(ObjectStore, (store) => makeDocuments(store, options)))
  }
}

/** Documents, or agents, with promises; each verb is that of {@link DocumentCollectionService}. */
export class DocumentCollection {
  readonly #service: DocumentCollectionService

  /** Made by {@link DocumentStore}. */
  constructor(service: DocumentCollectionService) {
    this.#service = service
  }

  /** Makes a document with an id and a version of its own. */
  create(content: DocumentContent, options?: CreateOptions): Promise<Document> {
    return run(this.#service.create(content, options))
  }

  /** Creates many; one result each, in their order. */
  createMany(contents: Iterable<DocumentContent>, options?: CreateOptions): Promise<ReadonlyArray<DocumentResult>> {
    return run(this.#service.createMany(contents, options))
  }

  /** Stores a finished document as it is; one that is there already is left. */
  add(document: Document | string): Promise<Document> {
    return run(this.#service.add(document))
  }

  /** One version: `get("id:version")`. */
  get(address: DocumentAddress): Promise<Document>
  /** One version: `get(id, version)`. */
  get(id: string, version: string): Promise<Document>
  get(address: DocumentAddress, version?: string): Promise<Document> {
    return run(this.#service.get(version === undefined ? address : { id: address as string, version }))
  }

  /** One version as the JSON that is stored. */
  getText(address: DocumentAddress): Promise<string> {
    return run(this.#service.getText(address))
  }

  /** Many versions; one result each, in their order. */
  getMany(addresses: Iterable<DocumentAddress>): Promise<ReadonlyArray<DocumentResult>> {
    return run(this.#service.getMany(addresses))
  }

  /** The newest version. */
  getLatest(id: string): Promise<Document> {
    return run(this.#service.getLatest(id))
  }

  /** Whether there is such a version. */
  exists(address: DocumentAddress): Promise<boolean> {
    return run(this.#service.exists(address))
  }

  /** All versions of a document, oldest first. */
  versions(id: string): Promise<ReadonlyArray<DocumentEntry>> {
    return run(this.#service.versions(id))
  }

  /** Makes the next version: of `"id:version"` only if that is the newest, of an id whatever is. */
  update(
    address: DocumentAddress,
    content: DocumentContent | ((current: Document) => DocumentContent),
    options?: DocumentWriteOptions,
  ): Promise<Document> {
    return run(this.#service.update(address, content, options))
  }

  /** Moves a version, or all of an id, to the archive. */
  remove(address: DocumentAddress): Promise<void> {
    return run(this.#service.remove(address))
  }

  /** Brings a version back from the archive. */
  restore(address: DocumentAddress): Promise<Document> {
    return run(this.#service.restore(address))
  }

  /** All versions of all documents. */
  list(): AsyncIterable<DocumentEntry> {
    return { [Symbol.asyncIterator]: () => iterate(this.#service.list()) }
  }

  /** The newest versions that a filter lets pass. */
  find(filter?: DocumentFilter): AsyncIterable<Document> {
    return { [Symbol.asyncIterator]: () => iterate(this.#service.find(filter)) }
  }

  /** Checks digest, signature and every file; rejects with what is wrong. */
  verify(
    document: Document | string,
    options?: { readonly readFile?: ReadFile | undefined },
  ): Promise<DocumentCheck> {
    return run(this.#service.verify(document, options))
  }

  /** Reads a file of a document. */
  file(document: Document, path: string): Promise<ReadableStream<Uint8Array>> {
    return run(this.#service.file(document, path))
  }
}

/**
 * A store of documents with promises. Failures are {@link StoreError}s.
 *
 * @example Versions of a document
 * ```ts
 * import { open } from "@holdfast/holdfast"
 * import { DocumentStore } from "@holdfast/holdfast/documents"
 *
 * await using store = await open("mem:")
 * const documents = new DocumentStore(store)
 * const first = await documents.create({ title: "Monthly report", total: 12 })
 * const second = await documents.update(first.jacsId, (current) => ({ ...current, total: 13 }))
 * console.assert(second.jacsPreviousVersion === first.jacsVersion)
 * console.assert((await documents.get(first.jacsId, first.jacsVersion)).total === 12)
 * console.assert((await documents.versions(first.jacsId)).length === 2)
 * ```
 */
export class DocumentStore extends DocumentCollection {
  /** The same verbs on the agents. */
  readonly agents: DocumentCollection
  readonly #service: DocumentsService

  /** Opens the documents of a store. */
  constructor(store: Store, options?: DocumentsOptions) {
    const service = makeDocuments(store.service, options)
    super(service)
    this.#service = service
    this.agents = new DocumentCollection(service.agents)
  }

  /** The same store for Effect code. */
  get service(): DocumentsService {
    return this.#service
  }

  /** Copies everything of another store here; doing it again finishes what was interrupted. */
  copyFrom(source: DocumentStore, options?: CopyDocumentsOptions): Promise<TransferReport> {
    return run(this.#service.copyFrom(source.service, options))
  }

  /** Everything as a `.tar.gz`, made while it is read. */
  exportTar(options?: ExportOptions): ReadableStream<Uint8Array> {
    return this.#service.exportTar(options)
  }

  /** Stores what a `.tar.gz` holds. */
  importTar(archive: ReadableStream<Uint8Array>): Promise<TransferReport> {
    return run(this.#service.importTar(archive))
  }
}
