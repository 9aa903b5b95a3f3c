/** What the suite cannot see: what is asked of R2, what its answers and errors become, and who frees what. */
import { expect, test } from "bun:test"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Redacted from "effect/Redacted"
import type { Backend } from "../../backend.ts"
import { type Reason, StoreError } from "../../error.ts"
import { bytes, collect, expectBytes, expectReason, putOptions } from "../conformance.ts"
import type { R2Bucket, R2Object } from "./bucket.ts"
import { r2Error } from "./errors.ts"
import { make, type R2BindingOptions } from "./mod.ts"

const never = (): never => {
  throw new Error("this call was not expected")
}

/** A bucket that can do what is given, and to which anything else must not happen. */
const stub = (methods: Partial<R2Bucket>): R2Bucket => ({
  head: never,
  get: never,
  put: never,
  delete: never,
  list: never,
  createMultipartUpload: never,
  resumeMultipartUpload: never,
  ...methods,
})

const object = (more?: Partial<R2Object>): R2Object => ({
  version: "v1",
  size: 10,
  etag: "e1",
  uploaded: new Date(0),
  httpMetadata: {},
  customMetadata: {},
  ...more,
})

const bodyOf = (chunks: ReadonlyArray<Uint8Array | Error>, cancelled?: () => void): ReadableStream<Uint8Array> => {
  const left = [...chunks]
  return new ReadableStream({
    type: "bytes",
    pull: (controller) => {
      const next = left.shift()
      if (next instanceof Error) throw next
      if (next !== undefined) return controller.enqueue(next.slice())
      controller.close()
      controller.byobRequest?.respond(0)
    },
    cancel: cancelled,
  })
}

const using = <A>(
  bucket: Partial<R2Bucket>,
  run: (backend: Backend) => Effect.Effect<A, StoreError>,
  options?: R2BindingOptions,
): Promise<A> => Effect.runPromise(Effect.flatMap(make(stub(bucket), options), run))

const data = bytes(1, 10)
const customerKey = Redacted.make(new Uint8Array(32).fill(0xab))
const hex = "ab".repeat(32)

test("a put carries the SHA-256 that R2 checks, the metadata of the user and ours", async () => {
  const asked: Array<unknown> = []
  const options = putOptions(data, {
    writeId: "w",
    metadata: { run: "世界" },
    contentType: "text/plain",
    codec: "zstd",
    length: 99,
    sha256: "00".repeat(32),
    storageClass: "InfrequentAccess",
    encryption: { type: "sse-c", key: customerKey },
    ifNoneMatch: "*",
  })
  await using(
    {
      put: (...call) => {
        asked.push(call)
        return Promise.resolve(object())
      },
    },
    (backend) => backend.put("a", data, options),
    { prefix: "agents" },
  )
  expect(asked).toEqual([["agents/a", data, {
    customMetadata: {
      run: "世界",
      "holdfast-write-id": "w",
      "holdfast-codec": "zstd",
      "holdfast-sha256": "00".repeat(32),
      "holdfast-length": "99",
      "holdfast-crc32": options.crc32.toString(16).padStart(8, "0"),
    },
    httpMetadata: { contentType: "text/plain" },
    storageClass: "InfrequentAccess",
    ssecKey: hex,
    sha256: await crypto.subtle.digest("SHA-256", data),
    onlyIf: { etagDoesNotMatch: "*" },
  }]])
})

