/**
 * The calls of a backend, served one by one to another Holdfast: stored bytes, write ids and checksums as they are.
 *
 * A backend takes for granted that what reaches it has been checked, so everything that comes over the wire is checked
 * here again, as the engine would have done; and so is the CRC-32 of the bytes, where the store does not do that itself.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import {
  completionFrom,
  countIn,
  descriptionDocument,
  type Fields,
  fieldsOf,
  headers as names,
  infoDocument,
  optionalCalls,
  parseJson,
  partsFrom,
  removalsDocument,
  textIn,
  textsIn,
  toHeader,
} from "../backends/http/wire.ts"
import type { Backend, Capabilities, ObjectHead, RemoveResult, SavedFacts, WriteCondition } from "../backend.ts"
import { StoreError } from "../error.ts"
import { conditionFlaw, type Flaw, headFlaw, invalid, optionFlaw, unsupported } from "../flaw.ts"
import { keyFlaw } from "../key.ts"
import { crc32, formatCrc32 } from "../streams/crc32.ts"
import { maxPiece, PieceReceiver, receiveJson, type ReceiveLimits } from "./receive.ts"
import { run } from "./served.ts"

/** A request for one call. */
export interface Call {
  readonly request: Request
  /** Of the object. */
  readonly key: string
  readonly query: URLSearchParams
}

/** Whether a verb may be used on a key; rejects where not. */
export type Permit = (verb: "load" | "save" | "remove", key: string) => Promise<void>

/** Answers each call of the contract. */
export interface Contract {
  readonly describe: () => Response
  readonly stat: (call: Call) => Promise<Response>
  readonly get: (call: Call) => Promise<Response>
  readonly put: (call: Call) => Promise<Response>
  readonly remove: (call: Call) => Promise<Response>
  readonly removeMany: (call: Call, permit: Permit) => Promise<Response>
  readonly copy: (verb: "copy" | "move", call: Call, permit: Permit) => Promise<Response>
  readonly listUploads: (call: Call) => Promise<Response>
  readonly createUpload: (call: Call) => Promise<Response>
  readonly putPart: (call: Call) => Promise<Response>
  readonly listParts: (call: Call) => Promise<Response>
  readonly completeUpload: (call: Call) => Promise<Response>
  readonly abortUpload: (call: Call) => Promise<Response>
}

/** Most keys of one `removeMany`, as the contract has it. */
const removeBatch = 1000

/** Bytes of a part where the store would take smaller ones. */
const usualPart = 8 * 2 ** 20

const json = (value: unknown): Response =>
  new Response(JSON.stringify(value), {
    headers: { "content-type": "application/json", "cache-control": "no-store, no-transform" },
  })

const nothing = (): Response => new Response(null, { status: 204, headers: { "cache-control": "no-store" } })

/** What is true of a backend when it is served: no request is larger than what the server holds in memory. */
const served = (capabilities: Capabilities): Capabilities => {
  const { parts, maxPut, conditional, enforcedChecksum, copy, move, parallelRanges, nestedKeys, lateFacts, maxCopy } =
    capabilities
  const size = (bytes: number): number => Math.min(bytes, maxPiece)
  return {
    parts: parts && {
      ...parts,
      maxSize: size(parts.maxSize),
      // Each part costs a request, and on disk a flush: half as many are a third faster.
      recommendedSize: Math.min(size(parts.maxSize), Math.max(parts.recommendedSize, usualPart)),
      // One part is received while another is stored.
      concurrency: parts.sequential ? 1 : Math.min(3, Math.max(2, parts.concurrency)),
    },
    maxPut: size(maxPut),
    conditional,
    enforcedChecksum,
    copy,
    move,
    parallelRanges,
    nestedKeys,
    lateFacts,
    maxCopy,
  }
}

const refuse = (operation: string, key: string | undefined, flaw: Flaw | undefined): void => {
  if (flaw === undefined) return
  throw new StoreError({ ...flaw, operation, key: key === "" ? undefined : key })
}

const whole = (name: string, value: number | undefined, most: number = Number.MAX_SAFE_INTEGER): Flaw | undefined =>
  invalid(value === undefined ? `${name} is missing; give a whole number` : optionFlaw(name, value, 0, most))

const headOf = (operation: string, key: string, fields: Fields): ObjectHead => {
  const head = {
    writeId: textIn(fields, "writeId") ?? "",
    contentType: textIn(fields, "contentType"),
    metadata: textsIn(fields, "metadata"),
    codec: textIn(fields, "codec"),
  }
  refuse(
    operation,
    key,
    invalid(
      !/^[A-Za-z0-9-]{1,64}$/.test(head.writeId)
        ? "writeId is not made of 1 to 64 letters, digits and hyphens"
        : head.codec !== undefined && !/^[a-z0-9-]{1,32}$/.test(head.codec)
        ? "codec is no name of a codec"
        : fields["metadata"] !== undefined && head.metadata === undefined
        ? "metadata is not made of texts"
        : headFlaw(head),
    ),
  )
  return head
}

