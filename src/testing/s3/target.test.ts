import { expect, test } from "bun:test"
import { parameter, parseTarget, percentDecode, percentEncode } from "./target.ts"

const domains = ["s3.localhost", "s3.amazonaws.com"]

const table: ReadonlyArray<readonly [string, string, string, string]> = [
  ["/", "127.0.0.1:9", "", ""],
  ["/b", "127.0.0.1:9", "b", ""],
  ["/b/", "127.0.0.1:9", "b", ""],
  ["/b/k/l", "127.0.0.1:9", "b", "k/l"],
  ["/b//k/", "127.0.0.1:9", "b", "/k/"],
  ["/b/../k", "127.0.0.1:9", "b", "../k"],
  ["/b/%2e/+%2B%20", "127.0.0.1:9", "b", "./++ "],
  ["/k/l", "b.s3.localhost:9", "b", "k/l"],
  ["/", "b.c.S3.amazonaws.com", "b.c", ""],
  ["/b/k", "s3.amazonaws.com", "b", "k"],
]

for (const [target, host, bucket, key] of table) {
  test(`parseTarget() ${target} at ${host}`, () => {
    const parsed = parseTarget(target, host, domains)
    expect([parsed.bucket, parsed.key]).toEqual([bucket, key])
  })
}

test("parseTarget() keeps the parameters, with and without values", () => {
  const { query } = parseTarget("/b?uploads&prefix=a%2Fb+c&x=1=2&prefix=d", "h", domains)
  expect(query).toEqual([["uploads", ""], ["prefix", "a/b c"], ["x", "1=2"], ["prefix", "d"]])
  expect([parameter(query, "prefix"), parameter(query, "none")]).toEqual(["a/b c", undefined])
})

test("percentEncode() and percentDecode() are each other's reverse", () => {
  const text = "aZ09-._~ !*'()/+%&=?#ü\u{1f600}\u0000"
  expect(percentEncode(text)).toBe("aZ09-._~%20%21%2A%27%28%29%2F%2B%25%26%3D%3F%23%C3%BC%F0%9F%98%80%00")
  expect(percentDecode(percentEncode(text))).toBe(text)
  expect(percentEncode("a/b", "/")).toBe("a/b")
  for (const wrong of ["%", "%4", "%zz", "%c3"]) expect(() => percentDecode(wrong)).toThrow("URI")
})
