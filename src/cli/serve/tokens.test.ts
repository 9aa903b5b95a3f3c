import { expect, test } from "bun:test"
import type { Verb } from "../../http/mod.ts"
import { allows, makeToken, parseRule, parseRules, ruleOf } from "./tokens.ts"

const hash = "ab".repeat(32)

const bearer = (token: string): Request =>
  new Request("http://localhost/store", { headers: { authorization: `Bearer ${token}` } })

test("a rule is a hash, an access and a prefix", () => {
  const { access, prefix, name } = parseRule(`sha256:${hash}`)
  expect({ access, prefix, name }).toEqual({ access: "write", prefix: "", name: "abababab" })
  expect(parseRule(` sha256:${hash.toUpperCase()} READ  a b/ `)).toMatchObject({ access: "read", prefix: "a b/" })
})

test("a file may hold comments and empty lines, and the message for a wrong line names it and not its text", () => {
  const rules = parseRules(`# who\r\n\r\nsha256:${hash} read public/\n  # end\nsha256:${"01".repeat(32)} write`)
  expect(rules.map(({ access, prefix }) => [access, prefix])).toEqual([["read", "public/"], ["write", ""]])
  for (const wrong of ["secret-token", `sha256:${hash} all`, `sha256:${hash.slice(1)}`, `sha256:${hash} read ../x`]) {
    let message = ""
    try {
      parseRules(`\n${wrong}\n`)
    } catch (error) {
      message = (error as Error).message
    }
    expect(message).toMatch(/^line 2 is /)
    expect(message).not.toContain("secret-token")
  }
})

test("fault 144: a token is let in by its own line, and nothing else is", () => {
  const [a, b] = [makeToken("write", ""), makeToken("read", "public/")]
  expect(a.token).toMatch(/^[A-Za-z0-9_-]{43}$/)
  expect(a.token).not.toBe(b.token)
  const rules = parseRules(`${a.line}\n${b.line}`)
  expect(ruleOf(rules, bearer(a.token))).toBe(rules[0]!)
  expect(ruleOf(rules, bearer(b.token))).toBe(rules[1]!)
  expect(rules[1]).toMatchObject({ access: "read", prefix: "public/" })
  const hex = /sha256:(\w+)/.exec(a.line)![1]!
  for (const wrong of [a.token.slice(1), `${a.token}x`, a.token.toLowerCase(), hex, ""]) {
    expect(ruleOf(rules, bearer(wrong))).toBeUndefined()
  }
  expect(ruleOf(rules, new Request("http://localhost/store"))).toBeUndefined()
})

test("read reads, write writes, each below its prefix", () => {
  const all: ReadonlyArray<Verb> = ["describe", "list", "stat", "load", "save", "remove"]
  const allowed = (access: "read" | "write", prefix: string, key: string): ReadonlyArray<Verb> => {
    const rule = parseRule(`sha256:${hash} ${access} ${prefix}`)
    return all.filter((verb) => allows(rule, { verb, key, request: bearer("x") }))
  }
  expect(allowed("write", "", "k")).toEqual(all)
  expect(allowed("read", "", "k")).toEqual(["describe", "list", "stat", "load"])
  expect(allowed("write", "runs/", "runs/1")).toEqual(all)
  expect(allowed("write", "runs/", "runs")).toEqual(["describe"])
  expect(allowed("read", "runs/", "other/runs/1")).toEqual(["describe"])
})
