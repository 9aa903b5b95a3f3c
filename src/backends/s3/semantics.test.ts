/** What S3 and its kin answer that a client must not take at face value. */
import { expect, test } from "bun:test"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Result from "effect/Result"
import type { StoreError } from "../../error.ts"
import { compareKeys } from "../../key.ts"
import { peerCredentials, type PeerFault, type PeerOperation, type PeerRule } from "../../testing/s3/mod.ts"
import { bytes, expectBytes, expectReason, listAll, putOptions, read } from "../conformance.ts"
import { profiles } from "./mod.ts"
import { minPartSize, open, quick, services } from "./testing.ts"

const small = bytes(1, 100)
const large = bytes(2, 5 * minPartSize + 1)

/** Makes an upload of `large`. */
const parts = { partSize: minPartSize }

const rule = (operation: PeerRule["operation"], fault: PeerFault, more?: Partial<PeerRule>): PeerRule => ({
  operation,
  fault,
  ...more,
})

const run = Effect.runPromise

test("fault 12: a throttle is RateLimited, waits as long as asked, and is tried again", async () => {
  const { peer, backend, store } = await run(open())
  const slow = { kind: "error", status: 503, code: "SlowDown", headers: { "retry-after": "7" } } as const
  peer.script([rule("PutObject", slow)])
  const error = await run(expectReason(backend.put("k", small, putOptions(small)), "RateLimited"))
  expect([error.transient, error.ambiguous, error.retryAfter]).toEqual([true, false, 7000])
  peer.script([rule("PutObject", { ...slow, headers: {} }, { times: 2 })])
  await run(store.save("k", small))
  expect(peer.count("PutObject")).toBe(4)
})

test("fault 14: RequestTimeout with 400, and 500, 502, 503, 504, are tried again; other refusals are not", async () => {
  const { peer, store } = await run(open())
  const transient = [
    [400, "RequestTimeout"],
    [500, "InternalError"],
    [502, "BadGateway"],
    [503, "ServiceUnavailable"],
    [
      504,
      "GatewayTimeout",
    ],
  ] as const
  for (const [status, code] of transient) {
    peer.script([rule("GetObject", { kind: "error", status, code }, { times: 1 })])
    await run(store.save(code, small))
    expectBytes(await (await run(store.load(code))).bytes(), small, code)
  }
  for (const [status, code] of [[403, "AccessDenied"], [404, "NoSuchKey"], [400, "InvalidArgument"]] as const) {
    peer.script([rule("HeadObject", { kind: "reply", status }), rule("GetObject", { kind: "error", status, code })])
    const before = peer.count("GetObject")
    await run(Effect.flip(store.load("a")))
    expect([code, peer.count("GetObject")]).toEqual([code, before + 1])
  }
})

const late: ReadonlyArray<readonly [name: string, operation: PeerOperation]> = [
  ["fault 24: CompleteMultipartUpload", "CompleteMultipartUpload"],
  ["fault 25: CopyObject", "CopyObject"],
]

for (const [name, operation] of late) {
  test(`${name} that answers 200 and then an error has failed, and is tried again`, async () => {
    const { peer, store } = await run(open())
    await run(store.save("from", small))
    peer.script([
      rule(operation, { kind: "errorBody", code: "InternalError" }, { nth: 1 }),
      rule(operation, { kind: "spaces", count: 1000 }),
    ])
    if (operation === "CopyObject") await run(store.copy("from", "k"))
    else await run(store.save("k", large, parts))
    expect(peer.count(operation)).toBe(2)
    expectBytes(peer.object("test", "k")!.bytes, operation === "CopyObject" ? small : large, "the object")
    expect(peer.openUploads()).toEqual([])
  })
}

test("fault 25: UploadPartCopy that answers 200 and then an error has failed, and a copy in pieces is whole", async () => {
  const profile = { ...quick(profiles.aws), maxCopy: 100 }
  const { peer, store } = await run(open({ profile }))
  const made = await run(store.save("from", large, { metadata: { run: "1" } }))
  peer.script([rule("UploadPartCopy", { kind: "errorBody", code: "InternalError" }, { nth: 1 })])
  const copied = await run(store.copy("from", "to"))
  expect(peer.count("UploadPartCopy")).toBe(2)
  expectBytes(peer.object("test", "to")!.bytes, large, "the copy")
  expect([copied.size, copied.crc32, copied.metadata]).toEqual([made.size, made.crc32, { run: "1" }])
})

for (const body of ["", "<Complete", "<?xml version='1.0'?><Other/>", "OK"]) {
  test(`fault 26: Complete that answers 200 and ${JSON.stringify(body)} is settled by looking`, async () => {
    const { peer, store } = await run(open())
    // It has taken effect, and says nothing that could be understood.
    peer.script([rule("CompleteMultipartUpload", { kind: "reply", status: 200, body, when: "after" })])
    const info = await run(store.save("done", large, parts))
    expect([info.size, info.writeId]).toEqual([large.length, (await run(store.stat("done"))).writeId])
    // It has not, and says the same.
    peer.script([rule("CompleteMultipartUpload", { kind: "reply", status: 200, body })])
    const error = await run(Effect.flip(store.save("lost", large, parts)))
    expect(error.reason).toBe("CommitUnknown")
    expect([peer.object("test", "lost"), peer.openUploads()]).toEqual([undefined, []])
  })
}

