import { expect, test } from "bun:test"
import { escapeXml, parseXml } from "./xml.ts"

test("parseXml() reads elements, text, entities and nothing else", () => {
  const read = parseXml(
    '<?xml version="1.0"?>\n<a xmlns="x"><b>1 &lt; &#50;&#x33;</b><c/><!-- no --><b>&amp;amp;</b></a>\n',
  )
  expect(read.name).toBe("a")
  expect(read.children.map(({ name, text }) => [name, text])).toEqual([["b", "1 < 23"], ["c", ""], ["b", "&amp;"]])
})

const bad = [
  "",
  "text",
  "<a>",
  "</a>",
  "<a></b>",
  "<a/><b/>",
  "<a>&nope;</a>",
  "<a>&amp</a>",
  "<a>&#x110000;</a>",
  '<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>',
  "<a><b</a>",
  "x<a/>",
]

for (const source of bad) {
  test(`fault 133: parseXml() refuses ${JSON.stringify(source)}`, () => {
    expect(() => parseXml(source)).toThrow(SyntaxError)
  })
}

test("fault 133: parseXml() reads many entities and many elements in one go", () => {
  expect(parseXml(`<a>${"&amp;".repeat(50_000)}</a>`).text).toBe("&".repeat(50_000))
  expect(parseXml(`<a>${"<b/>".repeat(50_000)}</a>`).children.length).toBe(50_000)
})

test("escapeXml() is undone by reading", () => {
  const text = "a<b>&\"'\r\n\t\u0001ü\u{1f600}"
  expect(parseXml(`<a>${escapeXml(text)}</a>`).text).toBe(text)
})
