/**
 * Saving snapshots, each with one save, so that it is there whole or not at all.
 *
 * The hash stands in front of the state, so it must be known before the first byte is written. A state in memory is
 * hashed there. A source that can be read twice is read twice. One that cannot is first put into a temporary object
 * beside the snapshot, `{path}.holdfast-spool-{uuid}`, which is removed at the end, whatever the end is; only a process
 * that dies leaves it.
 *
 * @module
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import { aborted } from "../body.ts"
import { StoreError } from "../error.ts"
import { flawError, keyFlaw as pathFlaw } from "../key.ts"
import type { ObjectStoreService } from "../object-store.ts"
import { type ByteReader, openSource, type Source } from "../streams/source.ts"
import { checkPayload } from "./payload.ts"
import { containerBytes, containerJson, normalised } from "./snapshot-container.ts"
import { keyFlaw } from "./snapshot-encryption.ts"
import { hashOf, SnapshotHash } from "./snapshot-hash.ts"
import { JsonFlaw, normalJson } from "./snapshot-json.ts"
import { infoOf } from "./snapshot-reading.ts"
import { type Redact, redacted } from "./snapshot-redact.ts"
import { snapshotFormatVersion, type SnapshotMetadata } from "./snapshot-schema.ts"
import type {
  SaveStreamOptions,
  SnapshotInfo,
  SnapshotsOptions,
  SnapshotsService,
  StateSource,
} from "./snapshot-service.ts"

const spoolMark = ".holdfast-spool-"

/** Whether a key is that of a temporary object. */
export const isSpool = (path: string): boolean => /\.holdfast-spool-[0-9a-f-]{36}$/.test(path)

const invalid = (path: string, detail: string, cause?: unknown): StoreError =>
  new StoreError({ reason: "InvalidInput", detail, operation: "save", key: path, cause })

/** Why options cannot be followed, or `undefined`. */
const flawOf = (o: SaveStreamOptions): string | undefined => {
  const texts = [["agent_id", o.agentId], ["session_id", o.sessionId], ["description", o.description]] as const
  for (const [name, value] of texts) {
    if (value === "" && name !== "description") return `${name} cannot be empty`
    if (value !== undefined && !value.isWellFormed()) return `${name} is not well-formed Unicode`
  }
  const { snapshotIndex: index, compression } = o
  if (index !== undefined && !(Number.isSafeInteger(index) && index >= 0)) {
    return `snapshot_index is ${index}; give a whole number from 0`
  }
  if (compression !== undefined && !["gzip", "none", "store"].includes(compression)) {
    return `compression is ${JSON.stringify(compression)}; give "gzip", "none" or "store"`
  }
  if (o.encryptionKey === undefined) return undefined
  return compression === "store"
    ? 'what is encrypted cannot be compressed afterwards; give compression: "gzip"'
    : keyFlaw(o.encryptionKey)
}

/** The verbs that save. */
export type Savers = Pick<SnapshotsService, "snapshot" | "saveStream">