for (const [name, profile, quirks] of services) {
  test(`fault 27: Complete whose answer is lost, and whose retry finds no upload, has succeeded (${name})`, async () => {
    const { peer, store } = await run(open({ profile: quick(profile), peer: { quirks } }))
    peer.script([rule("CompleteMultipartUpload", { kind: "drop", when: "after" }, { nth: 1 })])
    const info = await run(store.save("k", large, parts))
    expect(info.size).toBe(large.length)
    expectBytes(peer.object("test", "k")!.bytes, large, "the object")
    expect(peer.openUploads()).toEqual([])
  })
}

test("fault 28: as 27, but another writer has replaced the object since: never success", async () => {
  const { peer, backend, store } = await run(open())
  peer.script([
    rule("CompleteMultipartUpload", { kind: "drop", when: "after" }, { nth: 1 }),
    rule("CompleteMultipartUpload", {
      kind: "hold",
      // Before the retry is looked at, somebody else has saved.
      until: (async () => {
        while (peer.count("CompleteMultipartUpload") < 2) await new Promise((resolve) => setTimeout(resolve, 1))
        await run(backend.put("k", small, putOptions(small)))
      })(),
    }, { nth: 2 }),
  ])
  const error = await run(Effect.flip(store.save("k", large, parts)))
  expect(error.reason).toBe("CommitUnknown")
  expectBytes(peer.object("test", "k")!.bytes, small, "the other writer's object")
})

test("fault 29: a conditional put whose answer is lost, and whose retry is refused by its own work, has succeeded", async () => {
  const { peer, store } = await run(open())
  peer.script([rule("PutObject", { kind: "drop", when: "after" }, { nth: [1, 3] })])
  const made = await run(store.save("k", small, { ifNoneMatch: "*" }))
  const again = await run(store.save("k", small, { ifMatch: made.etag }))
  expect(again.writeId === made.writeId).toBe(false)
  expect(peer.count("PutObject")).toBeGreaterThanOrEqual(3)
  const error = await run(Effect.flip(store.save("k", small, { ifNoneMatch: "*" })))
  expect([error.reason, error.attempts]).toEqual(["AlreadyExists", 1])
})

test("fault 30: where a service checks no condition, none is sent: Unsupported, before any request", async () => {
  const { peer, store } = await run(open({ profile: quick(profiles.generic), peer: { quirks: "generic" } }))
  for (const condition of [{ ifNoneMatch: "*" }, { ifMatch: "x" }] as const) {
    expect((await run(Effect.flip(store.save("k", small, condition)))).reason).toBe("Unsupported")
  }
  expect((await run(Effect.flip(store.remove("k", { ifMatch: "x" })))).reason).toBe("Unsupported")
  expect(peer.requests.length).toBe(0)
})

test("faults 31, 32: 409 is tried again for a put and ends an upload; 500 is no verdict on a condition", async () => {
  const { peer, backend, store } = await run(open())
  const conflict = { kind: "error", status: 409, code: "ConditionalRequestConflict" } as const
  peer.script([rule(["PutObject", "CompleteMultipartUpload"], conflict, { times: 1 })])
  await run(store.save("k", small, { ifNoneMatch: "*" }))
  expect(peer.count("PutObject")).toBe(2)
  peer.script([rule("CompleteMultipartUpload", conflict)])
  const error = await run(Effect.flip(store.save("other", large, { ...parts, ifNoneMatch: "*" })))
  expect([error.reason, error.transient, peer.count("CompleteMultipartUpload")]).toEqual(["Conflict", false, 1])
  expect(peer.openUploads()).toEqual([])
  peer.script([rule("PutObject", { kind: "error", status: 500, code: "InternalError" })])
  const unclear = await run(
    expectReason(backend.put("n", small, putOptions(small, { ifNoneMatch: "*" })), "Unavailable"),
  )
  expect(unclear.ambiguous).toBe(true)
})

test("fault 31: a conditional put that Ceph answers with UnknownError was overtaken, and is tried again", async () => {
  const { peer, backend, store } = await run(open({ profile: quick(profiles.ceph), peer: { quirks: "ceph16" } }))
  const overtaken = { kind: "error", status: 500, code: "UnknownError" } as const
  const { etag } = await run(backend.put("k", small, putOptions(small)))
  peer.script([rule("PutObject", overtaken)])
  const lost = await run(expectReason(backend.put("k", small, putOptions(small, { ifMatch: etag })), "Conflict"))
  expect([lost.transient, lost.ambiguous]).toEqual([true, false])
  // Without a condition nobody was in the way, and nothing is known.
  const unclear = await run(expectReason(backend.put("k", small, putOptions(small)), "Unavailable"))
  expect([unclear.transient, unclear.ambiguous]).toEqual([true, true])
  peer.script([rule("PutObject", overtaken, { times: 1 })])
  await run(store.save("k", small, { ifMatch: etag }))
})

