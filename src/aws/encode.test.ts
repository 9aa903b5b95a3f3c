import { expect, test } from "bun:test"
import fc from "fast-check"
import { StoreError } from "../error.ts"
import { encodeKey, encodeQuery } from "./encode.ts"

const thrown = (run: () => unknown): unknown => {
  try {
    run()
  } catch (error) {
    return error
  }
  return undefined
}

const reason = (run: () => unknown): string | undefined => {
  const error = thrown(run)
  return StoreError.is(error) ? error.reason : undefined
}

test("faults 47, 48: no key is changed by the URL parser, and every character comes back", () => {
  const keys = [
    "a//b",
    "//",
    "/a",
    "a/",
    "+",
    "%",
    "%2F",
    "%2e%2e/x",
    "^",
    '`{}|<>"',
    "é",
    "e\u0301",
    "日本",
    "🦕",
    " a ",
    "*'()!",
  ]
  for (let code = 0; code < 0x250; code++) keys.push(`k${String.fromCharCode(code)}y/${String.fromCharCode(code)}x`)
  for (const key of [...keys, "...", "..a", "a..", ".a/b.", ".../x"]) {
    const url = `https://bucket.example/${encodeKey(key)}`
    expect(new URL(url).href).toBe(url)
    expect(new Request(url).url).toBe(url)
    expect(decodeURIComponent(new URL(url).pathname.slice(1))).toBe(key)
  }
})

test("fault 48: a path that the URL parser would shorten is refused", () => {
  for (const key of [".", "..", "a/..", "../a", "a/./b", "/..", "./"]) {
    expect(reason(() => encodeKey(key))).toBe("InvalidKey")
  }
})

test("half of a surrogate pair is refused, in a path and in a query", () => {
  expect(reason(() => encodeKey("a\ud800"))).toBe("InvalidInput")
  expect(reason(() => encodeQuery({ prefix: "\udc00" }))).toBe("InvalidInput")
})

test("encodeKey() escapes all but unreserved characters and slashes", () => {
  expect(encodeKey("a b+c%d!e*f'(g)~h/é")).toBe("a%20b%2Bc%25d%21e%2Af%27%28g%29~h/%C3%A9")
  expect(encodeKey("plain/key-1.2_3~")).toBe("plain/key-1.2_3~")
})

test("encodeQuery() sorts by the escaped name and writes empty values", () => {
  expect(encodeQuery({ uploads: "", "a-b": "1", ab: "+ /", a: "=", A: "&" })).toBe(
    "A=%26&a=%3D&a-b=1&ab=%2B%20%2F&uploads=",
  )
  expect(encodeQuery({})).toBe("")
})

test("random text survives the URL parser in a path and in a query", () => {
  const text = fc.string({ unit: "grapheme", maxLength: 30 })
  fc.assert(fc.property(text, text, (key, value) => {
    fc.pre(!key.split("/").some((segment) => segment === "." || segment === ".."))
    const url = `http://127.0.0.1:9000/${encodeKey(key)}?${encodeQuery({ v: value })}`
    const parsed = new URL(url)
    expect(parsed.href).toBe(url)
    expect(decodeURIComponent(parsed.pathname.slice(1))).toBe(key)
    expect(parsed.searchParams.get("v")).toBe(value)
  }))
})
