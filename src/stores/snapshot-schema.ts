/**
 * What a snapshot says about itself: the metadata of Persist's files, under the names they have there.
 *
 * @module
 */
import * as Schema from "effect/Schema"

/** The version of the format that is written, and the newest that is read. */
export const snapshotFormatVersion = 1

/** The metadata of a snapshot. Fields that are not known here are kept as they are. */
export interface SnapshotMetadata {
  /** Whose state it is. */
  readonly agent_id: string
  /** Of which session. */
  readonly session_id: string
  /** Number of the snapshot within its session, from 0. */
  readonly snapshot_index: number
  /** When it was made: RFC 3339, UTC. */
  readonly timestamp: string
  /** SHA-256 of the state in normal form, lower-case hex. */
  readonly content_hash: string
  /** Version of the file format. */
  readonly format_version: number
  /** A UUID of this snapshot alone. */
  readonly snapshot_id: string
  /** Words for people. */
  readonly description?: string | null | undefined
  /** Bytes of the state in normal form. */
  readonly uncompressed_size: number
  /** Stored bytes; known to whoever has just saved it, `null` in the file. */
  readonly compressed_size?: number | null | undefined
  /** `"gzip"` or `"none"`. */
  readonly compression_algorithm: string
  /** What else the file says. */
  readonly [field: string]: unknown
}

const fields: {
  readonly agent_id: Schema.String
  readonly session_id: Schema.String
  readonly snapshot_index: Schema.Finite
  readonly timestamp: Schema.String
  readonly content_hash: Schema.String
  readonly format_version: Schema.Finite
  readonly snapshot_id: Schema.String
  readonly description: Schema.optional<Schema.NullOr<Schema.String>>
  readonly uncompressed_size: Schema.Finite
  readonly compressed_size: Schema.optional<Schema.NullOr<Schema.Finite>>
  readonly compression_algorithm: Schema.String
} = {
  agent_id: Schema.String,
  session_id: Schema.String,
  snapshot_index: Schema.Finite,
  timestamp: Schema.String,
  content_hash: Schema.String,
  format_version: Schema.Finite,
  snapshot_id: Schema.String,
  description: Schema.optional(Schema.NullOr(Schema.String)),
  uncompressed_size: Schema.Finite,
  compressed_size: Schema.optional(Schema.NullOr(Schema.Finite)),
  compression_algorithm: Schema.String,
}

/** {@link SnapshotMetadata} as a schema, which keeps the fields that are not known here. */
export const SnapshotMetadata: Schema.Codec<SnapshotMetadata> = Schema.StructWithRest(Schema.Struct(fields), [
  Schema.Record(Schema.String, Schema.Unknown),
])

/** Metadata as the file has it, in Persist's order; then the fields that are not known here. */
export const metadataJson = (metadata: SnapshotMetadata): string => {
  const known = Object.fromEntries(Object.keys(fields).map((name) => [name, metadata[name]]))
  return JSON.stringify({ ...known, ...metadata, description: metadata.description ?? null, compressed_size: null })
}

const decode = Schema.decodeUnknownSync(SnapshotMetadata)

/** A snapshot of a version that is newer than what is known here. */
export class NewerVersion extends Error {
  override readonly name: string = "NewerVersion"
}

/** Reads metadata; throws an `Error` that says what is wrong with them, {@link NewerVersion} for a newer format. */
export const readMetadata = (json: string): SnapshotMetadata => {
  const value: unknown = JSON.parse(json)
  const version = (value as { readonly format_version?: unknown } | null)?.format_version
  // What a newer version has made of the other fields is not for us to judge.
  if (typeof version === "number" && version > snapshotFormatVersion) {
    throw new NewerVersion(
      `Incompatible snapshot format version: ${version} (current: ${snapshotFormatVersion})`,
    )
  }
  return decode(value)
}

/** The file name that Persist suggests: `{agent}_{session}_{index}_{YYYYmmdd_HHMMSS}.json.gz`. */
export const suggestedFilename = (metadata: SnapshotMetadata): string => {
  const { agent_id, session_id, snapshot_index } = metadata
  const time = new Date(metadata.timestamp).toISOString()
  const stamp = `${time.slice(0, 10).replaceAll("-", "")}_${time.slice(11, 19).replaceAll(":", "")}`
  return `${agent_id}_${session_id}_${snapshot_index}_${stamp}.json.gz`
}
