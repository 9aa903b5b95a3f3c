/**
 * What a store of documents can do, and what it takes for it.
 *
 * @module
 */
import type * as Effect from "effect/Effect"
import type * as Stream from "effect/Stream"
import type { StoreError } from "../error.ts"
import type { Attachment, ReadFile } from "./document-files.ts"
import type { PayloadSchema } from "./payload.ts"
import type { DocumentAddress, DocumentEntry } from "./document-names.ts"
import type { Document } from "./document-schema.ts"
import type { SignatureState, Signer, Verifier } from "./document-signature.ts"

/** Options of a document store. */
export interface DocumentsOptions {
  /** Who signs what is created and updated. Default: nobody; documents then have their digest only. */
  readonly signer?: Signer | undefined
  /**
   * Checks the signature of whatever is read. One that is wrong is `Corrupt`; one by an unknown key is for
   * {@link DocumentCollectionService.verify} to tell. Default: signatures are not looked at.
   */
  readonly verifier?: Verifier | undefined
  /** `false`: signatures of JACS before 0.9 are not valid. They do not cover who signed, nor when. Default `true`. */
  readonly acceptLegacy?: boolean | undefined
  /**
   * Keeps documents in memory, the least recently used leave first: at most `count` (default 100) of `bytes` in all
   * (default 16 MiB). `{}` takes the defaults. Default: none, since a version that another program removes stays in
   * sight as long as it is kept here.
   */
  readonly cache?: { readonly count?: number | undefined; readonly bytes?: number | undefined } | undefined
  /**
   * Nothing else writes here. Only needed where a store cannot create under a condition, as behind WebDAV, and every
   * write is `Unsupported` without it. Default `false`.
   */
  readonly soleWriter?: boolean | undefined
}

/** What an author gives: fields of his own, and those of the header that are his to choose. */
export type DocumentContent = Readonly<Record<string, unknown>>

/** Options of {@link DocumentCollectionService.create} and {@link DocumentCollectionService.update}. */
export interface DocumentWriteOptions {
  /** Files that are to belong to the document. */
  readonly attachments?: ReadonlyArray<Attachment> | undefined
  /** Put them into the document, instead of beside it under `files/`. Default `false`. */
  readonly embed?: boolean | undefined
  /**
   * What the author's own fields must look like, those of the header left out: a schema of Effect, Zod or any other
   * library that follows Standard Schema. Others are `InvalidInput`, and nothing is written. Default: any JSON values.
   */
  readonly fields?: PayloadSchema<object> | undefined
}

/** Options of {@link DocumentCollectionService.create}. */
export interface CreateOptions extends DocumentWriteOptions {
  /** The document's `$schema`, unless it has one. Its short name becomes the `jacsType`. */
  readonly schema?: string | undefined
  /** `false`: make the document and store nothing, not even its files. Default `true`. */
  readonly save?: boolean | undefined
}

/** Which documents {@link DocumentCollectionService.find} finds: those whose newest version is so. */
export interface DocumentFilter {
  /** Its `jacsType`. */
  readonly type?: string | undefined
  /** Its `jacsLevel`. */
  readonly level?: string | undefined
  /** The agent that signed it. */
  readonly agentId?: string | undefined
  /** Whatever else. */
  readonly where?: ((document: Document) => boolean) | undefined
  /** Told of each document that cannot be read, and is left out. */
  readonly onUnreadable?: ((error: StoreError) => void) | undefined
}

/** What became of one of many. */
export interface DocumentResult {
  /** The document; absent where there is an error. */
  readonly document?: Document | undefined
  /** Why there is none. */
  readonly error?: StoreError | undefined
}

/** What {@link DocumentCollectionService.verify} has found. */
export interface DocumentCheck {
  /** What the signature is worth: wrong ones are an error. `"unchecked"`: the store has no verifier. */
  readonly signature: SignatureState | "absent" | "unchecked"
  /** How many files were checked. */
  readonly files: number
}

/** The verbs on documents, or on agents. Failures are always {@link StoreError}s. */
export interface DocumentCollectionService {
  /**
   * Makes a document: header, files, signature, digest. It gets an id and a version of its own; content that brings
   * both is refused with `InvalidInput`, unless neither `jacsSignature` nor `jacsSha256` is with them: then it is a
   * document on its way from another store, which keeps id, version and history and is signed anew.
   */
  readonly create: (content: DocumentContent, options?: CreateOptions) => Effect.Effect<Document, StoreError>
  /** Creates many, some at a time; one result each, in their order. */
  readonly createMany: (
    contents: Iterable<DocumentContent>,
    options?: CreateOptions,
  ) => Effect.Effect<ReadonlyArray<DocumentResult>, StoreError>
  /**
   * Stores a document as it is, once its digest and signature have been checked; a text byte for byte. One that is there
   * already is left as it is; another under the same id and version is `AlreadyExists`.
   */
  readonly add: (document: Document | string) => Effect.Effect<Document, StoreError>
  /** One version: `"id:version"`. Missing: `NotFound`. Not what it says it is: `Corrupt`. */
  readonly get: (address: DocumentAddress) => Effect.Effect<Document, StoreError>
  /** One version as the JSON that is stored: numbers are written as their author wrote them. */
  readonly getText: (address: DocumentAddress) => Effect.Effect<string, StoreError>
  /** Many versions, some at a time; one result each, in their order. */
  readonly getMany: (
    addresses: Iterable<DocumentAddress>,
  ) => Effect.Effect<ReadonlyArray<DocumentResult>, StoreError>
  /** The newest version. */
  readonly getLatest: (id: string) => Effect.Effect<Document, StoreError>
  /** Whether there is such a version; `false` only when the store says so. */
  readonly exists: (address: DocumentAddress) => Effect.Effect<boolean, StoreError>
  /** All versions of a document, oldest first; none: an empty list. No document is read. */
  readonly versions: (id: string) => Effect.Effect<ReadonlyArray<DocumentEntry>, StoreError>
  /**
   * Makes the next version. Given `"id:version"`, only if that is the newest, else `Conflict`; given an id, of whatever
   * is the newest, and once more from the start if another writer was faster: then `content`, if it is a function, is
   * asked again. What it gives are all fields of the author; the header is taken over.
   */
  readonly update: (
    address: DocumentAddress,
    content: DocumentContent | ((current: Document) => DocumentContent),
    options?: DocumentWriteOptions,
  ) => Effect.Effect<Document, StoreError>
  /** Moves a version, or given an id alone all of them, to the archive. What is missing counts as removed. */
  readonly remove: (address: DocumentAddress) => Effect.Effect<void, StoreError>
  /** Brings a version back from the archive. */
  readonly restore: (address: DocumentAddress) => Effect.Effect<Document, StoreError>
  /** All versions of all documents, as the listing has them. No document is read. */
  readonly list: () => Stream.Stream<DocumentEntry, StoreError>
  /** The newest versions that a filter lets pass. Keeps the names of all versions in memory. */
  readonly find: (filter?: DocumentFilter) => Stream.Stream<Document, StoreError>
  /**
   * Checks digest, signature and every file. A file that is not embedded is read where `readFile` finds it, else under
   * `files/`. Fails with what is wrong.
   */
  readonly verify: (
    document: Document | string,
    options?: { readonly readFile?: ReadFile | undefined },
  ) => Effect.Effect<DocumentCheck, StoreError>
  /** Reads a file of a document; its bytes are checked, at the latest at their end. */
  readonly file: (document: Document, path: string) => Effect.Effect<ReadableStream<Uint8Array>, StoreError>
}
