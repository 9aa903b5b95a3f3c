/**
 * What the tests of documents share.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import type { Backend } from "../backend.ts"
import * as Memory from "../backends/memory.ts"
import { StoreError } from "../error.ts"
import { openBackend, type Store } from "../store.ts"
import {
  type Attachment,
  type Document,
  type DocumentEntry,
  type DocumentsOptions,
  type DocumentStore,
  generateEd25519Keys,
  makeEd25519Signer,
  makeEd25519Verifier,
} from "./documents.ts"
import type { Place } from "./testing.ts"

/** How a call fails: its reason; rejects when it does not. */
export const reasonOf = async (call: Promise<unknown>): Promise<string> => {
  const error = await call.then(() => undefined, (error: unknown) => error)
  if (!StoreError.is(error)) throw new Error(`expected a StoreError, got ${String(error)}`)
  return error.reason
}

/** All keys of a store, in order. */
export const keysOf = async (store: Store): Promise<ReadonlyArray<string>> =>
  (await Array.fromAsync(store.list())).map(({ key }) => key)

/** What a stream holds. */
export const bytesOf = async (stream: ReadableStream<Uint8Array>): Promise<Uint8Array> =>
  new Uint8Array(await new Response(stream).arrayBuffer())

/** A stream of bytes. */
export const streamOf = (bytes: Uint8Array<ArrayBuffer>): ReadableStream<Uint8Array> => new Blob([bytes]).stream()

/** An agent that signs, and what checks its signatures. */
export const makeParties = async (): Promise<Required<Pick<DocumentsOptions, "signer" | "verifier">>> => {
  const keys = await generateEd25519Keys()
  const agent = { agentId: crypto.randomUUID(), agentVersion: crypto.randomUUID() }
  return { signer: await makeEd25519Signer({ ...keys, ...agent }), verifier: makeEd25519Verifier([keys.publicKey]) }
}

/** SHA-256, by WebCrypto alone. */
export const hashOf = async (bytes: Uint8Array<ArrayBuffer>): Promise<string> =>
  Array.from(new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)), (byte) => byte.toString(16).padStart(2, "0"))
    .join("")

/** A memory that many stores may be opened on. */
export const makeMemory = (): Promise<Backend> => Effect.runPromise(Memory.make())

/** A store on a backend. */
export const openOn = (backend: Backend): Promise<Store> => openBackend(Effect.succeed(backend))

/** A process that dies before its call number `allowed + 1` that changes something: from then on nothing gets through. */
export const dying = (inner: Backend, allowed: number): Backend => {
  let left = allowed
  const guard = <A>(changes: boolean, run: () => Effect.Effect<A, StoreError>): Effect.Effect<A, StoreError> =>
    Effect.suspend(() => {
      if (changes && left >= 0) left--
      return left < 0 ? Effect.fail(new StoreError({ reason: "Aborted", detail: "the process has died" })) : run()
    })
  return {
    ...inner,
    stat: (...args) => guard(false, () => inner.stat(...args)),
    get: (...args) => guard(false, () => inner.get(...args)),
    list: (...args) => guard(false, () => inner.list(...args)),
    put: (...args) => guard(true, () => inner.put(...args)),
    remove: (...args) => guard(true, () => inner.remove(...args)),
    removeMany: (...args) => guard(true, () => inner.removeMany(...args)),
    createUpload: (...args) => guard(true, () => inner.createUpload(...args)),
    completeUpload: (...args) => guard(true, () => inner.completeUpload(...args)),
  }
}

/** Checks every document and every agent there is. */
export const allVerify = async (documents: DocumentStore): Promise<void> => {
  for (const kind of [documents, documents.agents]) {
    for await (const entry of kind.list()) await kind.verify(await kind.get(entry))
  }
}

/** Two small files. */
export const attachments: ReadonlyArray<Attachment> = [
  { path: "a", bytes: new TextEncoder().encode("a") },
  { path: "b", bytes: new TextEncoder().encode("b") },
]

/** The header of a document of JACS. */
export const header = {
  $schema: "https://hai.ai/schemas/header/v1/header.schema.json",
  jacsId: "11111111-1111-4111-8111-111111111111",
  jacsLevel: "raw",
  jacsOriginalDate: "2025-01-01T00:00:00Z",
  jacsOriginalVersion: "22222222-2222-4222-8222-222222222222",
  jacsType: "document",
  jacsVersion: "22222222-2222-4222-8222-222222222222",
  jacsVersionDate: "2025-01-01T00:00:00Z",
}

/** The UTF-8 of a text. */
export const text = (content: string): Uint8Array<ArrayBuffer> => new TextEncoder().encode(content)

/** `id:version` of a listed version. */
export const shown = ({ id, version }: DocumentEntry): string => `${id}:${version}`

/** `id:version` of a document. */
export const address = ({ jacsId, jacsVersion }: Document): string => `${jacsId}:${jacsVersion}`

/** Fewer where each costs a request or two flushes. */
export const scaled = (place: Place, many: number, few: number): number => place.name === "memory" ? many : few