test("fault 27: Complete of an upload that is over, which Ceph answers with 500, is NotFound", async () => {
  const { peer, backend } = await run(open({ profile: quick(profiles.ceph), peer: { quirks: "ceph16" } }))
  const upload = await run(backend.createUpload("k", { writeId: "w" }))
  const { crc32 } = putOptions(small)
  const part = await run(backend.putPart(upload, { number: 1, offset: 0, crc32 }, small))
  peer.script([rule("CompleteMultipartUpload", { kind: "error", status: 500, code: "InternalError" })])
  const complete = backend.completeUpload(upload, [part], { size: 100, crc32 })
  expect((await run(expectReason(complete, "Unavailable"))).transient).toBe(true)
  await run(backend.abortUpload(upload))
  expect((await run(expectReason(complete, "NotFound"))).transient).toBe(false)
})

test("faults 33, 36: a part or a Complete that fails for good leaves no upload and reports the first error", async () => {
  for (const operation of ["UploadPart", "CompleteMultipartUpload"] as const) {
    const { peer, store } = await run(open())
    peer.script([rule(operation, { kind: "error", status: 403, code: "AccessDenied" }, { times: 1 })])
    const error = await run(Effect.flip(store.save("k", large, parts)))
    expect([error.reason, error.operation]).toEqual(["Forbidden", "save"])
    expect([peer.openUploads(), peer.object("test", "k")]).toEqual([[], undefined])
  }
})

test("fault 33: an abort that leaves something behind is made again", async () => {
  const { peer, backend } = await run(open())
  const upload = await run(backend.createUpload("k", { writeId: "w" }))
  // As when a part was still on its way: the service says that it is done, and the upload is there.
  peer.script([rule("AbortMultipartUpload", { kind: "reply", status: 204 }, { nth: 1 })])
  const error = await run(expectReason(backend.abortUpload(upload), "Unavailable"))
  expect(error.transient).toBe(true)
  await run(backend.abortUpload(upload))
  expect(peer.openUploads()).toEqual([])
})

test("fault 34: an abort that fails keeps the first error; 404 counts as done", async () => {
  const { peer, backend, store } = await run(open())
  peer.script([
    rule("UploadPart", { kind: "error", status: 403, code: "AccessDenied" }),
    rule("AbortMultipartUpload", { kind: "error", status: 500, code: "InternalError" }),
  ])
  expect((await run(Effect.flip(store.save("k", large, parts)))).reason).toBe("Forbidden")
  const [left] = peer.openUploads()
  peer.script([])
  await run(backend.abortUpload({ id: left!.uploadId, key: "k" }))
  await run(backend.abortUpload({ id: left!.uploadId, key: "k" }))
  expect(peer.openUploads()).toEqual([])
})

test("fault 37: parts of R2 have one size, also where the length is unknown", async () => {
  const { peer, store } = await run(open({ profile: quick(profiles.r2), peer: { quirks: "r2" } }))
  const source = new Blob([large]).stream()
  await run(store.save("k", source))
  expectBytes(peer.object("test", "k")!.bytes, large, "the object")
  expect(peer.count("UploadPart")).toBe(6)
})

test("fault 38: what is too large, or a part too small, is refused before it is sent", async () => {
  const parts = { ...quick(profiles.aws).parts, maxCount: 3, maxSize: minPartSize }
  const { peer, store } = await run(open({ profile: { ...profiles.aws, parts, maxPut: minPartSize } }))
  const error = await run(Effect.flip(store.save("k", new Blob([large]).stream())))
  expect(error.reason).toBe("TooLarge")
  expect((await run(Effect.flip(store.save("k", large, { partSize: 10 })))).reason).toBe("InvalidInput")
  expect([peer.count("CompleteMultipartUpload"), peer.openUploads()]).toEqual([0, []])
})

test("faults 39, 40: bodies have a length and need neither trailers nor checksum headers where they are unknown", async () => {
  for (const [, profile, quirks] of services) {
    const { peer, store } = await run(open({ profile: quick(profile), peer: { quirks } }))
    await run(store.save("k", large, parts))
    for (const { headers, operation } of peer.requests) {
      const sent = Object.fromEntries(headers)
      expect(sent["transfer-encoding"]).toBeUndefined()
      expect(sent["x-amz-trailer"]).toBeUndefined()
      if (operation !== "UploadPart") continue
      expect({
        crc32: sent["x-amz-checksum-crc32"] !== undefined,
        md5: sent["content-md5"] !== undefined,
        signed: sent["x-amz-content-sha256"] !== "UNSIGNED-PAYLOAD",
      }).toEqual({ crc32: false, md5: false, signed: false, [profile.protection]: true })
    }
  }
})

