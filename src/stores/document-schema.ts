/**
 * What a signed document is made of: the fields of JACS' header, and whatever its author has put beside them.
 *
 * The schemas check and nothing else. A value that passes is used as it was parsed, with every field that is not
 * named here: a digest or a signature over the whole of it would not hold otherwise.
 *
 * @module
 */
import * as Schema from "effect/Schema"
import { parseJson } from "./records.ts"

/** How freely a document changes: `raw` is data as it came in, `config` and `artifact` are what JACS lets be updated. */
export type DocumentLevel = "raw" | "config" | "artifact" | "derived"

/** Who has signed a document, over what, and the signature. */
export interface DocumentSignature {
  /** `jacsId` of the agent that signed. */
  readonly agentID: string
  /** `jacsVersion` of that agent. */
  readonly agentVersion: string
  /** When, RFC 3339. */
  readonly date: string
  /** The signature, base64. */
  readonly signature: string
  /** SHA-256 that names the public key, lower-case hex; {@link publicKeyHash} computes it. */
  readonly publicKeyHash: string
  /** The fields that are signed, in this order. */
  readonly fields: ReadonlyArray<string>
  /** `"ring-Ed25519"`, or the name of another algorithm. */
  readonly signingAlgorithm?: string | undefined
  /** `"jacs-signature-v2"`; absent on signatures of JACS before 0.9. */
  readonly signatureContentVersion?: string | undefined
  /** Whatever else it holds. */
  readonly [field: string]: unknown
}

/** A file that belongs to a document. */
export interface DocumentFile {
  /** Media type. */
  readonly mimetype: string
  /** Where the file came from. */
  readonly path: string
  /** `true`: its bytes are in `contents`. `false`: they are outside, and `sha256` tells which they are. */
  readonly embed: boolean
  /** `base64(gzip(bytes))`, of an embedded file. */
  readonly contents?: string | undefined
  /** SHA-256, lower-case hex: of `contents` where the file is embedded, of the file's bytes where it is not. */
  readonly sha256?: string | undefined
  /** Whatever else it holds. */
  readonly [field: string]: unknown
}

/** A document, or an agent: JACS' header, and the author's own fields. */
export interface Document {
  /** Which schema it follows. */
  readonly $schema: string
  /** The document's id, the same for all its versions. */
  readonly jacsId: string
  /** This version's id. */
  readonly jacsVersion: string
  /** When this version was made, RFC 3339. */
  readonly jacsVersionDate: string
  /** The id of its first version. */
  readonly jacsOriginalVersion: string
  /** When that was made, RFC 3339. */
  readonly jacsOriginalDate: string
  /** What kind of document it is: the name of its schema, or `"document"`. */
  readonly jacsType: string
  /** How freely it changes. */
  readonly jacsLevel: DocumentLevel
  /** The version that this one replaces; absent on the first. */
  readonly jacsPreviousVersion?: string | undefined
  /** SHA-256 of everything else in it, in the form of RFC 8785; lower-case hex. */
  readonly jacsSha256?: string | undefined
  /** Who has signed it. */
  readonly jacsSignature?: DocumentSignature | undefined
  /** The files that belong to it. */
  readonly jacsFiles?: ReadonlyArray<DocumentFile> | undefined
  /** Whatever else it holds. */
  readonly [field: string]: unknown
}

const others = [Schema.Record(Schema.String, Schema.Unknown)] as const

const signature = Schema.StructWithRest(
  Schema.Struct({
    agentID: Schema.String,
    agentVersion: Schema.String,
    date: Schema.String,
    signature: Schema.String,
    publicKeyHash: Schema.String,
    fields: Schema.Array(Schema.String),
    signingAlgorithm: Schema.optionalKey(Schema.String),
    signatureContentVersion: Schema.optionalKey(Schema.String),
  }),
  others,
)

const file = Schema.StructWithRest(
  Schema.Struct({
    mimetype: Schema.String,
    path: Schema.String,
    embed: Schema.Boolean,
    contents: Schema.optionalKey(Schema.String),
    sha256: Schema.optionalKey(Schema.String),
  }),
  others,
)

const document = Schema.StructWithRest(
  Schema.Struct({
    $schema: Schema.String,
    jacsId: Schema.NonEmptyString,
    jacsVersion: Schema.NonEmptyString,
    jacsVersionDate: Schema.String,
    jacsOriginalVersion: Schema.String,
    jacsOriginalDate: Schema.String,
    jacsType: Schema.String,
    jacsLevel: Schema.Literals(["raw", "config", "artifact", "derived"]),
    jacsPreviousVersion: Schema.optionalKey(Schema.String),
    jacsSha256: Schema.optionalKey(Schema.String),
    jacsSignature: Schema.optionalKey(signature),
    jacsFiles: Schema.optionalKey(Schema.Array(file)),
  }),
  others,
)

/** Throws an error that says what is wrong unless `value` is a document; the value itself is not changed. */
export const checkDocument: (value: unknown) => asserts value is Document = (value) => Schema.asserts(document, value)

/** The document that stored bytes hold; throws unless they are one. */
export const parseDocument = (bytes: Uint8Array): Document => {
  const value: unknown = parseJson(bytes)
  checkDocument(value)
  return value
}
