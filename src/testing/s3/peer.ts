/**
 * The scripted S3 peer: an S3 service in this process, which verifies what real ones verify and fails where a script
 * says so. For tests of programs that speak S3: Holdfast's own S3 backend and every other client.
 *
 * What a maintainer must keep: `handle` is the whole service. The server and `fetch` only carry requests to it and
 * deliver its answers, so a test sees the same service whichever way it comes.
 *
 * @module
 */
import { authenticate, type AuthRules, type PeerCredentials } from "./auth.ts"
import { bucketOperations } from "./buckets.ts"
import { decodeBody } from "./chunked.ts"
import { copyObject } from "./copy.ts"
import {
  makeScript,
  momentOf,
  pause,
  type PeerFault,
  type PeerMoment,
  type PeerRule,
  replacement,
  type Scene,
  spoil,
} from "./faults.ts"
import { type PeerFetch, serveFetch } from "./fetch.ts"
import { loadHashing } from "./hashing.ts"
import { listOperations } from "./listing.ts"
import {
  type Answer,
  bare,
  errorDocument,
  type PeerRequest,
  type PeerResponse,
  S3Failure,
  xmlAnswer,
} from "./message.ts"
import { multipartOperations } from "./multipart.ts"
import { checkKey, objectOperations } from "./objects.ts"
import { operationOf, type PeerOperation } from "./operation.ts"
import { type PeerQuirks, peerQuirks } from "./quirks.ts"
import { listen, type PeerServer } from "./server.ts"
import { currentObject, type Handler, makeBucket, type World } from "./state.ts"
import { parameter, parseTarget, type Query, type Target } from "./target.ts"

const operations: Readonly<Record<PeerOperation, Handler>> = {
  ...bucketOperations,
  ...objectOperations,
  ...multipartOperations,
  ...listOperations,
  CopyObject: copyObject,
}

const MiB = 1024 * 1024

/** Options of {@link makeS3Peer}. */
export interface S3PeerOptions {
  /** Buckets that are there from the start. Default: `["test"]`. */
  readonly buckets?: ReadonlyArray<string> | undefined
  /** The keys that requests may be signed with. Default: {@link peerCredentials}. */
  readonly credentials?: ReadonlyArray<PeerCredentials> | undefined
  /** The region of all buckets, which the scope of a signature must name. Default `us-east-1`. */
  readonly region?: string | undefined
  /** Serve requests that are not signed. Default false. */
  readonly anonymous?: boolean | undefined
  /** How the service differs from Amazon's: a profile's name, or your own. Default `aws`. */
  readonly quirks?: keyof typeof peerQuirks | PeerQuirks | undefined
  /**
   * Host names in front of which a bucket may stand: `bucket.s3.localhost`. Default: `s3.localhost` and Amazon's own
   * for the region.
   */
  readonly domains?: ReadonlyArray<string> | undefined
  /** Milliseconds since 1970. Default: the clock of the machine. */
  readonly clock?: (() => number) | undefined
  /** Least bytes of a part that is not the last. Default 5 MiB, as everywhere; less makes tests quick. */
  readonly minPartSize?: number | undefined
  /** Most bytes of one PutObject, UploadPart or CopyObject. Default 5 GiB, as everywhere. */
  readonly maxSize?: number | undefined
  /** The keys that exist for SSE-KMS. Default: any that is named. */
  readonly kmsKeys?: ReadonlyArray<string> | undefined
  /** What goes wrong from the start; see {@link S3Peer.script}. */
  readonly rules?: ReadonlyArray<PeerRule> | undefined
  /** Decides what `probability` decides. Default: random; print it when a test fails. */
  readonly seed?: number | undefined
}

/** A request that came, and what became of it. */
export interface PeerRecord {
  /** 1 for the first. */
  readonly ordinal: number
  /** `GET`, `PUT` … */
  readonly method: string
  /** The target as sent. */
  readonly target: string
  /** As sent; names in lower case. */
  readonly headers: ReadonlyArray<readonly [name: string, value: string]>
  /** `undefined`: no operation of S3. */
  readonly operation: PeerOperation | undefined
  /** `""` when it is about none. */
  readonly bucket: string
  /** `""` when it is about none. */
  readonly key: string
  /** Bytes of the body as sent, framing of `aws-chunked` included; 0 when it was not read. */
  readonly bodyLength: number
  /** Of the answer; `undefined` while it is on its way. */
  readonly status: number | undefined
  /** What hit it. */
  readonly faults: ReadonlyArray<PeerFault["kind"]>
}