test("the key of sse-c travels with a get and with every part", async () => {
  const asked: Array<unknown> = []
  await using(
    {
      get: (_, options) => {
        asked.push(options)
        return Promise.resolve(object({ body: bodyOf([data]), ssecKeyMd5: "md5" }))
      },
      createMultipartUpload: (_, { ssecKey }) => {
        asked.push({ ssecKey })
        return Promise.resolve({ uploadId: "u", uploadPart: never, complete: never, abort: never })
      },
      resumeMultipartUpload: () => ({
        uploadId: "u",
        uploadPart: (partNumber, _, options) => {
          asked.push(options)
          return Promise.resolve({ partNumber, etag: "p" })
        },
        complete: never,
        abort: never,
      }),
    },
    (backend) =>
      Effect.gen(function* () {
        const { info } = yield* backend.get("a", { customerKey })
        expect(info.encryption).toEqual({ type: "sse-c" })
        const upload = yield* backend.createUpload("a", {
          writeId: "w",
          encryption: { type: "sse-c", key: customerKey },
        })
        yield* backend.putPart(upload, { number: 1, offset: 0, crc32: 0 }, data)
      }),
  )
  expect(asked).toEqual([{ ssecKey: hex }, { ssecKey: hex }, { ssecKey: hex }])
})

test("a put with ifMatch is refused when the same bytes were saved anew, which R2's own etag cannot tell", async () => {
  const error = await using(
    { head: () => Promise.resolve(object({ version: "v2" })) },
    (backend) => expectReason(backend.put("a", data, putOptions(data, { ifMatch: "e1.v1" })), "PreconditionFailed"),
  )
  expect(error.detail).toBe('its etag is "e1.v2", ifMatch asks for "e1.v1"')
})

test("a get with ifMatch that R2 lets through is refused, and its body freed, when it is of another write", async () => {
  let cancelled = 0
  await using(
    {
      get: (_, options) => {
        expect(options.onlyIf).toEqual({ etagMatches: "e1" })
        return Promise.resolve(object({ version: "v2", body: bodyOf([data], () => void cancelled++) }))
      },
    },
    (backend) => expectReason(backend.get("a", { ifMatch: "e1.v1" }), "PreconditionFailed"),
  )
  expect(cancelled).toBe(1)
})

test("an etag that is not ours matches nothing", async () => {
  await using(
    {
      get: (_, { onlyIf }) => {
        expect(onlyIf).toEqual({ etagMatches: "none" })
        return Promise.resolve(object())
      },
    },
    (backend) => expectReason(backend.get("a", { ifMatch: "e1" }), "PreconditionFailed"),
  )
})

for (
  const [what, chunks, reason] of [
    ["ends early", [data.subarray(0, 9)], "Truncated"],
    ["goes on too long", [data, data.subarray(0, 1)], "Protocol"],
    ["breaks", [data.subarray(0, 3), new Error("Network connection lost.")], "Unavailable"],
  ] as ReadonlyArray<[string, ReadonlyArray<Uint8Array | Error>, Reason]>
) {
  test(`a body that ${what} is ${reason}`, async () => {
    const { body } = await using(
      { get: () => Promise.resolve(object({ body: bodyOf(chunks) })) },
      (backend) => backend.get("a"),
    )
    const error: unknown = await collect(body).catch((cause) => cause)
    expect([StoreError.is(error), Reflect.get(error as object, "reason")]).toEqual([true, reason])
  })
}

test("a body that is whole is delivered as it is", async () => {
  const { body } = await using(
    { get: () => Promise.resolve(object({ body: bodyOf([data.subarray(0, 4), data.subarray(4)]) })) },
    (backend) => backend.get("a"),
  )
  expectBytes(await collect(body), data, "the body")
})

test("what R2 answers after its caller has gone is freed: a body is cancelled, an upload aborted", async () => {
  const freed: Array<string> = []
  const answers = { get: Promise.withResolvers<R2Object>(), create: Promise.withResolvers<void>() }
  const done = Promise.withResolvers<void>()
  const bucket: Partial<R2Bucket> = {
    get: () => answers.get.promise,
    createMultipartUpload: async () => {
      await answers.create.promise
      return {
        uploadId: "u",
        uploadPart: never,
        complete: never,
        abort: () => {
          freed.push("upload")
          done.resolve()
          return Promise.resolve()
        },
      }
    },
  }
  await using(bucket, (backend) =>
    Effect.gen(function* () {
      const get = yield* Effect.forkChild(backend.get("a"))
      const create = yield* Effect.forkChild(backend.createUpload("a", { writeId: "w" }))
      yield* Effect.yieldNow
      yield* Fiber.interrupt(get)
      yield* Fiber.interrupt(create)
    }))
  answers.get.resolve(object({ body: bodyOf([data], () => void freed.push("body")) }))
  answers.create.resolve()
  await done.promise
  expect(freed.toSorted()).toEqual(["body", "upload"])
})

