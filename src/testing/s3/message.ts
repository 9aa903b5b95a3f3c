/**
 * What goes in and out of the peer's core: a request as it stood on the wire, an answer with the way it is to be
 * delivered, and the failures that S3 writes as XML.
 *
 * What a maintainer must keep: nothing here normalises. A target and a header value are what the client sent, one
 * character a byte, because a signature covers exactly that.
 *
 * @module
 */
import { escapeXml } from "./xml.ts"

/** A request as the client sent it. */
export interface PeerRequest {
  /** `GET`, `PUT` … */
  readonly method: string
  /** The request target, unchanged: path and query, still percent-encoded. */
  readonly target: string
  /** Names in lower case, values as sent with one character a byte; a name may occur more than once. */
  readonly headers: ReadonlyArray<readonly [name: string, value: string]>
  /** Reads the body. Called once at most, and not at all when the answer is to come before it. */
  readonly body: () => Promise<Uint8Array>
  /** Aborted when the client is gone, so that nothing waits for it. */
  readonly signal?: AbortSignal | undefined
}

/** How a connection ends: in order, or reset so that the client's read fails. */
export type PeerClose = "fin" | "reset"

/** How much of an answer reaches the client. */
export type PeerDelivery =
  | { readonly kind: "whole" }
  /** The connection ends after `at` bytes of the body. */
  | { readonly kind: "cut"; readonly at: number; readonly how: PeerClose }
  /** After `at` bytes of the body nothing more comes, and the connection stays open. */
  | { readonly kind: "stall"; readonly at: number }
  /** `bytes` of the body every `millis` milliseconds. */
  | { readonly kind: "drip"; readonly bytes: number; readonly millis: number }
  /** Nothing is sent, the connection ends. */
  | { readonly kind: "nothing"; readonly how: PeerClose }
  /** These bytes are sent in place of an HTTP answer, then the connection ends. */
  | { readonly kind: "raw"; readonly bytes: Uint8Array }

/**
 * How the end of a body is marked: by `content-length`, by chunks, by the end of the connection (`close`), or wrongly:
 * by chunks of which the last is missing (`openChunks`) or stops before its last line end (`tornChunks`).
 */
export type PeerFraming = "length" | "chunked" | "openChunks" | "tornChunks" | "close"

/** An answer of the peer. */
export interface PeerResponse {
  /** The HTTP status. */
  readonly status: number
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>
  /** The body; empty in answers to `HEAD`. */
  readonly body: Uint8Array
  /** How much of it is delivered. */
  readonly delivery: PeerDelivery
  /** How its end is marked. */
  readonly framing: PeerFraming
  /** The connection is closed after this answer. */
  readonly closes: boolean
}

/** What an operation answers: status, headers and body, to be delivered whole. */
export type Answer = Pick<PeerResponse, "status" | "headers" | "body">

/** The bytes of all `parts` in one array. */
export const joinBytes = (parts: ReadonlyArray<Uint8Array>): Uint8Array => {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of parts) {
    bytes.set(part, at)
    at += part.length
  }
  return bytes
}

const encoder = new TextEncoder()

const empty = new Uint8Array(0)

/** An answer without a body. */
export const bare = (status: number, headers: Readonly<Record<string, string>> = {}): Answer => ({
  status,
  headers,
  body: empty,
})

/** An answer that is an XML document. */
export const xmlAnswer = (document: string, headers: Readonly<Record<string, string>> = {}, status = 200): Answer => ({
  status,
  headers: { "content-type": "application/xml", ...headers },
  body: encoder.encode(document),
})

/** What a {@link S3Failure} says besides its code. */
export interface FailureFacts {
  /** Further elements of the error document, in this order. */
  readonly details?: Readonly<Record<string, string>> | undefined
  /** Further headers of the answer. */
  readonly headers?: Readonly<Record<string, string>> | undefined
}

/** A refusal in S3's terms, thrown by the operations and written as an error document by the core. */
export class S3Failure extends Error {
  override readonly name = "S3Failure"
  readonly status: number
  readonly code: string
  readonly details: Readonly<Record<string, string>>
  readonly headers: Readonly<Record<string, string>>

  constructor(status: number, code: string, message: string, facts: FailureFacts = {}) {
    super(message)
    this.status = status
    this.code = code
    this.details = facts.details ?? {}
    this.headers = facts.headers ?? {}
  }
}

/** The error document of `failure`, as S3 writes it. */
export const errorDocument = (failure: S3Failure, ids: { readonly request: string; readonly host: string }): string => {
  const fields = Object.entries({
    Code: failure.code,
    Message: failure.message,
    ...failure.details,
    RequestId: ids.request,
    HostId: ids.host,
  })
  const body = fields.map(([name, value]) => `<${name}>${escapeXml(value)}</${name}>`).join("")
  return `<?xml version="1.0" encoding="UTF-8"?>\n<Error>${body}</Error>`
}
