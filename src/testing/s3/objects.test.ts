import { expect, test } from "bun:test"
import { type Ask, field, fields, openPeer } from "./client-testing.ts"

const start = Date.UTC(2026, 0, 2, 3, 4, 5)

/** The etag of "0123456789". */
const etag = "781e5e245d69b566979b86e28d23f2c7"

const withDigits = async (): Promise<Ask> => {
  const { ask } = openPeer({ clock: () => start })
  await ask("PUT k", { body: "0123456789" })
  return ask
}

const ranges: ReadonlyArray<readonly [string, number, string, string | null]> = [
  ["bytes=0-0", 206, "0", "bytes 0-0/10"],
  ["bytes=3-5", 206, "345", "bytes 3-5/10"],
  ["bytes=7-", 206, "789", "bytes 7-9/10"],
  ["bytes=8-99", 206, "89", "bytes 8-9/10"],
  ["bytes=-3", 206, "789", "bytes 7-9/10"],
  ["bytes=-99", 206, "0123456789", "bytes 0-9/10"],
  ["bytes=5-3", 200, "0123456789", null],
  ["bytes=0-1,4-5", 200, "0123456789", null],
  ["lines=1-2", 200, "0123456789", null],
]

for (const [range, status, body, contentRange] of ranges) {
  test(`range ${range}: ${status}`, async () => {
    const ask = await withDigits()
    const seen = await ask("GET k", { headers: { range } })
    expect([seen.status, seen.text, seen.headers.get("content-range")]).toEqual([status, body, contentRange])
    expect(seen.headers.get("content-length")).toBe(String(body.length))
    const head = await ask("HEAD k", { headers: { range } })
    expect([head.status, head.text, head.headers.get("content-length")]).toEqual([status, "", String(body.length)])
  })
}

test("fault 96: a range that cannot be given is 416, on an empty object too", async () => {
  const ask = await withDigits()
  await ask("PUT empty")
  for (
    const [path, range, size] of [["k", "bytes=10-", 10], ["k", "bytes=-0", 10], ["empty", "bytes=0-", 0]] as const
  ) {
    const seen = await ask(`GET ${path}`, { headers: { range } })
    expect([range, seen.status, seen.code]).toEqual([range, 416, "InvalidRange"])
    expect(seen.headers.get("content-range")).toBe(`bytes */${size}`)
    expect(field(seen.text, "ActualObjectSize")).toBe(String(size))
  }
})

const past = new Date(start - 60_000).toUTCString()
const present = new Date(start).toUTCString()

const reads: ReadonlyArray<readonly [Record<string, string>, number]> = [
  [{ "if-match": `"${etag}"` }, 200],
  [{ "if-match": etag }, 200],
  [{ "if-match": `"x", "${etag}"` }, 200],
  [{ "if-match": "*" }, 200],
  [{ "if-match": '"x"' }, 412],
  [{ "if-match": `W/"${etag}"` }, 412],
  [{ "if-none-match": `"${etag}"` }, 304],
  [{ "if-none-match": "*" }, 304],
  [{ "if-none-match": '"x"' }, 200],
  [{ "if-modified-since": present }, 304],
  [{ "if-modified-since": past }, 200],
  [{ "if-modified-since": "no date" }, 200],
  [{ "if-unmodified-since": present }, 200],
  [{ "if-unmodified-since": past }, 412],
  [{ "if-match": `"${etag}"`, "if-unmodified-since": past }, 200],
  [{ "if-none-match": '"x"', "if-modified-since": present }, 200],
  [{ range: "bytes=0-1", "if-match": '"x"' }, 412],
  [{ range: "bytes=0-1", "if-range": `"${etag}"` }, 206],
  [{ range: "bytes=0-1", "if-range": '"x"' }, 200],
  [{ range: "bytes=0-1", "if-range": present }, 206],
  [{ range: "bytes=0-1", "if-range": past }, 200],
]

for (const [headers, status] of reads) {
  test(`a read with ${JSON.stringify(headers)}: ${status}`, async () => {
    const ask = await withDigits()
    const seen = await ask("GET k", { headers })
    expect([seen.status, seen.code]).toEqual([status, status === 412 ? "PreconditionFailed" : ""])
    if (status === 304) expect([seen.headers.get("etag"), seen.text]).toEqual([`"${etag}"`, ""])
    expect((await ask("HEAD k", { headers })).status).toBe(status)
  })
}