const lists = [
  ["a page that goes on and does not say where", (xml: string) => xml.replace(/<Next\w+>[^<]*<\/Next\w+>/g, "")],
  [
    "a page that goes on where it began",
    (xml: string) => xml.replace(/(<NextContinuationToken>)[^<]*/, "$1YQ==").replace(/(<NextKeyMarker>)[^<]*/, "$1a"),
  ],
] as const

for (const [what, edit] of lists) {
  test(`fault 42: ${what} is Protocol, and no endless list`, async () => {
    const { peer, backend } = await run(open())
    for (const key of ["a", "b", "c"]) {
      await run(backend.put(key, small, putOptions(small)))
      await run(backend.createUpload(key, { writeId: key }))
    }
    const fault: PeerFault = {
      kind: "rewrite",
      reply: (reply) => {
        const xml = new TextDecoder().decode(reply.body).replace(
          "<IsTruncated>false",
          "<NextKeyMarker>a</NextKeyMarker>" +
            "<NextContinuationToken>YQ==</NextContinuationToken><IsTruncated>true",
        )
        return { ...reply, body: new TextEncoder().encode(edit(xml)) }
      },
    }
    peer.script([rule(["ListObjectsV2", "ListMultipartUploads", "ListObjectVersions"], fault)])
    const endless = Effect.fnUntraced(
      function* (
        page: (cursor: string | undefined) => Effect.Effect<{ readonly cursor?: string | undefined }, StoreError>,
      ) {
        let cursor: string | undefined
        for (let pages = 0; pages < 10; pages++) {
          cursor = (yield* page(cursor)).cursor
          if (cursor === undefined) break
        }
      },
    )
    await run(expectReason(endless((cursor) => backend.list({ cursor })), "Protocol"))
    await run(expectReason(endless((cursor) => backend.listUploads!({ cursor })), "Protocol"))
    await run(expectReason(endless((cursor) => backend.listVersions!({ cursor })), "Protocol"))
  })
}

test("fault 42: an empty page that goes on is not the end", async () => {
  const { peer, backend } = await run(open())
  for (const key of ["a", "b"]) await run(backend.put(key, small, putOptions(small)))
  const empty =
    "<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>YQ==</NextContinuationToken></ListBucketResult>"
  peer.script([rule("ListObjectsV2", { kind: "reply", status: 200, body: empty }, { nth: 1 })])
  expect((await run(listAll(backend, {}))).objects.map(({ key }) => key)).toEqual(["b"])
})

test("fault 43: keys of all kinds come back from every list as they were given", async () => {
  for (const prefix of ["", "p q/+/%"]) {
    const { backend } = await run(open({ prefix }))
    const keys = ["a b", "a+b", "a%20b", "a%2Bb", "a&amp;b", "<a>", "'\"", "é", "\ufffe", "a//b", "/a", "a/", "😀"]
      .sort(compareKeys)
    for (const key of keys) {
      await run(backend.put(key, small, putOptions(small)))
      await run(backend.createUpload(key, { writeId: "w" }))
    }
    expect((await run(listAll(backend, {}))).objects.map(({ key }) => key)).toEqual(keys)
    expect((await run(backend.listUploads!())).uploads.map(({ key }) => key)).toEqual(keys)
    expect((await run(backend.listVersions!())).versions.map(({ key }) => key)).toEqual(keys)
    const removed = await run(backend.removeMany(keys))
    expect(removed.filter(({ error }) => error !== undefined)).toEqual([])
    expect((await run(listAll(backend, {}))).objects).toEqual([])
  }
})

test("fault 43: names of uploads that are escaped without a word are read as they are meant", async () => {
  const { peer, backend } = await run(open({ profile: quick(profiles.ceph), peer: { quirks: "ceph16" } }))
  for (const key of ["a/ü", "b+c d", "e%"]) await run(backend.createUpload(key, { writeId: "w" }))
  const silent: PeerFault = {
    kind: "rewrite",
    reply: (reply) => {
      const xml = new TextDecoder().decode(reply.body).replace(/<EncodingType>url<\/EncodingType>/, "")
      return { ...reply, body: new TextEncoder().encode(xml) }
    },
  }
  peer.script([rule("ListMultipartUploads", silent)])
  const { uploads } = await run(backend.listUploads!())
  expect(uploads.map(({ key }) => key)).toEqual(["a/ü", "b+c d", "e%"])
  for (const upload of uploads) await run(backend.abortUpload(upload))
  expect(peer.openUploads()).toEqual([])
})

