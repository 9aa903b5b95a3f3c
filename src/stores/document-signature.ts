/**
 * What a digest and a signature of a document are about, and who makes and checks them.
 *
 * Written is the newest form of JACS, `jacs-signature-v2`: the form of RFC 8785 of all fields, their names, and the
 * signature's own facts. Read are its two older ones as well. They say nothing of the names of fields, nor of who signed
 * when; `acceptLegacy: false` refuses them.
 *
 * @module
 */
import canonicalize from "canonicalize"
import { sha256 } from "../streams/digest.ts"
import { compareUtf8 } from "../streams/utf8.ts"
import type { Document, DocumentSignature } from "./document-schema.ts"

/** What signs documents in an agent's name. {@link makeEd25519Signer} makes one. */
export interface Signer {
  /** What `signingAlgorithm` says: `"ring-Ed25519"`. */
  readonly algorithm: string
  /** `jacsId` of the agent. */
  readonly agentId: string
  /** `jacsVersion` of the agent. */
  readonly agentVersion: string
  /** Names the public key; see {@link publicKeyHash}. */
  readonly publicKeyHash: string
  /** The signature of a message. */
  readonly sign: (message: Uint8Array<ArrayBuffer>) => Promise<Uint8Array>
}

/** What is to be said of a signature: `"unknown"` where the key or the algorithm is not known here. */
export type SignatureState = "valid" | "invalid" | "unknown"

/** What checks signatures. {@link makeEd25519Verifier} makes one. */
export interface Verifier {
  /** What the signature, in `bytes`, of a message is worth. */
  readonly verify: (
    signature: DocumentSignature,
    message: Uint8Array<ArrayBuffer>,
    bytes: Uint8Array<ArrayBuffer>,
  ) => Promise<SignatureState>
}

const signatureVersion = "jacs-signature-v2"

/** Fields that JACS never signs: they come after the signature, or are signatures themselves. */
const unsigned: ReadonlySet<string> = new Set([
  "jacsSha256",
  "jacsSignature",
  "jacsAgentSignature",
  "jacsAgreement",
  "jacsRegistration",
  "jacsTaskStartAgreement",
  "jacsTaskEndAgreement",
])

/** A value in the form of RFC 8785. Throws for what JSON cannot hold. */
export const canonicalJson = (value: unknown): string => {
  const text = canonicalize(value)
  if (text === undefined) throw new TypeError("the value is undefined, which JSON cannot hold")
  return text
}

const utf8 = (text: string): Uint8Array<ArrayBuffer> => new TextEncoder().encode(text)

const hex = (bytes: ArrayBuffer): string =>
  Array.from(new Uint8Array(bytes), (byte) => byte.toString(16).padStart(2, "0")).join("")

/** SHA-256 of a text's UTF-8, or of bytes; lower-case hex. */
export const sha256Hex = async (data: string | Uint8Array<ArrayBuffer>): Promise<string> => {
  const bytes = typeof data === "string" ? utf8(data) : data
  const hasher = sha256()
  if (hasher === undefined) return hex(await crypto.subtle.digest("SHA-256", bytes))
  hasher.update(bytes)
  return hasher.hex()
}

/** What `jacsSha256` of a document must be: the SHA-256 of all the rest of it in the form of RFC 8785. */
export const documentSha256 = ({ jacsSha256: _, ...rest }: Readonly<Record<string, unknown>>): Promise<string> =>
  sha256Hex(canonicalJson(rest))

/** The same as JACS computed it before 0.8, from the text of the document: numbers count as they are written there. */
export const olderDocumentSha256 = (text: string): Promise<string> => {
  const written = (_: string, value: unknown, context?: { readonly source?: string }): unknown =>
    typeof value === "number" ? new Written(context?.source ?? String(value)) : value
  const { jacsSha256: _, ...rest } = JSON.parse(text, written) as Record<string, unknown>
  return sha256Hex(sortedJson(rest))
}

/** A number as it is written. */
class Written {
  readonly text: string
  constructor(text: string) {
    this.text = text
  }
}

const sortedJson = (value: unknown): string => {
  if (value instanceof Written) return value.text
  if (Array.isArray(value)) return `[${value.map(sortedJson).join(",")}]`
  if (typeof value !== "object" || value === null) return JSON.stringify(value)
  const fields = Object.entries(value).sort(([a], [b]) => compareUtf8(a, b))
  return `{${fields.map(([name, field]) => `${JSON.stringify(name)}:${sortedJson(field)}`).join(",")}}`
}