test("a prefix is put before names and taken from lists; agents and agents/ are the same", async () => {
  for (const prefix of ["agents", "agents/"]) {
    const page = await using(
      {
        list: (options) => {
          expect(options).toEqual({ prefix: "agents/b", limit: 2, delimiter: "/", cursor: "c" })
          const entry = { key: "agents/b.c", version: "v", size: 1, etag: "e", uploaded: new Date(5) }
          return Promise.resolve({
            objects: [entry],
            delimitedPrefixes: ["agents/b/"],
            truncated: true,
            cursor: "d",
          })
        },
      },
      (backend) => backend.list({ prefix: "b", delimiter: "/", cursor: "c", limit: 2 }),
      { prefix },
    )
    expect(page).toEqual({
      objects: [{ key: "b.c", size: 1, modified: new Date(5), etag: "e.v" }],
      prefixes: ["b/"],
      cursor: "d",
    })
  }
})

test("fault 45: a key that R2 would fold onto another is refused, unless the account's keys are exact", async () => {
  const decomposed = "cafe\u0301"
  await using({}, (backend) =>
    Effect.gen(function* () {
      const calls: ReadonlyArray<Effect.Effect<unknown, StoreError>> = [
        backend.stat(decomposed),
        backend.get(decomposed),
        backend.put(decomposed, data, putOptions(data)),
        backend.remove(decomposed),
        backend.removeMany(["a", decomposed]),
        backend.createUpload(decomposed, { writeId: "w" }),
      ]
      for (const call of calls) expect((yield* expectReason(call, "InvalidKey")).key).toBe(decomposed)
    }))
  const names: Array<string> = []
  const head = (name: string) => {
    names.push(name)
    return Promise.resolve(object())
  }
  await using({ head }, (backend) => backend.stat(decomposed), { exactKeys: true })
  await using({ head }, (backend) => backend.stat(decomposed.normalize()))
  expect(names).toEqual([decomposed, "café"])
})

test("a key that is too long together with the prefix is refused", () =>
  using(
    {},
    (backend) => expectReason(backend.stat("x".repeat(1020)), "InvalidKey"),
    { prefix: "agents" },
  ))

test("metadata that others wrote under our names counts only if it looks like ours", async () => {
  const customMetadata = {
    Run: "1",
    "holdfast-length": "-5",
    "holdfast-sha256": "short",
    "holdfast-crc32": "0000000g",
    "holdfast-more": "x",
  }
  const info = await using(
    { head: () => Promise.resolve(object({ customMetadata, storageClass: "Standard" })) },
    (backend) => backend.stat("a"),
  )
  expect(info).toEqual({
    key: "a",
    size: 10,
    etag: "e1.v1",
    modified: new Date(0),
    metadata: { run: "1" },
    ...{ contentType: undefined, crc32: undefined, sha256: undefined, codec: undefined, length: undefined },
    ...{ writeId: undefined, encryption: undefined, storageClass: undefined },
  })
})

test("what a bucket does not have is refused before anything is asked of it", async () => {
  await using({}, (backend) =>
    Effect.gen(function* () {
      yield* expectReason(backend.createUpload("a", { writeId: "w", resumable: true }), "Unsupported")
      yield* expectReason(backend.remove("a", { ifMatch: "e1.v1" }), "Unsupported")
      const options = { size: 0, ifNoneMatch: "*" } as const
      yield* expectReason(backend.completeUpload({ id: "u", key: "a" }, [], options), "Unsupported")
    }))
})