test("fault 44: DeleteObjects answers for each key: refused, gone, and not mentioned", async () => {
  const { peer, backend } = await run(open())
  const body = `<DeleteResult><Deleted><Key>a</Key></Deleted><Error><Key>b</Key><Code>AccessDenied</Code>` +
    `<Message>Access Denied</Message></Error><Error><Key>c</Key><Code>InternalError</Code></Error>` +
    `<Error><Key>d</Key><Code>NoSuchKey</Code></Error></DeleteResult>`
  peer.script([rule("DeleteObjects", { kind: "reply", status: 200, body })])
  const results = await run(backend.removeMany(["a", "b", "c", "d", "e"]))
  const reasons = results.map(({ key, error }) => [key, error?.reason, error?.transient])
  expect(reasons).toEqual([
    ["a", undefined, undefined],
    ["b", "Forbidden", false],
    ["c", "Unavailable", true],
    ["d", undefined, undefined],
    ["e", "Protocol", false],
  ])
  expect(results[1]?.error?.key).toBe("b")
  peer.script([rule("DeleteObjects", { kind: "error", status: 403, code: "AccessDenied" })])
  await run(expectReason(backend.removeMany(["a"]), "Forbidden"))
})

test("fault 44: where there is no DeleteObjects, keys are removed one by one", async () => {
  const { peer, backend } = await run(open({ profile: { ...quick(profiles.generic), batchDelete: false } }))
  await run(backend.put("a", small, putOptions(small)))
  peer.script([rule("DeleteObject", { kind: "error", status: 403, code: "AccessDenied" }, { nth: 2 })])
  const results = await run(backend.removeMany(["a", "b", "c"]))
  expect(results.filter(({ error }) => error?.reason === "Forbidden").length).toBe(1)
  expect([peer.count("DeleteObject"), peer.count("DeleteObjects")]).toEqual([3, 0])
})

test("fault 45: a key that R2 would fold into another is refused before any request", async () => {
  const { peer, backend } = await run(open({ profile: quick(profiles.r2), peer: { quirks: "r2" } }))
  const error = await run(expectReason(backend.put("e\u0301", small, putOptions(small)), "InvalidKey"))
  expect(error.hint).toContain("NFC")
  expect(peer.requests.length).toBe(0)
  await run(backend.put("\u00e9", small, putOptions(small)))
  expect((await run(listAll(backend, {}))).objects.map(({ key }) => key)).toEqual(["\u00e9"])
})

test("faults 46, 47: a key that cannot be a file's path is refused before any request where objects are files", async () => {
  const { peer, backend } = await run(open({ profile: quick(profiles.versitygw) }))
  for (const key of ["/a", "a//b", "a/", "x".repeat(256), "a\ufffe"]) {
    await run(expectReason(backend.put(key, small, putOptions(small)), "InvalidKey"))
  }
  expect(peer.requests.length).toBe(0)
  await run(backend.put(`a/${"x".repeat(255)}`, small, putOptions(small)))
})

test("fault 46: where a and a/b cannot both be, the second is a Conflict and the first stays", async () => {
  const { backend } = await run(open({ profile: quick(profiles.minio), peer: { quirks: "minio" } }))
  await run(backend.put("a", small, putOptions(small)))
  const error = await run(expectReason(backend.put("a/b", small, putOptions(small)), "Conflict"))
  expect(error.transient).toBe(false)
  expectBytes((await run(read(backend, "a"))).data, small, "the first")
})

test("faults 47, 48: slashes stay where they are; a . or .. segment is refused before any request", async () => {
  const { peer, backend } = await run(open())
  for (const key of ["/a", "a//b", "a/", "//"]) {
    await run(backend.put(key, small, putOptions(small)))
    expect([key, peer.object("test", key)?.bytes.length]).toEqual([key, 100])
  }
  const before = peer.requests.length
  for (const key of [".", "a/../b", "a/.", "../a"]) {
    await run(expectReason(backend.put(key, small, putOptions(small)), "InvalidKey"))
  }
  expect(peer.requests.length).toBe(before)
})

test("fault 19: the bucket's region is learnt from the answer, once, whatever the request was", async () => {
  const { peer, store } = await run(
    open({
      region: "us-east-1",
      peer: { region: "eu-west-1", domains: ["s3.us-east-1.amazonaws.com", "s3.eu-west-1.amazonaws.com"] },
    }),
  )
  await run(store.save("k", large, parts))
  const refused = peer.requests.filter(({ status }) => status !== 200 && status !== 204).length
  await run(store.load("k").pipe(Effect.flatMap((loaded) => Effect.promise(() => loaded.bytes()))))
  expect(refused).toBe(1)
  const hosts = peer.requests.map(({ headers }) => Object.fromEntries(headers)["host"])
  expect(hosts[0]).toBe("test.s3.us-east-1.amazonaws.com")
  expect(new Set(hosts.slice(1))).toEqual(new Set(["test.s3.eu-west-1.amazonaws.com"]))
})