const factsOf = (operation: string, key: string, fields: Fields): SavedFacts => {
  const facts = { sha256: textIn(fields, "sha256"), length: countIn(fields, "length") }
  if (facts.sha256 !== undefined && !/^[0-9a-f]{64}$/.test(facts.sha256)) {
    refuse(operation, key, invalid("sha256 is not made of 64 hex digits"))
  }
  return facts
}

const conditionOf = (
  operation: string,
  key: string,
  fields: Fields,
  create: boolean,
  replace: boolean,
): WriteCondition => {
  const condition = {
    ifMatch: textIn(fields, "ifMatch"),
    ifNoneMatch: textIn(fields, "ifNoneMatch") as "*" | undefined,
  }
  refuse(operation, key, conditionFlaw(condition, create, replace))
  return condition
}

/** Serves `backend` within `limits`. */
export const serveContract = (backend: Backend, limits: ReceiveLimits): Contract => {
  const capabilities = served(backend.capabilities)
  const { conditional } = capabilities
  const pieces = new PieceReceiver()
  const { maxBytes = Infinity } = limits

  const sizeFlaw = (name: string, size: number | undefined, most: number): Flaw | undefined =>
    size !== undefined && size > most
      ? { reason: "TooLarge", detail: `${name} is ${size}; the most here is ${most} bytes` }
      : whole(name, size)

  const document = async (operation: string, { key, request }: Call): Promise<Fields> => {
    const fields = fieldsOf(await receiveJson(key, request, limits))
    if (fields === undefined) refuse(operation, key, invalid("the body is no JSON object; see docs/http.md"))
    return fields ?? {}
  }

  const optional = <A>(operation: string, call: A | undefined): A => {
    if (call !== undefined) return call
    throw new StoreError({ operation, ...unsupported("this store has no such call") })
  }

  /** A number of the query; absent is `undefined`, what is none is refused. */
  const numberIn = (operation: string, { key, query }: Call, name: string): number | undefined => {
    const text = query.get(name)
    if (text === null) return undefined
    const value = /^\d{1,15}$/.test(text) ? Number(text) : NaN
    refuse(operation, key, whole(name, value))
    return value
  }

  const textOf = ({ query }: Call, name: string): string | undefined => query.get(name) ?? undefined

  const damagedIn = (call: Call): true | undefined => textOf(call, "damaged") === "true" ? true : undefined

  const uploadOf = (operation: string, call: Call): { readonly id: string; readonly key: string } => {
    const id = textOf(call, "id") ?? ""
    // deno-lint-ignore no-control-regex
    if (id === "" || id.length > 2048 || /[\u0000-\u001f\u007f]/.test(id)) {
      refuse(operation, call.key, invalid("id is missing, or none that an upload has"))
    }
    return { id, key: call.key }
  }

  /** The bytes of a put or a part, whose checksum is right. */
  const piece = <A>(
    operation: string,
    { key, request }: Call,
    size: number,
    announced: number | undefined,
    use: (bytes: Uint8Array) => Effect.Effect<A, StoreError>,
  ): Promise<A> => {
    refuse(operation, key, whole("crc32", announced, 2 ** 32 - 1))
    const checked = (bytes: Uint8Array): Effect.Effect<A, StoreError> => {
      const actual = crc32(bytes)
      if (actual === announced) return use(bytes)
      const detail = `the bytes have the CRC-32 ${formatCrc32(actual)}, ${formatCrc32(announced ?? 0)} was announced`
      return Effect.fail(new StoreError({ reason: "Corrupt", operation, key, detail }))
    }
    const twice = capabilities.enforcedChecksum
    return run(pieces.receive(key, request, size, limits, twice ? use : checked), request.signal)
  }

  return {
    describe: () => {
      const calls = optionalCalls.filter((call) => backend[call] !== undefined)
      return json(descriptionDocument({ backend: backend.name, capabilities, calls }))
    },

    stat: async (call) =>
      json(infoDocument(await run(backend.stat(call.key, { damaged: damagedIn(call) }), call.request.signal))),

    get: async (call) => {
      const { info, length, body } = await run(
        backend.get(call.key, {
          offset: numberIn("get", call, "offset"),
          length: numberIn("get", call, "length"),
          ifMatch: textOf(call, "ifMatch"),
          ifNoneMatch: textOf(call, "ifNoneMatch"),
          damaged: damagedIn(call),
        }),
        call.request.signal,
      )
      return new Response(body, {
        headers: {
          "content-type": "application/octet-stream",
          "content-length": String(length),
          "cache-control": "no-store, no-transform",
          "x-content-type-options": "nosniff",
          [names.info]: toHeader(infoDocument(info)),
        },
      })
    },

    put: async (call) => {
      const { key, request } = call
      const fields = fieldsOf(parseJson(request.headers.get(names.options)))
      if (fields === undefined) {
        refuse("put", key, invalid(`the header ${names.options} is no JSON object; see docs/http.md, or PUT to /o/`))
        return nothing()
      }
      const size = countIn(fields, "size")
      refuse("put", key, sizeFlaw("size", size, Math.min(maxBytes, capabilities.maxPut)))
      const options = {
        ...headOf("put", key, fields),
        ...factsOf("put", key, fields),
        ...conditionOf("put", key, fields, conditional.create, conditional.replace),
        crc32: countIn(fields, "crc32") ?? -1,
      }
      const info = await piece("put", call, size ?? 0, options.crc32, (bytes) => backend.put(key, bytes, options))
      return json(infoDocument(info))
    },

    remove: async (call) => {
      const ifMatch = textOf(call, "ifMatch")
      refuse("remove", call.key, conditionFlaw({ ifMatch }, true, conditional.remove))
      await run(backend.remove(call.key, { ifMatch }), call.request.signal)
      return nothing()
    },

    removeMany: async (call, permit) => {
      const keys = (await document("removeMany", call))["keys"]
      if (!Array.isArray(keys) || keys.length > removeBatch || !keys.every((key) => typeof key === "string")) {
        refuse("removeMany", undefined, invalid(`keys is not a list of at most ${removeBatch} keys`))
        return nothing()
      }
      const refused = new Map<string, StoreError>()
      for (const key of new Set<string>(keys)) {
        try {
          const detail = keyFlaw(key)
          if (detail !== undefined) refuse("removeMany", key, { reason: "InvalidKey", detail })
          await permit("remove", key)
        } catch (error) {
          if (!StoreError.is(error)) throw error
          refused.set(key, error)
        }
      }
      const allowed = keys.filter((key) => !refused.has(key))
      const results = allowed.length === 0 ? [] : await run(backend.removeMany(allowed), call.request.signal)
      const errors = new Map(results.map(({ key, error }) => [key, error]))
      const all = keys.map((key): RemoveResult => {
        const error = refused.get(key) ?? errors.get(key)
        return error === undefined ? { key } : { key, error }
      })
      return json(removalsDocument(all))
    },

    copy: async (verb, call, permit) => {
      const { key, request } = call
      const copy = optional(verb, backend[verb])
      const fields = await document(verb, call)
      const from = textIn(fields, "from") ?? ""
      const detail = keyFlaw(from)
      if (detail !== undefined) refuse(verb, key, { reason: "InvalidKey", detail: `from: ${detail}` })
      await permit("load", from)
      if (verb === "move") await permit("remove", from)
      const options = {
        writeId: headOf(verb, key, fields).writeId,
        ...conditionOf(verb, key, fields, conditional.copy, conditional.copy),
        sourceIfMatch: textIn(fields, "sourceIfMatch"),
      }
      return json(infoDocument(await run(copy(from, key, options), request.signal)))
    },

    listUploads: async (call) => {
      const list = optional("listUploads", backend.listUploads)
      const asked = { prefix: textOf(call, "prefix"), cursor: textOf(call, "cursor") }
      const { uploads, cursor } = await run(list(asked), call.request.signal)
      return json({ uploads: uploads.map(({ id, key, started }) => ({ id, key, started })), cursor })
    },

    createUpload: async (call) => {
      const { key, request } = call
      const head = headOf("createUpload", key, await document("createUpload", call))
      // The client and the upload outlive this process; so should what it has sent.
      const resumable = backend.listParts !== undefined
      const { id } = await run(backend.createUpload(key, { ...head, resumable }), request.signal)
      return json({ id, key })
    },

    putPart: async (call) => {
      const { key } = call
      const upload = uploadOf("putPart", call)
      const [number, offset, size, crc] = ["number", "offset", "size", "crc32"].map((name) =>
        numberIn("putPart", call, name)
      )
      const { maxCount, maxSize } = capabilities.parts ?? { maxCount: 0, maxSize: 0 }
      refuse(
        "putPart",
        key,
        whole("number", number, Math.min(maxCount, Number.MAX_SAFE_INTEGER)) ?? whole("offset", offset) ??
          (number === 0 ? invalid("number is 0; the first part is 1") : undefined) ??
          sizeFlaw("size", size, maxSize) ?? sizeFlaw("the end of the part", (offset ?? 0) + (size ?? 0), maxBytes),
      )
      const place = { number: number ?? 0, offset: offset ?? 0, crc32: crc ?? -1 }
      return json(
        await piece("putPart", call, size ?? 0, crc, (bytes) => backend.putPart(upload, place, bytes)),
      )
    },

    listParts: async (call) => {
      const list = optional("listParts", backend.listParts)
      return json({ parts: await run(list(uploadOf("listParts", call)), call.request.signal) })
    },

    completeUpload: async (call) => {
      const { key, request } = call
      const operation = "completeUpload"
      const upload = uploadOf(operation, call)
      const fields = await document(operation, call)
      const parts = partsFrom(fields)
      if (parts === undefined) refuse(operation, key, invalid("parts is not a list of parts"))
      const completion = completionFrom(fields)
      refuse(operation, key, sizeFlaw("size", completion.size, maxBytes))
      const options = {
        ...completion,
        ...factsOf(operation, key, fields),
        ...conditionOf(operation, key, fields, conditional.complete, conditional.complete),
      }
      return json(infoDocument(await run(backend.completeUpload(upload, parts ?? [], options), request.signal)))
    },

    abortUpload: async (call) => {
      await run(backend.abortUpload(uploadOf("abortUpload", call)), call.request.signal)
      return nothing()
    },
  }
}