const writes: ReadonlyArray<readonly [string, Record<string, string>, number, string]> = [
  ["PUT k", { "if-none-match": "*" }, 412, "PreconditionFailed"],
  ["PUT new", { "if-none-match": "*" }, 200, ""],
  ["PUT new", { "if-none-match": '"x"' }, 501, "NotImplemented"],
  ["PUT k", { "if-match": `"${etag}"` }, 200, ""],
  ["PUT k", { "if-match": '"x"' }, 412, "PreconditionFailed"],
  ["PUT new", { "if-match": '"x"' }, 404, "NoSuchKey"],
  ["DELETE k", { "if-match": `"${etag}"` }, 204, ""],
  ["DELETE k", { "if-match": "*" }, 204, ""],
  ["DELETE k", { "if-match": '"x"' }, 412, "PreconditionFailed"],
  ["DELETE new", { "if-match": '"x"' }, 404, "NoSuchKey"],
  ["DELETE new", {}, 204, ""],
  ["PUT c", { "x-amz-copy-source": "/test/k" }, 200, ""],
  ["PUT c", { "x-amz-copy-source": "test/none" }, 404, "NoSuchKey"],
  ["PUT c", { "x-amz-copy-source": "none/k" }, 404, "NoSuchBucket"],
  ["PUT c", { "x-amz-copy-source": "k" }, 400, "InvalidArgument"],
  ["PUT k", { "x-amz-copy-source": "/test/k" }, 400, "InvalidRequest"],
  ["PUT k", { "x-amz-copy-source": "/test/k", "x-amz-metadata-directive": "REPLACE" }, 200, ""],
  ["PUT c", { "x-amz-copy-source": "/test/k", "x-amz-copy-source-if-match": `"${etag}"` }, 200, ""],
  ["PUT c", { "x-amz-copy-source": "/test/k", "x-amz-copy-source-if-match": '"x"' }, 412, "PreconditionFailed"],
  ["PUT c", { "x-amz-copy-source": "/test/k", "x-amz-copy-source-if-none-match": etag }, 412, "PreconditionFailed"],
  [
    "PUT c",
    { "x-amz-copy-source": "/test/k", "x-amz-copy-source-if-modified-since": present },
    412,
    "PreconditionFailed",
  ],
  ["PUT c", { "x-amz-copy-source": "/test/k", "if-match": '"x"' }, 404, "NoSuchKey"],
  ["PUT c", { "x-amz-copy-source": "/test/k", "if-none-match": "*" }, 200, ""],
]

for (const [line, headers, status, code] of writes) {
  test(`${line} with ${JSON.stringify(headers)}: ${status}`, async () => {
    const ask = await withDigits()
    const seen = await ask(line, { headers, ...(line.startsWith("PUT") ? { body: "" } : {}) })
    expect([seen.status, seen.code]).toEqual([status, code])
    const untouched = status >= 300 || !line.endsWith(" k") || "x-amz-copy-source" in headers
    const left = await ask("GET k")
    const expected = untouched ? "0123456789" : line.startsWith("PUT") ? "" : "NoSuchKey"
    expect(left.status === 200 ? left.text : left.code).toBe(expected)
  })
}

test("fault 74: of 16 that create at once one wins", async () => {
  const { ask } = openPeer()
  const statuses = await Promise.all(
    Array.from({ length: 16 }, (_, i) => ask("PUT k", { body: String(i), headers: { "if-none-match": "*" } })),
  )
  expect(statuses.filter(({ status }) => status === 200).length).toBe(1)
  expect(statuses.filter(({ status }) => status === 412).length).toBe(15)
})

test("headers of an answer can be replaced by parameters", async () => {
  const ask = await withDigits()
  const query = "response-content-type=text%2Fcsv&response-cache-control=no-store&response-content-disposition=inline"
  const { headers } = await ask(`GET k?${query}`)
  expect(["content-type", "cache-control", "content-disposition"].map((name) => headers.get(name)))
    .toEqual(["text/csv", "no-store", "inline"])
})

test("a copy keeps the bytes, and the metadata unless it is replaced", async () => {
  const { ask, peer } = openPeer()
  await ask("PUT k", { body: "x", headers: { "x-amz-meta-a": "1", "content-type": "text/plain" } })
  await ask("PUT c", { headers: { "x-amz-copy-source": "/test/k", "x-amz-meta-b": "2" } })
  expect(peer.object("test", "c")).toMatchObject({ metadata: { a: "1" }, headers: { "content-type": "text/plain" } })
  const replace = { "x-amz-copy-source": "/test/k", "x-amz-metadata-directive": "REPLACE", "x-amz-meta-b": "2" }
  expect(field((await ask("PUT c", { headers: replace })).text, "ETag")).toBe(
    "&quot;9dd4e461268c8034f5c8564e155c67a6&quot;",
  )
  expect(peer.object("test", "c")?.metadata).toEqual({ b: "2" })
})

test("limits: the size of an object, of a copy, of metadata, of a key", async () => {
  const { ask, peer } = openPeer({ maxSize: 4 })
  expect((await ask("PUT k", { body: "12345" })).code).toBe("EntityTooLarge")
  expect((await ask("PUT k", { body: "1234" })).status).toBe(200)
  expect((await ask("PUT k", { body: "", headers: { "x-amz-meta-a": "x".repeat(2048) } })).code).toBe(
    "MetadataTooLarge",
  )
  expect((await ask(`PUT ${"k".repeat(1025)}`, { body: "" })).code).toBe("KeyTooLongError")
  expect(peer.object("test", "k")?.bytes.length).toBe(4)
})