/** An upload that is neither complete nor aborted. */
export interface PeerUpload {
  /** Where the object will be. */
  readonly bucket: string
  /** What the object will be called. */
  readonly key: string
  /** The service's name for the upload. */
  readonly uploadId: string
  /** The numbers of the parts stored, ascending. */
  readonly parts: ReadonlyArray<number>
}

/** An object, seen past all protocols. */
export interface PeerObject {
  /** What is stored, not a copy of it: only to be read. */
  readonly bytes: Uint8Array
  /** Without quotes. */
  readonly etag: string
  /** Content-type and the like. */
  readonly headers: Readonly<Record<string, string>>
  /** Without `x-amz-meta-`. */
  readonly metadata: Readonly<Record<string, string>>
}

/** An S3 service in this process. */
export interface S3Peer {
  /** The service itself: a request in, an answer out. */
  readonly handle: (request: PeerRequest) => Promise<PeerResponse>
  /** A `fetch` that reaches the service without a socket. See {@link PeerFetch} for what it cannot show. */
  readonly fetch: PeerFetch
  /** Serves HTTP/1.1 on 127.0.0.1. More than one server may be open; they share everything. */
  readonly listen: (options?: { readonly port?: number | undefined }) => Promise<PeerServer>
  /** Replaces the rules; what they count begins anew. `script([])` ends all faults. */
  readonly script: (rules: ReadonlyArray<PeerRule>) => void
  /** With the same seed and the same requests, the same faults. */
  readonly seed: number
  /** Moves the peer's clock by so many milliseconds, from where it stands. */
  readonly moveClock: (millis: number) => void
  /** Every request that came, in order. Grows. */
  readonly requests: ReadonlyArray<PeerRecord>
  /** How many requests came, of one operation or in all. */
  readonly count: (operation?: PeerOperation) => number
  /** Requests that came for each different one (method and target, without a signature's parameters): 1 is no retry. */
  readonly amplification: () => number
  /** The uploads that are open: after a test, none. */
  readonly openUploads: () => ReadonlyArray<PeerUpload>
  /** What a key names now, whatever the script says. */
  readonly object: (bucket: string, key: string) => PeerObject | undefined
}

/** The key that a peer knows unless it is given others. */
export const peerCredentials: PeerCredentials = {
  accessKeyId: "AKIAPEERPEERPEERPEER",
  secretAccessKey: "peer/secret+access/key+of/no+value",
}

/** Parameters of a signature in the query; all the other `x-amz-…` there stand for headers. */
const signatureParameters = new Set(
  ["algorithm", "credential", "date", "expires", "signature", "signedheaders", "security-token", "content-sha256"]
    .map((name) => `x-amz-${name}`),
)

/**
 * Makes an S3 service that lives in this process.
 *
 * It verifies signatures (header and query), payload hashes, checksums, conditions and the rules of uploads, and
 * answers in S3's words. What it holds is in memory and goes with it; nothing is encrypted.
 *
 * @example The first part fails once, and its client tries again
 * ```ts
 * import { makeS3Peer } from "@holdfast/holdfast/testing"
 *
 * const peer = makeS3Peer({
 *   buckets: ["snapshots"],
 *   anonymous: true,
 *   rules: [{ operation: "PutObject", nth: 1, fault: { kind: "error", status: 503, code: "SlowDown" } }],
 * })
 * const put = () => peer.fetch("http://127.0.0.1/snapshots/a", { method: "PUT", body: "hello" })
 * console.assert((await put()).status === 503)
 * console.assert((await put()).status === 200)
 * console.assert(peer.count("PutObject") === 2)
 * ```
 */
