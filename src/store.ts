/**
 * The Promise face: the verbs of `ObjectStore` with promises, `AbortSignal` and async iterables, and no Effect type in
 * sight. It knows no backend, so that a Worker bundles none but its own.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import type {
  Backend,
  Capabilities,
  ListPage,
  ObjectEntry,
  ObjectInfo,
  Presigned,
  RemoveResult,
  Upload,
  UploadEntry,
  VersionEntry,
} from "./backend.ts"
import type { StoreError } from "./error.ts"
import type { Loaded } from "./load.ts"
import { makeObjectStore, type ObjectStoreService } from "./object-store.ts"
import type {
  CallOptions,
  CopyOptions,
  ListOptions,
  LoadOptions,
  PresignOptions,
  RemoveOptions,
  SaveOptions,
  StatOptions,
  StoreOptions,
  Verified,
  VerifyOptions,
} from "./options.ts"
import { iterate, run } from "./run.ts"
import type { SaveSink } from "./sink.ts"
import type { Source } from "./streams/source.ts"

/** A listing: objects as an async iterable, or page by page. */
export interface Listing extends AsyncIterable<ObjectEntry> {
  /** The pages, with the folded prefixes of a `delimiter`. */
  readonly pages: () => AsyncIterable<ListPage>
}

/**
 * A store with promises. Failures are {@link StoreError}s; a call whose `signal` is aborted rejects with one whose
 * `reason` is `"Aborted"` and whose `cause` is the signal's reason.
 */
export class Store implements AsyncDisposable {
  readonly #service: ObjectStoreService
  readonly #scope: Scope.Closeable

  /** Use {@link open} or {@link openBackend}. */
  constructor(service: ObjectStoreService, scope: Scope.Closeable) {
    this.#service = service
    this.#scope = scope
  }

  /** The backend's name. */
  get backend(): string {
    return this.#service.backend
  }

  /** Facts about the backend. */
  get capabilities(): Capabilities {
    return this.#service.capabilities
  }

  /** The same store for Effect code. */
  get service(): ObjectStoreService {
    return this.#service
  }

  /** Saves what the source delivers, whole or not at all. */
  save(key: string, source: Source, options?: SaveOptions): Promise<ObjectInfo> {
    return run(this.#service.save(key, source, options))
  }

  /** A save to pipe into: `await stream.pipeTo((await store.sink("key")).writable)`. */
  sink(key: string, options?: SaveOptions): Promise<SaveSink> {
    return run(this.#service.sink(key, options))
  }

  /** Begins a load: facts now, bytes as they are read. */
  load(key: string, options?: LoadOptions): Promise<Loaded> {
    return run(this.#service.load(key, options))
  }

  /** Facts of an object. */
  stat(key: string, options?: StatOptions): Promise<ObjectInfo> {
    return run(this.#service.stat(key, options))
  }

  /** Reads every stored byte and holds it against what the store knows; rejects with what is wrong. */
  verify(key: string, options?: VerifyOptions): Promise<Verified> {
    return run(this.#service.verify(key, options))
  }

  /** Whether there is such an object; rejects when the store cannot say. */
  exists(key: string, options?: CallOptions): Promise<boolean> {
    return run(this.#service.exists(key, options))
  }

  /** All objects, or those with a prefix, in the order of their keys' UTF-8 bytes. */
  list(options?: ListOptions): Listing {
    return {
      [Symbol.asyncIterator]: () => iterate(this.#service.list(options)),
      pages: () => ({ [Symbol.asyncIterator]: () => iterate(this.#service.pages(options)) }),
    }
  }

  /** Removes an object; one that is missing counts as removed. */
  remove(key: string, options?: RemoveOptions): Promise<void> {
    return run(this.#service.remove(key, options))
  }

  /** Removes many objects; one result a key, in their order. */
  removeMany(keys: Iterable<string>, options?: CallOptions): Promise<ReadonlyArray<RemoveResult>> {
    return run(this.#service.removeMany(keys, options))
  }

  /** Duplicates an object with its metadata. */
  copy(from: string, to: string, options?: CopyOptions): Promise<ObjectInfo> {
    return run(this.#service.copy(from, to, options))
  }

  /** Renames an object. */
  move(from: string, to: string, options?: CopyOptions): Promise<ObjectInfo> {
    return run(this.#service.move(from, to, options))
  }

  /** All versions of the objects with a prefix, the newest of each first. */
  versions(options?: Omit<ListOptions, "delimiter">): AsyncIterable<VersionEntry> {
    return { [Symbol.asyncIterator]: () => iterate(this.#service.versions(options)) }
  }

  /** Makes an old version the current one again. */
  restore(key: string, versionId: string, options?: Omit<CopyOptions, "sourceVersionId">): Promise<ObjectInfo> {
    return run(this.#service.restore(key, versionId, options))
  }

  /** Uploads that were begun and neither completed nor aborted. */
  uploads(options?: Omit<ListOptions, "delimiter">): AsyncIterable<UploadEntry> {
    return { [Symbol.asyncIterator]: () => iterate(this.#service.uploads(options)) }
  }

  /** Frees what such an upload holds. */
  abortUpload(upload: Upload, options?: CallOptions): Promise<void> {
    return run(this.#service.abortUpload(upload, options))
  }

  /** A request that others can make without credentials until it expires. Treat it like a password. */
  presign(method: "GET" | "PUT" | "HEAD" | "DELETE", key: string, options?: PresignOptions): Promise<Presigned> {
    return run(this.#service.presign(method, key, options))
  }

  /** Frees what the store holds open. Calls in flight should have ended. */
  close(): Promise<void> {
    return run(Scope.close(this.#scope, Exit.void))
  }

  /** Same as {@link Store.close}. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }
}

/** Opens a store over a backend of your own, or one that takes options a URL cannot hold. */
export const openBackend = async (
  backend: Effect.Effect<Backend, StoreError, Scope.Scope>,
  options?: StoreOptions,
): Promise<Store> => {
  const scope = Scope.makeUnsafe()
  try {
    const made = await run(Effect.provideService(backend, Scope.Scope, scope))
    return new Store(await run(makeObjectStore(made, options)), scope)
  } catch (error) {
    await run(Scope.close(scope, Exit.void))
    throw error
  }
}
