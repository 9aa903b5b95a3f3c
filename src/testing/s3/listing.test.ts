import { expect, test } from "bun:test"
import { type Ask, field, fields, openPeer } from "./client-testing.ts"

const stored = async (...keys: ReadonlyArray<string>): Promise<Ask> => {
  const { ask } = openPeer()
  for (const key of keys) await ask(`PUT ${encodeURIComponent(key)}`, { body: key })
  return ask
}

/** Every page of a list, keys and folded prefixes in the order they came. */
const walk = async (ask: Ask, query: string, most: number): Promise<ReadonlyArray<string>> => {
  const seen: Array<string> = []
  let token: string | undefined
  do {
    const next = token === undefined ? "" : `&continuation-token=${encodeURIComponent(token)}`
    const { text } = await ask(`GET ?list-type=2&max-keys=${most}${query}${next}`)
    const page = [
      ...fields(text, "Key"),
      ...[...text.matchAll(/<CommonPrefixes><Prefix>([^<]*)/g)].map((one) => one[1]!),
    ]
    expect(Number(field(text, "KeyCount"))).toBe(page.length)
    seen.push(...page.toSorted())
    token = field(text, "NextContinuationToken")
    expect(field(text, "IsTruncated")).toBe(String(token !== undefined))
  } while (token !== undefined)
  return seen
}

const keys = ["a", "a/1", "a/2", "a0", "b/c/d", "b/c/e", "b/f", "z"]

for (const most of [1, 2, 3, 1000]) {
  test(`lists are whole in pages of ${most}`, async () => {
    const ask = await stored(...keys)
    expect(await walk(ask, "", most)).toEqual(keys)
    expect(await walk(ask, "&prefix=a", most)).toEqual(["a", "a/1", "a/2", "a0"])
    expect(await walk(ask, "&delimiter=/", most)).toEqual(["a", "a/", "a0", "b/", "z"])
    expect(await walk(ask, "&delimiter=/&prefix=b/", most)).toEqual(["b/c/", "b/f"])
    expect(await walk(ask, "&start-after=a/1", most)).toEqual(["a/2", "a0", "b/c/d", "b/c/e", "b/f", "z"])
    expect(await walk(ask, "&start-after=b/c/d&delimiter=/", most)).toEqual(["b/", "z"])
    expect(await walk(ask, "&prefix=none", most)).toEqual([])
  })
}

test("lists are in the order of UTF-8 bytes", async () => {
  // In UTF-16 the second comes first.
  const ask = await stored("\u{1f600}", "\uff5e")
  expect(fields((await ask("GET ?list-type=2")).text, "Key")).toEqual(["\uff5e", "\u{1f600}"])
})

test("fault 43: keys come back exactly, escaped or percent-encoded", async () => {
  const ask = await stored("a b+c%&<\u0001>/ü")
  expect(fields((await ask("GET ?list-type=2")).text, "Key")).toEqual(["a b+c%&amp;&lt;&#x1;&gt;/ü"])
  const url = (await ask("GET ?list-type=2&encoding-type=url&prefix=a%20b")).text
  expect([fields(url, "Key"), field(url, "Prefix"), field(url, "EncodingType")])
    .toEqual([["a+b%2Bc%25%26%3C%01%3E/%C3%BC"], "a+b", "url"])
})

test("an empty page and a full one of no keys", async () => {
  const ask = await stored("a")
  const { text } = await ask("GET ?list-type=2&max-keys=0")
  expect([fields(text, "Key"), field(text, "IsTruncated")]).toEqual([[], "false"])
})

test("what lists are asked for must make sense", async () => {
  const ask = await stored("a")
  expect((await ask("GET ?list-type=2&max-keys=x")).code).toBe("InvalidArgument")
  expect((await ask("GET ?list-type=2&continuation-token=%21")).code).toBe("InvalidArgument")
  expect((await ask("GET ?list-type=2&encoding-type=x")).code).toBe("InvalidArgument")
})

test("versions are listed page by page, newest first, with delete markers", async () => {
  const ask = await stored()
  await ask("PUT ?versioning", {
    body: "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>",
  })
  for (const key of ["a", "a", "b/1", "b/2"]) await ask(`PUT ${key}`, { body: key })
  await ask("DELETE a")
  const seen: Array<string> = []
  let next = ""
  for (;;) {
    const { text } = await ask(`GET ?versions&max-keys=2${next}`)
    seen.push(...[...text.matchAll(/<(Version|DeleteMarker)><Key>([^<]*)<\/Key>.*?<IsLatest>(\w+)/g)]
      .map(([, kind, key, latest]) => `${kind} ${key} ${latest}`))
    if (field(text, "IsTruncated") === "false") break
    next = `&key-marker=${field(text, "NextKeyMarker")}&version-id-marker=${field(text, "NextVersionIdMarker")}`
  }
  expect(seen).toEqual([
    "DeleteMarker a true",
    "Version a false",
    "Version a false",
    "Version b/1 true",
    "Version b/2 true",
  ])
  expect((await ask("GET ?versions&delimiter=/&prefix=b")).text).toContain("<CommonPrefixes><Prefix>b/</Prefix>")
})

test("uploads are listed page by page, those of one key too", async () => {
  const ask = await stored()
  const ids: Array<string> = []
  for (const key of ["b", "a", "a"]) ids.push(field((await ask(`POST ${key}?uploads`)).text, "UploadId")!)
  const first = (await ask("GET ?uploads&max-uploads=1")).text
  expect([fields(first, "UploadId"), field(first, "IsTruncated")]).toEqual([[ids[1]!], "true"])
  const rest = (await ask(`GET ?uploads&key-marker=a&upload-id-marker=${field(first, "NextUploadIdMarker")}`)).text
  expect(fields(rest, "UploadId")).toEqual([ids[2]!, ids[0]!])
  expect(fields((await ask("GET ?uploads&prefix=b")).text, "UploadId")).toEqual([ids[0]!])
})
