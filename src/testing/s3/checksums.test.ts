import { expect, test } from "bun:test"
import { createHash } from "node:crypto"
import { openPeer } from "./client-testing.ts"
import { checksumNames } from "./hashing.ts"

const md5 = (bytes: Uint8Array | string): string => createHash("md5").update(bytes).digest("base64")

/** Checksums of "hello", computed elsewhere. */
const hello = {
  crc32: "NhCmhg==",
  crc32c: "mnG7TA==",
  crc64nvme: "M3eFcAZSQlc=",
  sha1: "qvTGHdzF6KLavt4PO0gs2a6pQ00=",
  sha256: "LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=",
}

for (const name of checksumNames) {
  test(`fault 106: ${name} is verified, stored and returned`, async () => {
    const { ask, peer } = openPeer()
    const header = `x-amz-checksum-${name}`
    expect((await ask("PUT k", { body: "hellO", headers: { [header]: hello[name] } })).code).toBe("BadDigest")
    expect(peer.object("test", "k")).toBeUndefined()
    const put = await ask("PUT k", { body: "hello", headers: { [header]: hello[name] } })
    expect([put.status, put.headers.get(header)]).toEqual([200, hello[name]])
    const got = await ask("GET k", { headers: { "x-amz-checksum-mode": "ENABLED" } })
    expect([got.headers.get(header), got.headers.get("x-amz-checksum-type")]).toEqual([hello[name], "FULL_OBJECT"])
    expect((await ask("GET k")).headers.get(header)).toBeNull()
    const ranged = await ask("GET k", { headers: { "x-amz-checksum-mode": "ENABLED", range: "bytes=0-1" } })
    expect(ranged.headers.get(header)).toBeNull()
  })
}

test("an object that came without a checksum has one all the same", async () => {
  const { ask } = openPeer()
  await ask("PUT k", { body: "hello" })
  const got = await ask("GET k", { headers: { "x-amz-checksum-mode": "ENABLED" } })
  expect(got.headers.get("x-amz-checksum-crc64nvme")).toBe(hello.crc64nvme)
})

const badChecksums: ReadonlyArray<readonly [Record<string, string>, string]> = [
  [{ "x-amz-checksum-crc32": hello.crc32, "x-amz-checksum-sha1": hello.sha1 }, "InvalidRequest"],
  [{ "x-amz-checksum-crc32": hello.sha1 }, "InvalidRequest"],
  [{ "x-amz-checksum-crc32": "****" }, "InvalidRequest"],
  [{ "x-amz-sdk-checksum-algorithm": "CRC32" }, "InvalidRequest"],
  [{ "content-md5": md5("hellO") }, "BadDigest"],
  [{ "content-md5": "eA==" }, "InvalidDigest"],
]

for (const [headers, code] of badChecksums) {
  test(`refused: ${JSON.stringify(headers)}`, async () => {
    const { ask, peer } = openPeer()
    expect((await ask("PUT k", { body: "hello", headers })).code).toBe(code)
    expect(peer.object("test", "k")).toBeUndefined()
  })
}