test("fault 19: a redirect without an end, or to a region that makes no sense, is Config", async () => {
  const domains = [1, 2, 3, 4, 5].map((n) => `s3.eu-west-${n}.amazonaws.com`)
  const { peer, backend, store } = await run(open({ peer: { domains: ["s3.us-east-1.amazonaws.com", ...domains] } }))
  for (const region of ["us-east-1", "evil.example.com/", "x".repeat(40)]) {
    peer.script([{ fault: { kind: "reply", status: 301, headers: { "x-amz-bucket-region": region } } }])
    const error = await run(expectReason(backend.stat("k"), "Config"))
    expect(error.transient).toBe(false)
  }
  let turn = 0
  peer.script([{
    fault: {
      kind: "rewrite",
      reply: (reply) => ({
        ...reply,
        status: 301,
        headers: { "x-amz-bucket-region": `eu-west-${++turn}` },
        body: new Uint8Array(0),
      }),
    },
  }])
  expect((await run(Effect.flip(store.load("k")))).reason).toBe("Config")
  expect(turn).toBe(5)
})

test("fault 49: a clock that is off by an hour is learnt once, for 50 requests at a time", async () => {
  for (const off of [3_600_000, -3_600_000]) {
    const { peer, store } = await run(open())
    peer.moveClock(off)
    const saves = Array.from({ length: 50 }, (_, index) => store.save(`k${index}`, small))
    await run(Effect.all(saves, { concurrency: "unbounded" }))
    const before = peer.requests.length
    await run(store.save("later", small))
    expect(peer.requests.length).toBe(before + 1)
    expect(before).toBeLessThanOrEqual(100)
  }
})

test("faults 50, 125: an attempt is signed afresh, with new credentials once the old have ended", async () => {
  let asked = 0
  const { peer, store } = await run(
    open({
      credentials: () => {
        asked++
        return Promise.resolve({ ...peerCredentials, expiration: new Date(Date.now() + 3_600_000) })
      },
    }),
  )
  peer.script([rule("UploadPart", { kind: "error", status: 400, code: "ExpiredToken" }, { nth: 2 })])
  await run(store.save("k", large, parts))
  expect(asked).toBe(2)
  expect(new Set(peer.requests.map(({ target }) => /uploadId=([^&]+)/.exec(target)?.[1])).size).toBe(2)
  expectBytes(peer.object("test", "k")!.bytes, large, "the object")
  // A HEAD is refused without a code; why is asked with a GET.
  peer.script([
    rule("HeadObject", { kind: "reply", status: 400 }, { nth: 1 }),
    rule("GetObject", { kind: "error", status: 400, code: "ExpiredToken" }, { nth: 1 }),
  ])
  await run(store.stat("k"))
  expect(asked).toBe(3)
})

test("fault 51: 403 for a missing key is no absence, and a delete marker is one", async () => {
  const { peer, backend, store } = await run(open({ peer: { anonymous: true } }))
  peer.script([rule(["HeadObject", "GetObject"], { kind: "error", status: 403, code: "AccessDenied" })])
  expect((await run(Effect.flip(store.exists("k")))).reason).toBe("Forbidden")
  const { etag } = (peer.script([]), await run(backend.put("k", small, putOptions(small))))
  peer.script([rule(["HeadObject", "GetObject"], { kind: "error", status: 403, code: "AccessDenied" })])
  await run(expectReason(backend.put("k", small, putOptions(small, { ifMatch: etag })), "Forbidden"))
  peer.script([])
  await peer.fetch("https://test.s3.us-east-1.amazonaws.com/?versioning", {
    method: "PUT",
    body: "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>",
  })
  await run(backend.put("k", small, putOptions(small)))
  await run(backend.remove("k"))
  expect(await run(store.exists("k"))).toBe(false)
})

test("versions are listed, read, restored and removed for good", async () => {
  const { peer, backend, store } = await run(open({ prefix: "p", peer: { anonymous: true } }))
  await peer.fetch("https://test.s3.us-east-1.amazonaws.com/?versioning", {
    method: "PUT",
    body: "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>",
  })
  const first = await run(backend.put("k", small, putOptions(small)))
  const second = await run(store.save("k", large, parts))
  await run(backend.remove("k"))
  const { versions } = await run(backend.listVersions!({ prefix: "k" }))
  expect(versions.map(({ key, removed, latest }) => [key, removed, latest])).toEqual([
    ["k", true, true],
    ["k", false, false],
    ["k", false, false],
  ])
  expect([versions[1]!.versionId, versions[2]!.versionId]).toEqual([second.versionId!, first.versionId!])
  expectBytes((await run(read(backend, "k", { versionId: first.versionId }))).data, small, "the first version")
  await run(expectReason(backend.get("k", { versionId: versions[0]!.versionId }), "NotFound"))
  await run(store.restore("k", first.versionId!))
  expectBytes((await run(read(backend, "k"))).data, small, "the restored object")
  await run(backend.remove("k", { versionId: first.versionId }))
  await run(expectReason(backend.get("k", { versionId: first.versionId }), "NotFound"))
})