test("fault 44: many keys are deleted at once, with a result each", async () => {
  const { ask } = openPeer()
  for (const key of ["a", "b%26"]) await ask(`PUT ${key}`, { body: key })
  const remove = async (quiet: boolean, body: string) => {
    const xml = `<Delete>${quiet ? "<Quiet>true</Quiet>" : ""}${body}</Delete>`
    const md5 = new Uint8Array((await import("node:crypto")).createHash("md5").update(xml).digest()).toBase64()
    return await ask("POST ?delete", { body: xml, headers: { "content-md5": md5 } })
  }
  const mixed = await remove(
    false,
    '<Object><Key>a</Key><ETag>"x"</ETag></Object><Object><Key>b&amp;</Key></Object><Object><Key>none</Key></Object>',
  )
  expect(mixed.status).toBe(200)
  expect(fields(mixed.text, "Key")).toEqual(["a", "b&amp;", "none"])
  expect(mixed.code).toBe("PreconditionFailed")
  const quiet = await remove(true, "<Object><Key>a</Key></Object>")
  expect([quiet.status, fields(quiet.text, "Key")]).toEqual([200, []])
  expect((await ask("GET a")).status).toBe(404)
  expect((await ask("POST ?delete", { body: "<Delete></Delete>" })).code).toBe("InvalidRequest")
  expect((await remove(false, "")).code).toBe("MalformedXML")
  expect((await remove(false, "<Object>")).code).toBe("MalformedXML")
})

test("tags are given, read, changed and removed", async () => {
  const { ask } = openPeer()
  await ask("PUT k", { body: "", headers: { "x-amz-tagging": "a=1&b=x%26y" } })
  const tags = async () => {
    const { text } = await ask("GET k?tagging")
    return fields(text, "Key").map((key, i) => [key, fields(text, "Value")[i]])
  }
  expect(await tags()).toEqual([["a", "1"], ["b", "x&amp;y"]])
  const tagging = "<Tagging><TagSet><Tag><Key>c</Key><Value>3</Value></Tag></TagSet></Tagging>"
  expect((await ask("PUT k?tagging", { body: tagging })).status).toBe(200)
  expect(await tags()).toEqual([["c", "3"]])
  expect((await ask("DELETE k?tagging")).status).toBe(204)
  expect(await tags()).toEqual([])
})

const enable = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"

test("fault 51: versions and delete markers", async () => {
  const { ask } = openPeer()
  await ask("PUT k", { body: "before" })
  await ask("PUT ?versioning", { body: enable })
  const one = (await ask("PUT k", { body: "one" })).headers.get("x-amz-version-id")!
  const removed = await ask("DELETE k")
  const marker = removed.headers.get("x-amz-version-id")!
  expect([removed.status, removed.headers.get("x-amz-delete-marker")]).toEqual([204, "true"])
  const gone = await ask("GET k")
  expect([gone.code, gone.headers.get("x-amz-delete-marker")]).toEqual(["NoSuchKey", "true"])
  expect((await ask(`GET k?versionId=${marker}`)).status).toBe(405)
  expect((await ask(`GET k?versionId=${one}`)).text).toBe("one")
  expect((await ask("GET k?versionId=null")).text).toBe("before")
  expect((await ask("GET k?versionId=none")).code).toBe("NoSuchVersion")
  expect((await ask("PUT k", { body: "x", headers: { "if-match": "*" } })).code).toBe("NoSuchKey")
  expect((await ask("DELETE k", { headers: { "if-match": "*" } })).code).toBe("PreconditionFailed")
  await ask("PUT c", { headers: { "x-amz-copy-source": `/test/k?versionId=${one}` } })
  expect((await ask("GET c")).text).toBe("one")
  expect((await ask(`DELETE k?versionId=${marker}`)).headers.get("x-amz-delete-marker")).toBe("true")
  expect((await ask("GET k")).text).toBe("one")
  await ask("PUT ?versioning", { body: enable.replace("Enabled", "Suspended") })
  expect((await ask("PUT k", { body: "after" })).headers.get("x-amz-version-id")).toBe("null")
  expect((await ask(`GET k?versionId=${one}`)).text).toBe("one")
  expect(fields((await ask("GET ?versions&prefix=k")).text, "VersionId")).toEqual(["null", one])
})

test("bucket configurations are kept and given back", async () => {
  const { ask } = openPeer()
  expect((await ask("GET ?lifecycle")).code).toBe("NoSuchLifecycleConfiguration")
  expect((await ask("PUT ?lifecycle", { body: "<LifecycleConfiguration/>" })).status).toBe(200)
  expect((await ask("GET ?lifecycle")).text).toBe("<LifecycleConfiguration/>")
  expect((await ask("DELETE ?lifecycle")).status).toBe(204)
  expect((await ask("GET ?lifecycle")).status).toBe(404)
})

test("what is no operation, no bucket or no URI is refused", async () => {
  const { ask, peer } = openPeer()
  expect((await ask("PATCH k")).code).toBe("MethodNotAllowed")
  expect((await ask("GET %zz")).code).toBe("InvalidURI")
  expect((await ask("GET %ff")).code).toBe("InvalidURI")
  const other = await peer.fetch("http://127.0.0.1/none/k")
  expect([other.status, field(await other.text(), "Code")]).toEqual([404, "NoSuchBucket"])
})
