import { expect, test } from "bun:test"
import * as fc from "fast-check"
import { keyFlaw } from "../../key.ts"
import { utf8Length } from "../../streams/utf8.ts"
import { decodeSegment, encodeSegment, type Names, placeOf, sha256Hex } from "./layout.ts"

const spellings: ReadonlyArray<Names> = ["exact", "portable"]
const runs = { numRuns: 2000, seed: 62 }

// Letters that fold, compose and decompose, and all that is special somewhere.
const alphabet = [...'aAzZ09%~_.-+ :<>"|?*$é', "e\u0301", "\u00c9", "ß", "ẞ", "ı", "İ", "K", "k", "ﬁ", "日", "😀"]
const odd = [
  "",
  ".holdfast",
  ".HOLDFAST",
  "%2eholdfast",
  "%",
  "%25",
  "%_",
  "%~",
  "con",
  "CON",
  "con.txt",
  "com1",
  "nul ",
]
const segment = fc.oneof(
  fc.constantFrom(...odd),
  fc.array(fc.constantFrom(...alphabet), { maxLength: 12 }).map((characters) => characters.join("")),
  fc.string({ unit: "grapheme", maxLength: 40 }),
  fc.tuple(fc.constantFrom("a", "É", "😀", "%", "."), fc.integer({ min: 40, max: 300 })).map(([unit, n]) =>
    unit.repeat(n)
  ),
)
const key = fc.array(segment, { minLength: 1, maxLength: 4 }).map((all) => all.join("/")).filter((text) =>
  keyFlaw(text) === undefined
)

const pathOf = (text: string, names: Names): string => {
  const { folders, name } = placeOf(text, names)
  return [...folders, name].join("/")
}

for (const names of spellings) {
  test(`layout: a path leads back to its key, ${names}`, () => {
    fc.assert(
      fc.property(key, (text) => {
        const { folders, name, long } = placeOf(text, names)
        const segments = [...folders, name].map((part, index) => {
          const decoded = decodeSegment(part, names, index === 0)
          return decoded === undefined ? undefined : "segment" in decoded ? decoded.segment : long.get(decoded.long)
        })
        expect(segments.join("/")).toBe(text)
      }),
      runs,
    )
  })

  test(`layout: no name is too long, empty, hidden from us or a way out, ${names}`, () => {
    fc.assert(
      fc.property(key, (text) => {
        const { folders, name } = placeOf(text, names)
        for (const part of [...folders, name]) {
          expect(utf8Length(part)).toBeLessThanOrEqual(255)
          expect(["", ".", "..", "/"]).not.toContain(part)
        }
        const top = folders[0] ?? name
        expect(names === "exact" ? top : top.toLowerCase()).not.toBe(".holdfast")
      }),
      runs,
    )
  })

  test(`layout: a name that decodes is what its segment encodes to, ${names}`, () => {
    const name = fc.array(fc.constantFrom(...alphabet, "%41", "%25", "%2e", "%2E", "%_", "%c3%a9", "%ff"), {
      maxLength: 8,
    })
    fc.assert(
      fc.property(name, fc.boolean(), (parts, top) => {
        const text = parts.join("")
        const decoded = decodeSegment(text, names, top)
        if (decoded !== undefined && "segment" in decoded) {
          expect(encodeSegment(decoded.segment, names, top)).toBe(text)
        }
      }),
      runs,
    )
  })
}

test("fault 76: keys stay apart on a file system that folds case and Unicode forms", () => {
  const folded = (text: string): string => pathOf(text, "portable").toLowerCase().normalize("NFC")
  fc.assert(
    fc.property(key, key, (one, two) => {
      expect(folded(one) === folded(two)).toBe(one === two)
    }),
    runs,
  )
  const alike = [
    "é",
    "e\u0301",
    "É",
    "E\u0301",
    "a",
    "A",
    "k",
    "\u212a",
    "ﬁ",
    "fi",
    "ß",
    "ss",
    ".holdfast",
    ".HOLDFAST",
  ]
  expect(new Set(alike.map(folded)).size).toBe(alike.length)
})

test("fault 77: portable names avoid what Windows reserves, exact ones keep it", () => {
  for (const name of ["con", "con.txt", "nul", "com1", "lpt9.a.b", "aux .x", "a.", "a ", "...", "a:b", "x~1", "q?"]) {
    const { name: portable } = placeOf(name, "portable")
    expect(portable).not.toMatch(/[<>:"|?*~]|[. ]$|^(con|nul|com1|lpt9|aux) *(\.|$)/)
    expect(placeOf(name, "exact").name).toBe(name)
  }
})

test("layout: names are what the documentation says", () => {
  expect(pathOf("a/b.txt", "exact")).toBe("a/b.txt")
  expect(pathOf("/a//b/", "exact")).toBe("%_/a/%_/b/%_")
  expect(pathOf("100%/%_", "exact")).toBe("100%25/%25_")
  expect(pathOf(".holdfast/x/.holdfast", "exact")).toBe("%2eholdfast/x/.holdfast")
  expect(pathOf("Réa", "portable")).toBe("%52%c3%a9a")
  expect(pathOf("x".repeat(255), "exact")).toBe("x".repeat(255))
  expect(pathOf("x".repeat(256), "exact")).toBe(`${"x".repeat(189)}%~${sha256Hex("x".repeat(256))}`)
  // Cut before an escape that does not fit whole, not inside it.
  expect(pathOf("x".repeat(187) + "%".repeat(80), "exact").slice(0, 189)).toBe(`${"x".repeat(187)}%~`)
})