test("listParts() tells what an upload has, in pages, and another process can complete it", async () => {
  const { peer, backend } = await run(open())
  const upload = await run(backend.createUpload("k", { writeId: "w", metadata: { run: "1" } }))
  const pieces = [0, 1, 2].map((index) => large.subarray(index * minPartSize, (index + 1) * minPartSize))
  for (const [index, piece] of pieces.entries()) {
    const { crc32 } = putOptions(piece)
    await run(backend.putPart(upload, { number: index + 1, offset: index * minPartSize, crc32 }, piece))
  }
  const { uploads } = await run(backend.listUploads!({ prefix: "k" }))
  expect(uploads.map(({ id, key }) => ({ id, key }))).toEqual([{ id: upload.id, key: "k" }])
  const parts = await run(backend.listParts!(uploads[0]!))
  expect(parts.map(({ number, offset, size }) => [number, offset, size])).toEqual([[1, 0, 1000], [2, 1000, 1000], [
    3,
    2000,
    1000,
  ]])
  const all = large.subarray(0, 3 * minPartSize)
  const { crc32 } = putOptions(all)
  const info = await run(backend.completeUpload(uploads[0]!, parts, { size: all.length, crc32 }))
  expect([info.writeId, info.metadata, info.crc32]).toEqual(["w", { run: "1" }, crc32])
  expectBytes(peer.object("test", "k")!.bytes, all, "the object")
  await run(expectReason(backend.listParts!(upload), "NotFound"))
})

test("a copy mixes nothing when its source is replaced meanwhile, also where the service checks no pin", async () => {
  for (const [name, profile, quirks] of services) {
    const { peer, backend } = await run(open({ profile: quick(profile), peer: { quirks } }))
    await run(backend.put("from", small, putOptions(small, { metadata: { version: "1" } })))
    const other = bytes(9, 100)
    // The source is replaced between the look at it and the copy.
    const replace = (async () => {
      while (peer.count("HeadObject") === 0) await new Promise((resolve) => setTimeout(resolve, 1))
      await run(backend.put("from", other, putOptions(other, { metadata: { version: "2" } })))
    })()
    peer.script([rule(["CopyObject", "UploadPartCopy"], { kind: "hold", until: replace }, { nth: 1 })])
    const error = await run(expectReason(backend.copy!("from", "to", { writeId: "w" }), "Conflict"))
    expect([name, [error.transient, peer.object("test", "to"), peer.openUploads()]]).toEqual([name, [
      true,
      undefined,
      [],
    ]])
    const copied = await run(backend.copy!("from", "to", { writeId: "w" }))
    expect(copied.metadata).toEqual({ version: "2" })
    expectBytes(peer.object("test", "to")!.bytes, other, name)
  }
})

test("a copy names the storage class it is given, and the source's otherwise, in each way that a copy is made", async () => {
  const inPieces = { ...quick(profiles.aws), maxCopy: small.length - 1 }
  const unpinned = quick({ ...profiles.aws, conditional: { ...profiles.aws.conditional, copySource: false } })
  const ways = [
    ["CopyObject", quick(profiles.aws)],
    ["CreateMultipartUpload", inPieces],
    ["CreateMultipartUpload", unpinned],
  ] as const
  for (const [operation, profile] of ways) {
    const { peer, store } = await run(open({ profile }))
    await run(store.save("from", small, { storageClass: "GLACIER_IR" }))
    const expected: Record<string, string | undefined> = { STANDARD_IA: "STANDARD_IA", STANDARD: undefined }
    for (const [storageClass, shown] of Object.entries(expected)) {
      const copied = await run(store.copy("from", "to", { storageClass }))
      expect([copied.storageClass, (await run(store.stat("to"))).storageClass]).toEqual([shown, shown])
      const sent = peer.requests.findLast((request) => request.operation === operation)
      expect(sent?.headers).toContainEqual(["x-amz-storage-class", storageClass])
    }
    expect((await run(store.copy("from", "same"))).storageClass).toBe("GLACIER_IR")
    // An object changes its class by a copy to itself.
    expect((await run(store.copy("from", "from", { storageClass: "STANDARD_IA" }))).storageClass).toBe("STANDARD_IA")
    expectBytes(peer.object("test", "from")!.bytes, small, "the object")
    expect((await run(store.move("from", "moved", { storageClass: "GLACIER_IR" }))).storageClass).toBe("GLACIER_IR")
    await run(expectReason(store.copy("moved", "x", { storageClass: "cold" }), "InvalidInput"))
    expect(peer.object("test", "x")).toBeUndefined()
  }
  const { store } = await run(open({ profile: { ...profiles.aws, storageClasses: false } }))
  await run(store.save("from", small))
  await run(expectReason(store.move("from", "to", { storageClass: "STANDARD_IA" }), "Unsupported"))
  expectBytes(await (await run(store.load("from"))).bytes(), small, "the source")
})

test("a move to itself is refused whatever it is to change, since its last step would remove the object", async () => {
  for (const [name, profile, quirks] of services) {
    const { peer, store } = await run(open({ profile: quick(profile), peer: { quirks } }))
    await run(store.save("k", small))
    const changes = [{}, { storageClass: "STANDARD_IA" }, { encryption: { type: "sse-c", key: bytes(1, 32) } }] as const
    for (const change of changes) await run(expectReason(store.move("k", "k", change), "InvalidInput", "Unsupported"))
    expectBytes(peer.object("test", "k")!.bytes, small, name)
  }
})

