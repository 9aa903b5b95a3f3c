import { expect, test } from "bun:test"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type { Encryption } from "../../backend.ts"
import { bytes, expectBytes, expectReason, putOptions, read } from "../conformance.ts"
import { profiles } from "./mod.ts"
import { minPartSize, open, quick } from "./testing.ts"

const run = Effect.runPromise
const data = bytes(3, 3 * minPartSize + 5)
const parts = { partSize: minPartSize }
const key = bytes(4, 32)

const kinds: ReadonlyArray<Encryption> = [
  { type: "sse-s3" },
  { type: "sse-kms", keyId: "key-1", context: { team: "agents", é: "ü" }, bucketKey: true },
  { type: "sse-kms" },
  { type: "sse-c", key: Redacted.make(key) },
]

for (const encryption of kinds) {
  const name = encryption.type === "sse-kms" && encryption.keyId === undefined
    ? "sse-kms, default key"
    : encryption.type

  test(`${name} is asked for with every write, confirmed, and reported`, async () => {
    const { peer, store } = await run(open({ stores: { encryption } }))
    const made = [await run(store.save("put", data.slice(0, 10))), await run(store.save("upload", data, parts))]
    const copied = await run(
      store.copy("upload", "copy", { sourceCustomerKey: key }).pipe(
        Effect.catch(() => store.copy("upload", "copy")),
      ),
    )
    for (const info of [...made, copied, await run(store.stat("upload"))]) {
      expect(info.encryption?.type).toBe(encryption.type)
    }
    expectBytes(await (await run(store.load("upload"))).bytes(), data, "the object")
    expectBytes(await (await run(store.load("copy", { offset: 7 }))).bytes(), data.slice(7), "the copy")
    const create = Object.fromEntries(
      peer.requests.find(({ operation }) => operation === "CreateMultipartUpload")!.headers,
    )
    if (encryption.type === "sse-kms" && encryption.keyId !== undefined) {
      expect(create["x-amz-server-side-encryption-aws-kms-key-id"]).toBe("key-1")
      expect(create["x-amz-server-side-encryption-bucket-key-enabled"]).toBe("true")
      const context = create["x-amz-server-side-encryption-context"]!
      expect(JSON.parse(new TextDecoder().decode(Uint8Array.fromBase64(context)))).toEqual(encryption.context!)
    }
  })

  test(`fault 123: ${name} that is not confirmed is an error; an upload is not even begun`, async () => {
    const { peer, backend } = await run(open())
    const headers = ["", "-customer-algorithm"].map((end) => [`x-amz-server-side-encryption${end}`, undefined])
    peer.script([{ fault: { kind: "headers", set: Object.fromEntries(headers) } }])
    const put = await run(expectReason(backend.put("k", data, putOptions(data, { encryption })), "Protocol"))
    expect([put.ambiguous, put.transient]).toEqual([false, false])
    expect(put.message).toContain("stored, perhaps unencrypted")
    await run(expectReason(backend.createUpload("k", { writeId: "w", encryption }), "Protocol"))
    expect([peer.openUploads(), peer.count("UploadPart")]).toEqual([[], 0])
    if (encryption.type === "sse-c") return
    peer.script([])
    await run(backend.put("from", data, putOptions(data)))
    peer.script([{ operation: "CopyObject", fault: { kind: "headers", set: Object.fromEntries(headers) } }])
    await run(expectReason(backend.copy!("from", "to", { writeId: "w", encryption }), "Protocol"))
  })
}

test("fault 123: an object under a customer's key is refused without it, and with another", async () => {
  const { backend } = await run(open())
  const customerKey = Redacted.make(key)
  await run(backend.put("k", data, putOptions(data, { encryption: { type: "sse-c", key: customerKey } })))
  expectBytes((await run(read(backend, "k", { customerKey }))).data, data, "the object")
  const none = await run(expectReason(backend.get("k"), "InvalidInput"))
  expect(none.hint).toContain("customerKey")
  const head = await run(expectReason(backend.stat("k"), "InvalidInput"))
  expect(head.hint).toContain("customerKey")
  await run(expectReason(backend.get("k", { customerKey: Redacted.make(bytes(5, 32)) }), "Forbidden"))
})

test("fault 123: a customer's key never travels unencrypted, nor does a service get a kind it has not", async () => {
  const open_ = await run(open({ endpoint: "http://s3.example.com" }))
  expect(open_.backend.capabilities.encryption).toEqual(["sse-s3", "sse-kms"])
  const encryption = { type: "sse-c", key: Redacted.make(key) } as const
  await run(expectReason(open_.backend.put("k", data, putOptions(data, { encryption })), "Unsupported"))
  await run(expectReason(open_.backend.createUpload("k", { writeId: "w", encryption }), "Unsupported"))
  const ceph = await run(open({ profile: quick(profiles.ceph), peer: { quirks: "ceph16" } }))
  await run(
    expectReason(ceph.backend.put("k", data, putOptions(data, { encryption: { type: "sse-s3" } })), "Unsupported"),
  )
  expect([open_.peer.requests.length, ceph.peer.requests.length]).toEqual([0, 0])
})

test("over plain http to another machine the signature covers the bytes; elsewhere the checksum does", async () => {
  const hash = async (endpoint: string | undefined, signPayload?: boolean) => {
    const { peer, store } = await run(open({ endpoint, signPayload }))
    await run(store.save("k", data))
    return Object.fromEntries(peer.requests[0]!.headers)["x-amz-content-sha256"]
  }
  expect(await hash(undefined)).toBe("UNSIGNED-PAYLOAD")
  expect(await hash("http://127.0.0.1:9000")).toBe("UNSIGNED-PAYLOAD")
  expect(await hash("http://minio.example.com")).toMatch(/^[0-9a-f]{64}$/)
  expect(await hash("http://minio.example.com", false)).toBe("UNSIGNED-PAYLOAD")
  expect(await hash(undefined, true)).toMatch(/^[0-9a-f]{64}$/)
})

test("fault 106: bytes that change on their way are refused by the service, and sent again", async () => {
  for (const [name, quirks] of [["aws", "aws"], ["ceph", "ceph16"], ["gcs-interop", "generic"]] as const) {
    let flips = 1
    const inside = await run(open({ profile: quick(profiles[name]), peer: { quirks } }))
    const { store } = await run(
      open({
        profile: quick(profiles[name]),
        fetch: (url, init) => {
          if (flips-- > 0) {
            const body = Uint8Array.from(init.body as Uint8Array<ArrayBuffer>)
            body[100] = body[100]! ^ 1
            return inside.peer.fetch(url, { ...init, body })
          }
          return inside.peer.fetch(url, init)
        },
      }),
    )
    await run(store.save("k", data))
    expectBytes(inside.peer.object("test", "k")!.bytes, data, name)
    expect([name, inside.peer.count("PutObject")]).toEqual([name, 2])
  }
})

test("storage class and tags are sent, and told where they are known", async () => {
  const { peer, store } = await run(open())
  const tags = { team: "a b", "x/y": "é=&" }
  const info = await run(store.save("k", data, { ...parts, storageClass: "STANDARD_IA", tags }))
  expect(info.storageClass).toBe("STANDARD_IA")
  expect((await run(store.stat("k"))).storageClass).toBe("STANDARD_IA")
  const create = Object.fromEntries(peer.requests[0]!.headers)
  expect(create["x-amz-tagging"]).toBe("team=a%20b&x%2Fy=%C3%A9%3D%26")
})
