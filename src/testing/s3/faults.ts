/**
 * The script: which requests go wrong, and how.
 *
 * What a maintainer must keep: whether a rule hits a request depends on the seed, the rule and how many requests the
 * rule has seen, and on nothing else, so a failing seed replays as long as the requests come in the same order.
 *
 * @module
 */
import { errorDocument, type PeerClose, type PeerFraming, type PeerResponse, S3Failure } from "./message.ts"
import type { PeerOperation } from "./operation.ts"

/**
 * When a fault strikes: `early`, before the body of the request has been read, and the connection is closed after it;
 * `before`, with the body read and nothing done; `after`, with all of it done.
 */
export type PeerMoment = "early" | "before" | "after"

/** What goes wrong. */
export type PeerFault =
  /** An error of S3 in place of the answer. With details and headers it is a redirect, a skewed clock, a throttle. */
  | {
    readonly kind: "error"
    readonly status: number
    readonly code: string
    readonly message?: string | undefined
    /** Further elements of the document: `{ Region: "eu-west-1" }`. */
    readonly details?: Readonly<Record<string, string>> | undefined
    /** Further headers: `{ "retry-after": "1" }`. */
    readonly headers?: Readonly<Record<string, string>> | undefined
    /** Default `before`. */
    readonly when?: PeerMoment | undefined
  }
  /** Any answer at all, word for word: a proxy's error page, a redirect without a body. */
  | {
    readonly kind: "reply"
    readonly status: number
    readonly headers?: Readonly<Record<string, string>> | undefined
    readonly body?: string | Uint8Array | undefined
    /** Default `before`. */
    readonly when?: PeerMoment | undefined
  }
  /** The answer says 200 and holds an error document, as S3 does when it fails after its headers are out. */
  | {
    readonly kind: "errorBody"
    readonly code: string
    readonly message?: string | undefined
    /** Default `before`. */
    readonly when?: PeerMoment | undefined
  }
  /** Time passes. Default `before`. */
  | { readonly kind: "delay"; readonly millis: number; readonly when?: PeerMoment | undefined }
  /** Nothing happens until the promise settles; without one, never. Default `before`. */
  | { readonly kind: "hold"; readonly until?: Promise<unknown> | undefined; readonly when?: PeerMoment | undefined }
  /** The connection ends without an answer; `after`: a lost reply. Default `before` and `fin`. */
  | { readonly kind: "drop"; readonly how?: PeerClose | undefined; readonly when?: PeerMoment | undefined }
  /** The connection ends after `at` bytes of the answer's body. Default `fin`. */
  | { readonly kind: "cut"; readonly at: number; readonly how?: PeerClose | undefined }
  /** After `at` bytes of the answer's body nothing more comes. */
  | { readonly kind: "stall"; readonly at: number }
  /** The answer's body comes `bytes` at a time, every `millis` milliseconds. */
  | { readonly kind: "drip"; readonly bytes: number; readonly millis: number }
  /** These bytes in place of an HTTP answer; the request has taken effect. */
  | { readonly kind: "raw"; readonly bytes: string | Uint8Array }
  /** The end of the body is marked another way, or wrongly. */
  | { readonly kind: "framing"; readonly framing: PeerFraming }
  /** The lowest bit of byte `at` of the answer's body is wrong. */
  | { readonly kind: "flip"; readonly at: number }
  /** The answer's body ends after `at` bytes as if these were all. */
  | { readonly kind: "truncate"; readonly at: number }
  /** White space in front of the answer's body, as S3 sends it while it assembles an object. */
  | { readonly kind: "spaces"; readonly count: number }
  /** Headers of the answer are other ones; `undefined` removes one. A wrong etag, a wrong `content-range`. */
  | { readonly kind: "headers"; readonly set: Readonly<Record<string, string | undefined>> }
  /** The request's `Range` is ignored. */
  | { readonly kind: "ignoreRange" }
  /** The answer's body is compressed and says so, though nobody asked. */
  | { readonly kind: "gzip" }
  /** Whatever else. */
  | { readonly kind: "rewrite"; readonly reply: (reply: PeerResponse) => PeerResponse }

/** Which requests a fault hits. Of the conditions given, all must hold; with none, it hits every request. */
export interface PeerRule {
  /** What goes wrong. */
  readonly fault: PeerFault
  /** The operations concerned. Default: all. */
  readonly operation?: PeerOperation | ReadonlyArray<PeerOperation> | undefined
  /** Only keys this holds for; a text: keys that contain it. */
  readonly key?: string | ((key: string) => boolean) | undefined
  /** Only the first, second … of the requests that the conditions above select; counted from 1. */
  readonly nth?: number | ReadonlyArray<number> | undefined
  /** At most so many times. Default: always. */
  readonly times?: number | undefined
  /** How often, from 0 (never) to 1 (always). Default 1. */
  readonly probability?: number | undefined
}

/** From 0 to 1, and the same for the same three numbers. */
const draw = (seed: number, rule: number, nth: number): number => {
  let state = (seed + rule * 0x9e3779b9 + nth * 0x6d2b79f5) | 0
  state = Math.imul(state ^ (state >>> 15), state | 1)
  state ^= state + Math.imul(state ^ (state >>> 7), state | 61)
  return ((state ^ (state >>> 14)) >>> 0) / 2 ** 32
}