test("fault 135: two writes of the same bytes have the same etag at the service, and other ones here", async () => {
  const { peer, backend } = await run(open())
  const first = await run(backend.put("k", small, putOptions(small)))
  const service = peer.object("test", "k")!.etag
  await run(backend.put("k", large, putOptions(large)))
  const third = await run(backend.put("k", small, putOptions(small)))
  expect([peer.object("test", "k")!.etag, third.etag === first.etag]).toEqual([service, false])
  await run(expectReason(backend.put("k", small, putOptions(small, { ifMatch: first.etag })), "PreconditionFailed"))
  await run(expectReason(backend.remove("k", { ifMatch: first.etag }), "PreconditionFailed"))
  await run(expectReason(backend.get("k", { ifMatch: first.etag }), "PreconditionFailed"))
  await run(expectReason(backend.copy!("k", "c", { writeId: "w", sourceIfMatch: first.etag }), "PreconditionFailed"))
  // The bytes are those of the first, and yet it is not that write: there is news.
  expectBytes((await run(read(backend, "k", { ifNoneMatch: first.etag }))).data, small, "the third write")
  await run(expectReason(backend.get("k", { ifNoneMatch: third.etag }), "NotModified"))
})

const soak = globalThis.process?.env["HOLDFAST_SOAK"] === "1" ? 10_000 : 300

test(`fault 90: ${soak} saves that end in the middle leave no upload behind`, async () => {
  const { peer, store } = await run(open())
  const operations: ReadonlyArray<PeerOperation> = ["CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload"]
  for (let round = 0; round < soak; round += 10) {
    peer.script([rule(operations[round / 10 % 3]!, { kind: "delay", millis: 2 })])
    const fibers = Array.from({ length: 10 }, (_, index) =>
      Effect.runFork(
        // Some end by themselves, others are interrupted at one moment or another.
        index === 0
          ? store.save(
            `k${round}`,
            new ReadableStream({
              start: (controller) => controller.enqueue(large),
              pull: (controller) => controller.error(new Error("no more")),
            }),
            parts,
          )
          : store.save(`k${round}`, large, parts),
      ))
    for (let turn = 0; turn < round / 10 % 15; turn++) await new Promise((resolve) => setTimeout(resolve, 0))
    await run(Fiber.interruptAll(fibers))
  }
  peer.script([])
  expect(peer.openUploads()).toEqual([])
})

test("results of a removal that fails as a whole are one failure", async () => {
  const { peer, backend } = await run(open())
  peer.script([rule("DeleteObjects", { kind: "drop", when: "after" })])
  const result = await run(Effect.result(backend.removeMany(["a", "b"])))
  expect(Result.isFailure(result) && result.failure.ambiguous).toBe(true)
})

test("where a bucket keeps versions and the service then ignores conditions, they are refused before the write", async () => {
  const asked = open({ profile: quick(profiles.ceph), peer: { anonymous: true, quirks: "ceph16" } })
  const { peer, backend } = await run(asked)
  const { etag } = await run(backend.put("k", small, putOptions(small)))
  await run(expectReason(backend.put("k", small, putOptions(small, { ifNoneMatch: "*" })), "AlreadyExists"))
  await run(backend.put("k", small, putOptions(small, { ifMatch: etag })))
  expect(peer.requests.filter(({ operation }) => operation === "GetBucketVersioning").length).toBe(1)

  const versioned = await run(asked)
  await versioned.peer.fetch("https://test.s3.us-east-1.amazonaws.com/?versioning", {
    method: "PUT",
    body: "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>",
  })
  const before = await run(versioned.backend.put("k", small, putOptions(small)))
  for (const condition of [{ ifNoneMatch: "*" }, { ifMatch: before.etag }] as const) {
    await run(expectReason(versioned.backend.put("k", small, putOptions(small, condition)), "Unsupported"))
  }
  versioned.peer.script([rule(["GetBucketVersioning"], { kind: "error", status: 403, code: "AccessDenied" })])
  await run(expectReason(versioned.backend.put("k", small, putOptions(small, { ifNoneMatch: "*" })), "Unsupported"))
  expect((await run(versioned.backend.stat("k"))).writeId).toBe(before.writeId!)
})

test("row 23: what R2 refuses for want of a permission says how to get keys that have it", async () => {
  const { peer, backend } = await run(open({ profile: quick(profiles.r2), peer: { quirks: "r2" } }))
  peer.script([rule(["PutObject"], { kind: "error", status: 403, code: "AccessDenied" })])
  const error = await run(Effect.flip(backend.put("k", small, putOptions(small))))
  expect(error.reason).toBe("Forbidden")
  for (const step of ["R2 > Manage R2 API Tokens", '"Object Read & Write"', "copy the Access Key ID"]) {
    expect(error.hint).toContain(step)
  }
})
