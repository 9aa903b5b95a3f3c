import { expect, test } from "bun:test"
import { type Entry, type Level, Log } from "./log.ts"

const written = (least: Level, ...entries: ReadonlyArray<readonly [Level, Entry]>): Array<Record<string, unknown>> => {
  const lines: Array<string> = []
  const log = new Log(least, (line, done) => {
    lines.push(line)
    done()
  }, () => 1_800_000_000_000)
  for (const [level, entry] of entries) log.add(level, entry)
  return lines.map((line) => {
    expect(line).toMatch(/\n$/)
    return JSON.parse(line) as Record<string, unknown>
  })
}

const entry = { event: "request", status: 200, key: "people/ada", detail: "no ada here" }

test("at info an object has a hash for a name, the same one each time, and another in another process", () => {
  const [a, b, c] = written("info", ["info", entry], ["info", entry], ["info", { ...entry, key: "people/bob" }])
  expect(a).toEqual({
    time: "2027-01-15T08:00:00.000Z",
    level: "info",
    event: "request",
    status: 200,
    object: expect.stringMatching(/^[0-9a-f]{12}$/),
  })
  expect(b?.["object"]).toBe(a?.["object"])
  expect(c?.["object"]).not.toBe(a?.["object"])
  expect(written("info", ["info", entry])[0]?.["object"]).not.toBe(a?.["object"])
})

test("at debug names and details are there", () => {
  expect(written("debug", ["info", entry])[0]).toMatchObject({ key: "people/ada", detail: "no ada here" })
})

test("what is below the level is not written", () => {
  const all = [["debug", entry], ["info", entry], ["error", entry]] as const
  expect(written("error", ...all).map(({ level }) => level)).toEqual(["error"])
  expect(written("info", ...all).map(({ level }) => level)).toEqual(["info", "error"])
})

test("a reader that stalls costs lines, and neither time nor memory; how many is said afterwards", () => {
  const lines: Array<string> = []
  const waiting: Array<() => void> = []
  const log = new Log("info", (line, done) => {
    lines.push(line)
    waiting.push(done)
  })
  for (let i = 0; i < 1500; i++) log.add("info", { event: "request" })
  expect(lines).toHaveLength(1000)
  for (const done of waiting) done()
  log.add("info", { event: "request" })
  expect(JSON.parse(lines.at(-1)!)).toMatchObject({ dropped: 500 })
})