export const makeS3Peer = (options: S3PeerOptions = {}): S3Peer => {
  const {
    buckets = ["test"],
    credentials = [peerCredentials],
    region = "us-east-1",
    anonymous = false,
    clock = Date.now,
    seed = crypto.getRandomValues(new Uint32Array(1))[0]!,
  } = options
  const quirks = typeof options.quirks === "object" ? options.quirks : peerQuirks[options.quirks ?? "aws"]
  const domains = options.domains ?? ["s3.localhost", `s3.${region}.amazonaws.com`, "s3.amazonaws.com"]
  const rules: AuthRules = {
    credentials,
    region,
    anonymous,
    checksRegion: quirks.checksRegion,
    unknownKey: quirks.unknownKey,
  }
  let script = makeScript(options.rules ?? [], seed)
  let offset = 0
  const now = (): number => clock() + offset
  let names = 0
  const nextId = (kind: string): string => `${kind}-${seed.toString(36)}-${(++names).toString(36)}`

  const started = now()
  const held = new Map(buckets.map((name) => [name, makeBucket(name, started)]))
  const hashing = loadHashing()
  const world = hashing.then((loaded): World => ({
    buckets: held,
    region,
    quirks,
    hashing: loaded,
    minPartSize: options.minPartSize ?? 5 * MiB,
    maxSize: options.maxSize ?? 5 * 1024 * MiB,
    kmsKeys: options.kmsKeys,
    nextId,
  }))

  /** Serves a request whose body is here. Refusals are thrown. */
  const serve = (arrived: Arrived, body: Uint8Array, ignoreRange: boolean, world: World): Answer => {
    const { method, target, headers, operation } = arrived
    const { bucket, query } = target
    const payloadHash = headers.get("x-amz-content-sha256") ?? parameter(query, "X-Amz-Content-Sha256")
    const time = now()
    const signed = authenticate({ method, target, headers, payloadHash, now: time }, rules, world.hashing)
    const decoded = decodeBody(
      body,
      payloadHash ?? "UNSIGNED-PAYLOAD",
      headers,
      signed,
      quirks.trailers,
      world.hashing,
    )
    if (quirks.unsupported.includes(operation)) {
      throw new S3Failure(501, "NotImplemented", `${operation} not implemented`)
    }
    checkKey(target.key)
    const effective = withQueryHeaders(headers, query)
    if (ignoreRange) effective.delete("range")
    const key = quirks.composesKeys ? target.key.normalize("NFC") : target.key
    return operations[operation]({ operation, bucket, key, query, headers: effective, ...decoded, now: time }, world)
  }

  const requests: Array<{ -readonly [name in keyof PeerRecord]: PeerRecord[name] }> = []

  const handle = async (request: PeerRequest): Promise<PeerResponse> => {
    const ordinal = requests.length + 1
    const ids = { request: `PEER${String(ordinal).padStart(12, "0")}`, host: `peer-${seed.toString(36)}` }
    const scene: Scene = { signal: request.signal, ids }
    const record: typeof requests[number] = {
      ordinal,
      method: request.method,
      target: request.target,
      headers: request.headers,
      operation: undefined,
      bucket: "",
      key: "",
      bodyLength: 0,
      status: undefined,
      faults: [],
    }
    requests.push(record)
    const blank: PeerResponse = {
      ...bare(200, {
        "x-amz-request-id": ids.request,
        "x-amz-id-2": ids.host,
        date: new Date(now()).toUTCString(),
        server: "AmazonS3",
      }),
      delivery: { kind: "whole" },
      framing: "length",
      closes: false,
    }
    /** The answer of `run`, or its refusal as one. What is no refusal is a defect of the peer, and says so. */
    const answer = (run: () => Answer): PeerResponse => {
      const answered = attempt(
        run,
        (failure) => xmlAnswer(errorDocument(failure, ids), failure.headers, failure.status),
      )
      return { ...blank, ...answered, headers: { ...blank.headers, ...answered.headers } }
    }
    const finish = (response: PeerResponse): PeerResponse => {
      record.status = response.delivery.kind === "nothing" ? undefined : response.status
      return request.method === "HEAD" ? withoutBody(response) : response
    }

    let arrived: Arrived | undefined
    const unreadable = answer(() => {
      const headers = joinHeaders(request.headers)
      const target = parseTarget(request.target, headers.get("host") ?? "", domains)
      Object.assign(record, { bucket: target.bucket, key: target.key })
      record.operation = operationOf(request.method, target, headers)
      arrived = { method: request.method, target, headers, operation: record.operation }
      return bare(200)
    })
    if (arrived === undefined) {
      await request.body()
      return finish(unreadable)
    }
    const known: Arrived = arrived

    const faults = script.hits(known.operation, known.target.key)
    record.faults = faults.map(({ kind }) => kind)
    /** Runs the faults of one moment; the first that has an answer of its own ends the request. */
    const strike = async (moment: PeerMoment): Promise<PeerResponse | undefined> => {
      for (const fault of faults.filter((one) => momentOf(one) === moment)) {
        await pause(fault, scene)
        const instead = replacement(fault, blank, scene)
        if (instead !== undefined) return instead
      }
    }
    const run = async (): Promise<PeerResponse> => {
      const early = await strike("early")
      if (early !== undefined) return early
      const body = await request.body()
      record.bodyLength = body.length
      const loaded = await world
      const before = await strike("before")
      if (before !== undefined) return before
      const ignoreRange = faults.some(({ kind }) => kind === "ignoreRange")
      const done = answer(() => serve(known, body, ignoreRange, loaded))
      return await strike("after") ?? done
    }
    let response = await run()
    for (const fault of faults) response = await spoil(response, fault)
    return finish(response)
  }

  return {
    handle,
    fetch: serveFetch(handle),
    listen: ({ port = 0 } = {}) => listen(handle, port),
    script: (next) => {
      script = makeScript(next, seed)
    },
    seed,
    moveClock: (millis) => {
      offset += millis
    },
    requests,
    count: (operation) => requests.filter((one) => operation === undefined || one.operation === operation).length,
    amplification: () => {
      const different = new Set(requests.map((one) => `${one.method} ${one.target.replaceAll(/X-Amz-[^&]*/g, "")}`))
      return different.size === 0 ? 1 : requests.length / different.size
    },
    openUploads: () =>
      [...held.values()].flatMap((bucket) =>
        [...bucket.uploads.values()].map((upload) => ({
          bucket: bucket.name,
          key: upload.key,
          uploadId: upload.id,
          parts: [...upload.parts.keys()].toSorted((a, b) => a - b),
        }))
      ),
    object: (bucket, key) => {
      const found = held.get(bucket) && currentObject(held.get(bucket)!, key)?.object
      return found && { bytes: found.bytes, etag: found.etag, headers: found.system, metadata: found.metadata }
    },
  }
}