/** The document with a signature, where there is a signer, and with its digest. What it had of both is replaced. */
export const sealed = async (
  { jacsSha256: _, jacsSignature: __, ...fields }: Document,
  signer: Signer | undefined,
  now: Date,
): Promise<Document> => {
  const document = signer === undefined ? fields : { ...fields, jacsSignature: await signed(fields, signer, now) }
  return { ...document, jacsSha256: await documentSha256(document) }
}

const signed = async (document: Omit<Document, "jacsSignature">, signer: Signer, now: Date) => {
  const facts = {
    agentID: signer.agentId,
    agentVersion: signer.agentVersion,
    date: now.toISOString(),
    iat: Math.floor(now.getTime() / 1000),
    jti: crypto.randomUUID(),
    signingAlgorithm: signer.algorithm,
    publicKeyHash: signer.publicKeyHash,
    fields: Object.keys(document).filter((name) => !unsigned.has(name)).sort(compareUtf8),
    signatureContentVersion: signatureVersion,
  }
  const signature = await signer.sign(utf8(newestMessage(document, facts.fields, facts)))
  return { ...facts, signature: toBase64(signature) }
}

const newestMessage = (
  document: Readonly<Record<string, unknown>>,
  fields: ReadonlyArray<string>,
  signatureMetadata: unknown,
): string =>
  canonicalJson({
    domain: "jacs.signature.v2",
    placementKey: "jacsSignature",
    fields: fields.map((name) => ({ name, value: document[name] })),
    signatureMetadata,
  })

/** What a document's signature may be about, the newest form first; an error's text where it is about too little. */
const messagesOf = (document: Document, facts: DocumentSignature): ReadonlyArray<string> | string => {
  const { signature: _, ...metadata } = facts
  const reserved = facts.fields.find((name) => unsigned.has(name))
  if (reserved !== undefined) return `its signature lists the field ${JSON.stringify(reserved)}, which is never signed`
  if (facts.signatureContentVersion === signatureVersion) {
    const missing = facts.fields.find((name) => !Object.hasOwn(document, name))
    if (missing !== undefined) return `the signed field ${JSON.stringify(missing)} is not there`
    const extra = Object.keys(document).find((name) => !unsigned.has(name) && !facts.fields.includes(name))
    if (extra !== undefined) return `the field ${JSON.stringify(extra)} is not signed`
    return [newestMessage(document, facts.fields, metadata)]
  }
  const values = facts.fields.filter((name) => Object.hasOwn(document, name)).map((name) => document[name])
  return [values.map(canonicalJson).join(" "), values.filter((value) => typeof value === "string").join(" ")]
}

/** What a document's signature is worth. */
export interface SignatureCheck {
  /** `"absent"`: there is none. */
  readonly state: SignatureState | "absent"
  /** Why it is not valid. */
  readonly detail: string
}

/** Checks a document's signature; its digest is another matter. */
export const checkSignature = async (
  document: Document,
  verifier: Verifier,
  options: { readonly acceptLegacy?: boolean | undefined } = {},
): Promise<SignatureCheck> => {
  const facts = document.jacsSignature
  if (facts === undefined) return { state: "absent", detail: "it is not signed" }
  const version = facts.signatureContentVersion
  if (version !== undefined && version !== signatureVersion) {
    return { state: "unknown", detail: `its signature is of the form ${JSON.stringify(version)}, which is not known` }
  }
  if (version === undefined && options.acceptLegacy === false) {
    return { state: "invalid", detail: "its signature is of an older form, which is not accepted here" }
  }
  const messages = messagesOf(document, facts)
  if (typeof messages === "string") return { state: "invalid", detail: messages }
  const bytes = fromBase64(facts.signature)
  if (bytes === undefined) return { state: "invalid", detail: "its signature is not base64" }
  for (const message of messages) {
    const state = await verifier.verify(facts, utf8(message), bytes)
    if (state === "valid") return { state, detail: "" }
    if (state === "unknown") {
      const detail = `its key ${facts.publicKeyHash} or algorithm ${facts.signingAlgorithm ?? ""} is not known here`
      return { state, detail }
    }
  }
  return { state: "invalid", detail: "its signature is not one of this content" }
}

/** Base64 of bytes. */
export const toBase64 = (bytes: Uint8Array): string => {
  let text = ""
  // A call takes only so many arguments.
  for (let i = 0; i < bytes.length; i += 32 * 1024) text += String.fromCharCode(...bytes.subarray(i, i + 32 * 1024))
  return btoa(text)
}

/** The bytes of base64, or `undefined` where it is none. */
export const fromBase64 = (text: string): Uint8Array<ArrayBuffer> | undefined => {
  try {
    return Uint8Array.from(atob(text), (character) => character.charCodeAt(0))
  } catch {
    return undefined
  }
}
