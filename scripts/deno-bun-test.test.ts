// Runs on both runtimes: what our tests rely on must be the same in `bun:test` and in its stand-in for Deno.
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, onTestFinished, test } from "bun:test"
import { onlyOn } from "./only-on.ts"

const log: Array<string> = []

beforeAll(() => void log.push("beforeAll"))
beforeEach(() => void log.push("beforeEach"))
afterEach(() => void log.push("afterEach"))
afterAll(() => expect(log.filter((entry) => entry === "beforeAll").length).toBe(1))

test("beforeAll() runs before beforeEach() and the test", () => {
  expect(log).toEqual(["beforeAll", "beforeEach"])
})

describe("a block", () => {
  beforeEach(async () => void log.push(await "inner beforeEach"))
  afterEach(() => void log.push("inner afterEach"))

  it("runs its hooks within those around it", () => {
    expect(log.slice(-2)).toEqual(["beforeEach", "inner beforeEach"])
    onTestFinished(() => void log.push("finished"))
  })
})

test("afterEach() and onTestFinished() have run once the next test begins", () => {
  expect(log.slice(-4, -1).sort()).toEqual(["afterEach", "finished", "inner afterEach"])
})

test.each([[1, 2, 3], [4, 5, 9]])("each row is a test: %d + %d = %d", (a, b, sum) => {
  expect(a + b).toBe(sum)
})

test.each(["x", "y"])("a row may be one value: %s", (value) => {
  expect(["x", "y"]).toContain(value)
})

test.skip("a skipped test does not run", () => {
  throw new Error("it ran")
})

test("a test may have a timeout", () => Promise.resolve(), 1000)

onlyOn("bun", "Deno has no Bun.file")("onlyOn() runs a test on its runtime", () => {
  expect("Bun" in globalThis).toBe(true)
})

onlyOn("deno", "Bun has no Deno.test")("onlyOn() runs a test on its runtime", () => {
  expect("Deno" in globalThis).toBe(true)
})
