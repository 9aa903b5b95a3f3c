import { expect, test } from "bun:test"
import { parseMultistatus } from "./multistatus.ts"

test("properties count where their status is 200, whatever the namespace's prefix", () => {
  for (const p of ["", "D:", "lp1:"]) {
    const found = parseMultistatus(
      `<?xml version="1.0" encoding="utf-8"?>\n<${p}multistatus xmlns="DAV:"><!-- one -->
<${p}response><${p}href>/a%20b/</${p}href><${p}propstat><${p}prop><${p}resourcetype><${p}collection xmlns:D='DAV:'/></${p}resourcetype>
</${p}prop><${p}status>HTTP/1.1 200 OK</${p}status></${p}propstat><${p}propstat><${p}prop><${p}getcontentlength>7</${p}getcontentlength>
</${p}prop><${p}status>HTTP/1.1 404 Not Found</${p}status></${p}propstat></${p}response>
<${p}response><${p}href><![CDATA[/a&b]]></${p}href><${p}propstat><${p}prop><${p}resourcetype/><${p}getcontentlength>12</${p}getcontentlength>
<${p}getlastmodified>Sat, 21 Nov 2026 10:00:00 GMT</${p}getlastmodified></${p}prop><${p}status>HTTP/1.1 200 OK</${p}status></${p}propstat></${p}response>
<${p}response><${p}href>/x&amp;y&#x41;&#66;</${p}href><${p}status>HTTP/1.1 423 Locked</${p}status></${p}response></${p}multistatus>`,
    )
    expect(found).toEqual([
      { href: "/a%20b/", collection: true, size: undefined, modified: undefined, status: undefined },
      {
        href: "/a&b",
        collection: false,
        size: 12,
        modified: new Date("2026-11-21T10:00:00Z"),
        status: undefined,
      },
      { href: "/x&yAB", collection: false, size: undefined, modified: undefined, status: 423 },
    ])
  }
})

test("what is cut off, malformed or no multistatus is none", () => {
  const whole = '<m:multistatus xmlns:m="DAV:"><m:response><m:href>/a</m:href></m:response></m:multistatus>'
  expect(parseMultistatus(whole)).toHaveLength(1)
  for (let length = 0; length < whole.length; length++) expect(parseMultistatus(whole.slice(0, length))).toBeUndefined()
  for (
    const wrong of [
      "",
      "<html></html>",
      "not XML",
      `${whole}${whole}`,
      `x${whole}`,
      "<multistatus><a></b></multistatus>",
      "<!DOCTYPE x [<!ENTITY a 'b'>]><multistatus/>",
      `<multistatus>${"<a>".repeat(100)}${"</a>".repeat(100)}</multistatus>`,
    ]
  ) {
    expect([wrong, parseMultistatus(wrong)]).toEqual([wrong, undefined])
  }
})

test("a long document takes time in proportion to its length", () => {
  const one = "<response><href>/a</href><propstat><prop><getcontentlength>1</getcontentlength></prop>" +
    "<status>HTTP/1.1 200 OK</status></propstat></response>"
  expect(parseMultistatus(`<multistatus>${one.repeat(20_000)}</multistatus>`)).toHaveLength(20_000)
  expect(parseMultistatus(`<multistatus>${"<".repeat(200_000)}`)).toBeUndefined()
})