/** A request whose head makes sense. */
interface Arrived {
  readonly method: string
  readonly target: Target
  readonly headers: ReadonlyMap<string, string>
  readonly operation: PeerOperation
}

/** What `run` answers, or what `refuse` makes of its refusal. */
const attempt = (run: () => Answer, refuse: (failure: S3Failure) => Answer): Answer => {
  try {
    return run()
  } catch (error) {
    return refuse(error instanceof S3Failure ? error : new S3Failure(500, "PeerDefect", String(error)))
  }
}

/** The headers, and those that a presigned URL carries in its query. */
const withQueryHeaders = (headers: ReadonlyMap<string, string>, query: Query): Map<string, string> => {
  const all = new Map(headers)
  for (const [name, value] of query) {
    const header = name.toLowerCase()
    if (header.startsWith("x-amz-") && !signatureParameters.has(header)) all.set(header, value)
  }
  return all
}

/** The headers by name; what was sent more than once is one list. */
const joinHeaders = (headers: PeerRequest["headers"]): ReadonlyMap<string, string> => {
  const joined = new Map<string, string>()
  for (const [name, value] of headers) {
    const before = joined.get(name)
    joined.set(name, before === undefined ? value : `${before},${value}`)
  }
  return joined
}

/** The answer to a HEAD: the headers that the GET would have had. Errors tell their length to nobody. */
const withoutBody = (response: PeerResponse): PeerResponse => {
  const { body } = bare(response.status)
  if (response.status >= 300) return { ...response, body }
  return { ...response, headers: { "content-length": String(response.body.length), ...response.headers }, body }
}
