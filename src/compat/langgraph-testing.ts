/**
 * Runs LangGraph's own validation of checkpoint savers (`@langchain/langgraph-checkpoint-validation`) without vitest.
 *
 * Its specifications call `describe`, `it`, `expect` and the hooks as globals, which Bun puts its own in place of. So
 * their files are evaluated here, with functions of ours by those names: these collect a tree, which is then run in
 * order. Every `it` counts, and what fails is in the result; one test of ours, on Bun or Deno, is all of theirs.
 *
 * @module
 */
import { expect } from "bun:test"
import * as langgraph from "@langchain/langgraph-checkpoint"
import type * as Specification from "@langchain/langgraph-checkpoint-validation"
import { readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import type { Store } from "../store.ts"
import { HoldfastSaver } from "./langgraph.ts"

type Run = () => unknown

interface Block {
  readonly name: string
  readonly beforeAll: Array<Run>
  readonly beforeEach: Array<Run>
  readonly afterEach: Array<Run>
  readonly afterAll: Array<Run>
  readonly children: Array<Block | { readonly name: string; readonly run: Run }>
}

/** What a validation has found. */
export interface Validation {
  /** The names of the tests that held. */
  readonly passed: ReadonlyArray<string>
  /** Those that did not, with why. */
  readonly failed: ReadonlyArray<string>
  /** Those that the specification leaves out. */
  readonly skipped: ReadonlyArray<string>
}

const blockOf = (name: string): Block => ({
  name,
  beforeAll: [],
  beforeEach: [],
  afterEach: [],
  afterAll: [],
  children: [],
})

/** A row's values in a title: `%s`, or `$name` of a row that is an object. */
const titled = (name: string, row: unknown): string =>
  name.replace("%s", String(row)).replace(
    /\$(\w+)/g,
    (_, field: string) => String((row as Readonly<Record<string, unknown>>)[field]),
  )

/** Evaluates a CommonJS file and those it asks for, with `globals` in sight. */
const evaluate = (file: URL, globals: Readonly<Record<string, unknown>>): unknown => {
  const loaded = new Map<string, { exports: unknown }>()
  const load = (url: URL): unknown => {
    const known = loaded.get(url.href)
    if (known !== undefined) return known.exports
    const module = { exports: {} as unknown }
    loaded.set(url.href, module)
    const require = (name: string): unknown => {
      if (name.startsWith(".")) return load(new URL(name, url))
      // The copy that the saver uses: values are told apart by their classes.
      if (name === "@langchain/langgraph-checkpoint") return langgraph
      throw new Error(`the specification asks for ${name}`)
    }
    const names = { module, exports: module.exports, require, ...globals }
    new Function(...Object.keys(names), readFileSync(fileURLToPath(url), "utf8"))(...Object.values(names))
    return module.exports
  }
  return load(file)
}

/** `expect` as vitest has it: `rejects` of a function is about the promise that it returns. */
const expecting = (value: unknown) => expect(typeof value === "function" ? value() : value)

const specification = new URL("index.cjs", import.meta.resolve("@langchain/langgraph-checkpoint-validation"))

/** Collects what `define` registers. */
const collect = (
  define: (specification: typeof Specification) => void,
): { readonly root: Block; readonly skipped: ReadonlyArray<string> } => {
  const root = blockOf("")
  const skipped: Array<string> = []
  let current = root
  const describe = (name: string, body: () => void): void => {
    const block = blockOf(name)
    current.children.push(block)
    const outer = current
    current = block
    body()
    current = outer
  }
  const it = (name: string, run: Run): void => void current.children.push({ name, run })
  const globals = {
    describe: Object.assign(describe, {
      each: (rows: ReadonlyArray<unknown>) => (name: string, body: (row: unknown) => void) => {
        for (const row of rows) describe(titled(name, row), () => body(row))
      },
    }),
    it: Object.assign(it, {
      skip: (name: string) => void skipped.push(name),
      each: (rows: ReadonlyArray<unknown>) => (name: string, run: (row: unknown) => unknown) => {
        for (const row of rows) it(titled(name, row), () => run(row))
      },
    }),
    expect: Object.assign(expecting, {
      arrayContaining: (items: ReadonlyArray<unknown>) => expect.arrayContaining([...items]),
      // In vitest a test goes on after one that failed; here the first one ends it.
      soft: expecting,
    }),
    beforeAll: (run: Run) => void current.beforeAll.push(run),
    beforeEach: (run: Run) => void current.beforeEach.push(run),
    afterEach: (run: Run) => void current.afterEach.push(run),
    afterAll: (run: Run) => void current.afterAll.push(run),
  }
  define(evaluate(specification, globals) as typeof Specification)
  return { root, skipped }
}

const each = async (runs: ReadonlyArray<Run>): Promise<void> => {
  for (const run of runs) await run()
}

/** Runs a block; `outer` are the blocks around it. */
const runBlock = async (
  block: Block,
  outer: ReadonlyArray<Block>,
  result: { readonly passed: Array<string>; readonly failed: Array<string> },
): Promise<void> => {
  const blocks = [...outer, block]
  const path = (name: string): string =>
    [...blocks.map((one) => one.name), name].filter((one) => one !== "").join(" > ")
  const attempt = async (name: string, run: () => Promise<void>): Promise<boolean> => {
    try {
      await run()
      return true
    } catch (error) {
      result.failed.push(`${path(name)}: ${error instanceof Error ? error.message : String(error)}`)
      return false
    }
  }
  if (!await attempt("beforeAll", () => each(block.beforeAll))) return
  for (const child of block.children) {
    if ("children" in child) await runBlock(child, blocks, result)
    else {
      const held = await attempt(child.name, async () => {
        await each(blocks.flatMap((one) => one.beforeEach))
        await child.run()
        await each(blocks.toReversed().flatMap((one) => one.afterEach))
      })
      if (held) result.passed.push(path(child.name))
    }
  }
  await attempt("afterAll", () => each(block.afterAll))
}

/** Everything that LangGraph asks of a saver, the history of delta channels included. */
export const validate = async (name: string, make: () => langgraph.BaseCheckpointSaver): Promise<Validation> => {
  const initializer = { checkpointerName: name, createCheckpointer: make }
  const { root, skipped } = collect(({ specTest, deltaChannelHistoryTests }) => {
    specTest(initializer)
    deltaChannelHistoryTests(initializer)
  })
  const result = { passed: new Array<string>(), failed: new Array<string>() }
  await runBlock(root, [], result)
  return { ...result, skipped }
}

let made = 0

/**
 * Validates {@link HoldfastSaver} on a store: throws what failed. Each saver that the specification makes has a prefix of
 * its own, since none may see what another has stored.
 */
export const validateSaver = async (store: Store): Promise<Validation> => {
  const result = await validate("HoldfastSaver", () => new HoldfastSaver(store, { prefix: `v${++made}/` }))
  expect(result.failed).toEqual([])
  expect(result.skipped).toEqual([])
  // As many as version 1.1.1 of the specification has: fewer would mean that some did not run.
  expect(result.passed.length).toBeGreaterThanOrEqual(726)
  return result
}