/** Makes the verbs that save. Options that cannot be followed are the `InvalidInput` of each call. */
export const makeSavers = (store: ObjectStoreService, preset: SnapshotsOptions): Savers => {
  /** Writes a file whose hash is known. */
  const saveContainer = (
    path: string,
    o: SaveStreamOptions,
    facts: { readonly hash: string; readonly length: number },
    state: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  ): Effect.Effect<SnapshotInfo, StoreError> =>
    Effect.gen(function* () {
      const compression = o.compression ?? preset.compression ?? "gzip"
      const key = o.encryptionKey ?? preset.encryptionKey
      const metadata: SnapshotMetadata = {
        agent_id: o.agentId ?? "default_agent",
        session_id: o.sessionId ?? "default_session",
        snapshot_index: o.snapshotIndex ?? 0,
        timestamp: new Date(yield* Clock.currentTimeMillis).toISOString(),
        content_hash: facts.hash,
        format_version: snapshotFormatVersion,
        snapshot_id: crypto.randomUUID(),
        description: o.description ?? null,
        uncompressed_size: facts.length,
        compressed_size: null,
        compression_algorithm: compression === "gzip" ? "gzip" : "none",
      }
      const bytes = containerBytes(containerJson(metadata, state), compression === "gzip" ? "gzip" : "none", key)
      const info = yield* store.save(path, bytes, {
        signal: o.signal,
        retry: o.retry,
        ifMatch: o.ifMatch,
        ifNoneMatch: o.ifNoneMatch,
        compression: compression === "store" ? undefined : "none",
        contentType: key !== undefined
          ? "application/octet-stream"
          : compression === "gzip"
          ? "application/gzip"
          : "application/json",
      })
      return infoOf(path, info, metadata)
    })

  const checked = <A>(path: string, o: SaveStreamOptions, save: Effect.Effect<A, StoreError>) =>
    Effect.suspend(() => {
      const { compression, encryptionKey } = preset
      const given = { ...o, compression: o.compression ?? compression, encryptionKey: o.encryptionKey ?? encryptionKey }
      // A key that there cannot be may make a spool's key that there can be.
      const wrong = pathFlaw(path)
      if (wrong !== undefined) return Effect.fail(flawError("InvalidKey", wrong, "save", path))
      const detail = flawOf(given)
      return detail === undefined ? save : Effect.fail(invalid(path, detail))
    })

  const snapshot: SnapshotsService["snapshot"] = (path, state, o = {}) =>
    checked(
      path,
      o,
      Effect.flatMap(
        Effect.flatMap(checkPayload(o.schema, state, "state", "save", path), (fitting) =>
          Effect.tryPromise({
            try: async () => {
              const normal = normalJson(jsonOf(fitting, o.redact))
              return { normal, hash: await hashOf(normal) }
            },
            catch: (cause) => invalid(path, `this state cannot be saved as JSON: ${(cause as Error).message}`, cause),
          })),
        ({ normal, hash }) => saveContainer(path, o, { hash, length: normal.length }, [normal]),
      ),
    )

  /** Reads a source for its hash alone. */
  const hashSource = (path: string, reader: ByteReader, signal: AbortSignal | undefined) =>
    Effect.gen(function* () {
      const hash = new SnapshotHash()
      const read = async (): Promise<void> => {
        for await (const _ of normalised(reader, hash)) if (signal?.aborted) throw aborted("save", path, signal)
      }
      yield* Effect.onInterrupt(
        Effect.tryPromise({ try: read, catch: (cause) => sourceFailure(path, cause) }),
        () => Effect.promise(() => reader.cancel(undefined)),
      )
      return { hash: yield* Effect.promise(() => hash.hex()), length: hash.length }
    })

  const saveStream: SnapshotsService["saveStream"] = (path, source, o = {}) =>
    checked(
      path,
      o,
      Effect.gen(function* () {
        const again = replayable(source)
        if (again !== undefined) {
          const facts = yield* hashSource(path, yield* openState(path, again), o.signal)
          const reader = yield* openState(path, again)
          return yield* saveContainer(path, o, facts, sameAgain(path, reader, facts.hash))
        }
        const reader = yield* openState(path, () => source as Source)
        const spool = `${path}${spoolMark}${crypto.randomUUID()}`
        const hash = new SnapshotHash()
        const through = { signal: o.signal, retry: o.retry }
        const fill = Effect.mapError(
          store.save(spool, stateErrors(path, normalised(reader, hash)), {
            ...through,
            contentType: "application/json",
          }),
          (error) => error.key === spool ? error.with({ key: path }) : error,
        )
        return yield* Effect.ensuring(
          Effect.gen(function* () {
            const { etag } = yield* fill
            const facts = { hash: yield* Effect.promise(() => hash.hex()), length: hash.length }
            const loaded = yield* store.load(spool, { ...through, ifMatch: etag })
            return yield* Effect.ensuring(
              saveContainer(path, o, facts, loaded.body),
              Effect.promise(() => loaded.cancel()),
            )
          }),
          Effect.ignore(store.remove(spool)),
        )
      }),
    )

  return { snapshot, saveStream }
}

/** The JSON of a state. Throws where there is none. */
const jsonOf = (state: unknown, redact: Redact | undefined): string => {
  const json: string | undefined = JSON.stringify(state)
  if (json === undefined) throw new TypeError(`${typeof state} has no JSON`)
  if (redact === undefined) return json
  const left: string | undefined = JSON.stringify(redacted(JSON.parse(json), redact))
  if (left === undefined) throw new TypeError("redact leaves nothing of it")
  return left
}

/** A source that can be opened as often as wanted, or `undefined` where one reading uses it up. */
const replayable = (source: StateSource): (() => Source) | undefined => {
  if (typeof source === "function") return source
  const kept = typeof source === "string" || source instanceof Blob || source instanceof ArrayBuffer ||
    ArrayBuffer.isView(source)
  return kept ? () => source : undefined
}

const openState = (path: string, open: () => Source): Effect.Effect<ByteReader, StoreError> =>
  Effect.try({
    try: () => openSource(open()),
    catch: (cause) => sourceFailure(path, cause),
  })

const sourceFailure = (path: string, cause: unknown): StoreError => {
  if (StoreError.is(cause)) return cause
  if (cause instanceof JsonFlaw) {
    return invalid(path, `the source is no JSON that can be saved: ${cause.message}`, cause)
  }
  return new StoreError({
    reason: "Aborted",
    ambiguous: false,
    detail: `the source failed: ${cause instanceof Error ? cause.message : String(cause)}`,
    hint: "nothing was saved; the cause says why the source failed",
    operation: "save",
    key: path,
    cause,
  })
}

/** The same pieces; what goes wrong with them is a {@link StoreError}. */
async function* stateErrors(path: string, pieces: AsyncGenerator<Uint8Array>): AsyncGenerator<Uint8Array> {
  try {
    yield* pieces
  } catch (cause) {
    throw sourceFailure(path, cause)
  }
}

/** A source read for the second time; another state than the first time fails before the end. */
async function* sameAgain(path: string, reader: ByteReader, expected: string): AsyncGenerator<Uint8Array> {
  const hash = new SnapshotHash()
  yield* stateErrors(path, normalised(reader, hash))
  if (await hash.hex() !== expected) {
    throw invalid(path, "the source delivered something else when it was read for the second time")
  }
}