/** The rules in force, and how many requests each has seen and hit. */
export interface Script {
  /** The faults that hit this request, in the order of the rules. */
  readonly hits: (operation: PeerOperation, key: string) => ReadonlyArray<PeerFault>
}

/** A script that begins to count now. */
export const makeScript = (rules: ReadonlyArray<PeerRule>, seed: number): Script => {
  const seen = rules.map(() => 0)
  const hit = rules.map(() => 0)
  return {
    hits: (operation, key) =>
      rules.filter((rule, index) => {
        if (rule.operation !== undefined && ![rule.operation].flat().includes(operation)) return false
        if (typeof rule.key === "string" ? !key.includes(rule.key) : rule.key?.(key) === false) return false
        const nth = ++seen[index]!
        if (rule.nth !== undefined && ![rule.nth].flat().includes(nth)) return false
        if (hit[index]! >= (rule.times ?? Infinity) || draw(seed, index, nth) >= (rule.probability ?? 1)) return false
        hit[index]!++
        return true
      }).map(({ fault }) => fault),
  }
}

/** When a fault strikes; those that change the answer have to wait for it. */
export const momentOf = (fault: PeerFault): PeerMoment => {
  switch (fault.kind) {
    case "error":
    case "reply":
    case "errorBody":
    case "delay":
    case "hold":
    case "drop":
      return fault.when ?? "before"
    case "ignoreRange":
      return "before"
    default:
      return "after"
  }
}

const encoder = new TextEncoder()

const bytesOf = (content: string | Uint8Array): Uint8Array =>
  typeof content === "string" ? encoder.encode(content) : content

const wait = (millis: number, signal: AbortSignal | undefined): Promise<void> =>
  new Promise((resolve) => {
    const timer = setTimeout(resolve, millis)
    signal?.addEventListener("abort", () => {
      clearTimeout(timer)
      resolve()
    }, { once: true })
  })

const gone = (signal: AbortSignal | undefined): Promise<void> =>
  new Promise((resolve) => {
    if (signal?.aborted) resolve()
    signal?.addEventListener("abort", () => resolve(), { once: true })
  })

const compress = async (bytes: Uint8Array): Promise<Uint8Array> => {
  const source = new Response(Uint8Array.from(bytes)).body!
  return new Uint8Array(await new Response(source.pipeThrough(new CompressionStream("gzip"))).arrayBuffer())
}

/** What a fault needs to know of its request. */
export interface Scene {
  readonly signal: AbortSignal | undefined
  readonly ids: { readonly request: string; readonly host: string }
}

/** Lets time pass, for the faults that are about time. */
export const pause = async (fault: PeerFault, { signal }: Scene): Promise<void> => {
  if (fault.kind === "delay") await wait(fault.millis, signal)
  if (fault.kind === "hold") {
    await Promise.race(fault.until === undefined ? [gone(signal)] : [fault.until, gone(signal)])
  }
}

/** The answer that a fault puts in place of the real one, given what all answers share. */
export const replacement = (fault: PeerFault, blank: PeerResponse, { ids }: Scene): PeerResponse | undefined => {
  const closes = blank.closes || momentOf(fault) === "early"
  const xml = { ...blank.headers, "content-type": "application/xml" }
  switch (fault.kind) {
    case "error": {
      const failure = new S3Failure(fault.status, fault.code, fault.message ?? fault.code, fault)
      const body = encoder.encode(errorDocument(failure, ids))
      return { ...blank, status: fault.status, headers: { ...xml, ...fault.headers }, body, closes }
    }
    case "errorBody": {
      const failure = new S3Failure(200, fault.code, fault.message ?? fault.code)
      return { ...blank, status: 200, headers: xml, body: encoder.encode(errorDocument(failure, ids)), closes }
    }
    case "reply": {
      const headers = { ...blank.headers, ...fault.headers }
      return { ...blank, status: fault.status, headers, body: bytesOf(fault.body ?? ""), closes }
    }
    case "drop":
      return { ...blank, delivery: { kind: "nothing", how: fault.how ?? "fin" } }
  }
}

/** The answer with the fault in it. */
export const spoil = async (reply: PeerResponse, fault: PeerFault): Promise<PeerResponse> => {
  switch (fault.kind) {
    case "cut":
      return { ...reply, delivery: { kind: "cut", at: fault.at, how: fault.how ?? "fin" } }
    case "stall":
    case "drip":
      return { ...reply, delivery: fault }
    case "raw":
      return { ...reply, delivery: { kind: "raw", bytes: bytesOf(fault.bytes) } }
    case "framing":
      return { ...reply, framing: fault.framing }
    case "flip": {
      const body = Uint8Array.from(reply.body)
      if (fault.at < body.length) body[fault.at]! ^= 1
      return { ...reply, body }
    }
    case "truncate":
      return { ...reply, body: reply.body.subarray(0, fault.at) }
    case "spaces": {
      const body = new Uint8Array(fault.count + reply.body.length).fill(32, 0, fault.count)
      body.set(reply.body, fault.count)
      return { ...reply, body }
    }
    case "headers": {
      const headers = Object.entries({ ...reply.headers, ...fault.set })
        .flatMap(([name, value]) => value === undefined ? [] : [[name, value] as const])
      return { ...reply, headers: Object.fromEntries(headers) }
    }
    case "gzip":
      return {
        ...reply,
        headers: { ...reply.headers, "content-encoding": "gzip" },
        body: await compress(reply.body),
      }
    case "rewrite":
      return fault.reply(reply)
    default:
      return reply
  }
}
