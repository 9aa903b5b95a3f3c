import { expect, test } from "bun:test"
import { childrenOf, completeDocument, decodeName, deleteDocument, fitsXml, parseXml, textOf } from "./xml.ts"

test("parseXml() reads elements, entities, CDATA, comments and name spaces", () => {
  const root = parseXml(
    `\ufeff<?xml version="1.0"?>\n <!-- <no> --><s3:List xmlns:s3='http://x/' a = "1">` +
      `<Key>a&amp;b&lt;&gt;&quot;&apos;&#x41;&#66;&#x1F600;</Key><Key><![CDATA[<raw>&amp;]]> and text</Key>` +
      `<Empty/><ETag>&quot;x&quot;</ETag></s3:List>\n`,
  )
  expect(root.name).toBe("List")
  expect(childrenOf(root, "Key").map(({ text }) => text)).toEqual([`a&b<>"'AB😀`, "<raw>&amp; and text"])
  expect(textOf(root, "Empty")).toBe("")
  expect(textOf(root, "ETag")).toBe('"x"')
  expect(textOf(root, "Missing")).toBeUndefined()
})

const whole = "<List><IsTruncated>false</IsTruncated><Contents><Key>a</Key></Contents></List>"

test("fault 26: parseXml() refuses a document that was cut off at any byte", () => {
  expect(parseXml(whole).children.length).toBe(2)
  for (let end = 0; end < whole.length; end++) {
    expect(() => parseXml(whole.slice(0, end))).toThrow(SyntaxError)
  }
})

test("parseXml() refuses what is no document of S3", () => {
  const refused = [
    "",
    "no XML",
    "<html><body><p>Log in<br></body></html>",
    "<a></b>",
    "<a></a><b></b>",
    "<a>&nbsp;</a>",
    "<a>&#x110000;</a>",
    "<a>&amp</a>",
    "<a></a>text",
    "<a b=c></a>",
    "<a><![CDATA[x</a>",
    "</a>",
    "<a></a/>",
    "<".repeat(10),
  ]
  for (const source of refused) expect(() => parseXml(source)).toThrow(SyntaxError)
})

test("fault 133: no document type, no entities of its own, no endless depth; many legal entities are fine", () => {
  const bomb = `<!DOCTYPE a [<!ENTITY b "bbbbbbbbbb">]><a>&b;</a>`
  expect(() => parseXml(bomb)).toThrow(SyntaxError)
  expect(() => parseXml("<a>".repeat(100_000))).toThrow("too deep")
  expect(parseXml(`<a>${"&amp;".repeat(5000)}</a>`).text).toBe("&".repeat(5000))
})

test("parseXml() takes time that grows with the length only", () => {
  // Each is a shape that makes a careless expression backtrack; a quadratic one would need minutes.
  for (
    const source of [`<a ${"b ".repeat(200_000)}`, `<a>${"&".repeat(200_000)}</a>`, `<a ${"b='1' ".repeat(100_000)}`]
  ) {
    const started = performance.now()
    expect(() => parseXml(source)).toThrow(SyntaxError)
    expect(performance.now() - started).toBeLessThan(10_000)
  }
})

test("fault 43: decodeName() takes both ways to write a space, and keeps a plus", () => {
  expect(decodeName("a+b%20c%2Bd/%C3%A9%25")).toBe("a b c+d/é%")
  expect(() => decodeName("%E9")).toThrow(SyntaxError)
})

test("documents carry every key that XML can carry, and others are told", () => {
  const key = `<Key>&amp;"'${"\u{10ffff}"}é`
  const root = parseXml(deleteDocument([key, " b "]))
  expect(childrenOf(root, "Object").map((object) => textOf(object, "Key"))).toEqual([key, " b "])
  expect(fitsXml(key)).toBe(true)
  expect(fitsXml("a\ufffe")).toBe(false)
})

test("completeDocument() lists parts with quoted etags, and checksums where there are any", () => {
  const root = parseXml(completeDocument([{ number: 1, etag: "a&b", crc32: "AAAAAA==" }, { number: 3, etag: "c" }]))
  const parts = childrenOf(root, "Part").map((part) =>
    ["PartNumber", "ETag", "ChecksumCRC32"].map((name) => textOf(part, name))
  )
  expect(parts).toEqual([["1", '"a&b"', "AAAAAA=="], ["3", '"c"', undefined]])
})