test("removing no keys asks nothing, and many are one request", async () => {
  const asked: Array<unknown> = []
  const remove = (keys: string | Array<string>) => {
    asked.push(keys)
    return Promise.resolve()
  }
  await using({ delete: remove }, (backend) => Effect.all([backend.removeMany([]), backend.removeMany(["a", "b"])]))
  expect(asked).toEqual([["a", "b"]])
})

test("aborting an upload that is over is no error, and any other failure is", async () => {
  const failing = (message: string): Partial<R2Bucket> => ({
    resumeMultipartUpload: () => ({
      uploadId: "u",
      uploadPart: never,
      complete: never,
      abort: () => Promise.reject(new Error(message)),
    }),
  })
  const upload = { id: "u", key: "a" }
  const gone = "abortMultipartUpload: The specified multipart upload does not exist. (10024)"
  await using(failing(gone), (backend) => backend.abortUpload(upload))
  const unwell = "abortMultipartUpload: We encountered an internal error. Please try again. (10001)"
  await using(failing(unwell), (backend) => expectReason(backend.abortUpload(upload), "Unavailable"))
})

test("a binding that is missing, and a prefix that cannot be one, are Config", async () => {
  const missing = { BUCKET: undefined } as unknown as { readonly BUCKET: R2Bucket }
  const error = await Effect.runPromise(expectReason(make(missing.BUCKET), "Config"))
  expect(error.hint).toContain("[[r2_buckets]]")
  await Effect.runPromise(expectReason(make(stub({}), { prefix: "../x/" }), "Config"))
})

const said = (text: string, code: number): Error => new Error(`put: ${text} (${code})`)

const table: ReadonlyArray<[thrown: unknown, reason: Reason, transient: boolean, ambiguous: boolean]> = [
  [said("We encountered an internal error. Please try again.", 10001), "Unavailable", true, true],
  [said("Unauthorized", 10002), "Unauthorized", false, false],
  [said("Access denied", 10003), "Forbidden", false, false],
  [said("The specified bucket does not exist.", 10006), "Config", false, false],
  [said("Your proposed upload is smaller than the minimum allowed object size.", 10011), "InvalidInput", false, false],
  [said("Your metadata headers exceed the maximum allowed metadata size.", 10012), "InvalidInput", false, false],
  [said("The specified object name is not valid.", 10020), "InvalidKey", false, false],
  [said("The specified multipart upload does not exist.", 10024), "NotFound", false, false],
  [said("One or more of the specified parts could not be found.", 10025), "InvalidInput", false, false],
  [said("At least one of the pre-conditions you specified did not hold.", 10031), "PreconditionFailed", false, false],
  [said("The SHA-256 checksum you specified did not match\nwhat we received.", 10037), "Corrupt", true, false],
  [said("The requested range is not satisfiable", 10039), "RangeNotSatisfiable", false, false],
  [said("Reduce your request rate for this object.", 10058), "RateLimited", true, false],
  [said("The object is locked by the bucket policy.", 10069), "Forbidden", false, false],
  [said("Your proposed upload exceeds the maximum allowed object size.", 100100), "TooLarge", false, false],
  [said("Something new.", 19999), "Protocol", false, true],
  [new Error("Network connection lost."), "Unavailable", true, true],
  [new Error("Too many subrequests by single Worker invocation."), "RateLimited", false, false],
  [new TypeError("Part number must be between 1 and 10000 (inclusive)."), "Protocol", false, false],
  ["no error at all", "Unavailable", true, true],
]

for (const [thrown, reason, transient, ambiguous] of table) {
  test(`${thrown instanceof Error ? thrown.message.replaceAll("\n", " ") : thrown} is ${reason}`, () => {
    const error = r2Error("put", "a", thrown)
    expect([error.reason, error.transient, error.ambiguous]).toEqual([reason, transient, ambiguous])
    expect([error.backend, error.operation, error.key, error.cause]).toEqual(["r2-binding", "put", "a", thrown])
    expect(error.message).not.toMatch(/\n|\.$/)
  })
}
