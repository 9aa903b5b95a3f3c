/**
 * `bun:test` for Deno: the part of it that our tests use, over `Deno.test`, so that both runtimes run the same
 * files. `deno.test.json` maps `bun:test` to this module:
 *
 *     deno test -A --config deno.test.json src
 *
 * Deno's sanitizers, off by default, are on: a timer, a file or a socket that a test leaves behind fails it.
 */
export { expect } from "expect"

type Run = () => unknown

/** What is used of Deno; named here because our one type check, `tsc`, does not know it. */
interface DenoTest {
  (definition: {
    readonly name: string
    readonly ignore: boolean
    readonly sanitizeOps: boolean
    readonly sanitizeResources: boolean
    readonly fn: () => Promise<void>
  }): void
  readonly beforeAll: (run: () => Promise<void>) => void
  readonly afterAll: (run: () => Promise<void>) => void
}

const denoTest = (globalThis as unknown as { readonly Deno: { readonly test: DenoTest } }).Deno.test

interface Hooks {
  readonly before: Array<Run>
  readonly after: Array<Run>
}

/** The `describe` blocks around what is being registered, outermost first. */
let around: ReadonlyArray<{ readonly name: string } & Hooks> = [{ name: "", before: [], after: [] }]

/** What `onTestFinished` was given while the current test runs; Deno runs the tests of a file one by one. */
let finishers: Array<Run> | undefined

const inOrder = async (runs: ReadonlyArray<Run>): Promise<void> => {
  for (const run of runs) await run()
}

/** Milliseconds, as Bun takes them after the function. */
type Timeout = number | { readonly timeout?: number }

const withTimeout = async (run: Run, timeout: Timeout | undefined): Promise<void> => {
  const limit = typeof timeout === "object" ? timeout.timeout : timeout
  if (limit === undefined) return void await run()
  let timer: ReturnType<typeof setTimeout> | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`the test did not end within ${limit} ms`)), limit)
  })
  try {
    await Promise.race([run(), late])
  } finally {
    clearTimeout(timer)
  }
}

const define = (ignore: boolean) => (name: string, run: Run = () => {}, timeout?: Timeout): void => {
  const blocks = around
  denoTest({
    name: [...blocks.map((block) => block.name), name].filter((part) => part !== "").join(" > "),
    ignore,
    sanitizeOps: true,
    sanitizeResources: true,
    fn: async () => {
      const own: Array<Run> = finishers = []
      try {
        await inOrder(blocks.flatMap(({ before }) => before))
        await withTimeout(run, timeout)
      } finally {
        finishers = undefined
        await inOrder([...own, ...blocks.toReversed().flatMap(({ after }) => after)])
      }
    },
  })
}

/** Fills in `%s`, `%d`, `%i`, `%j` and `%p` one by one with the arguments of a row, as Bun does. */
const titled = (name: string, row: ReadonlyArray<unknown>): string => {
  const rest = [...row]
  return name.replace(/%[sdijp]/g, (form) => {
    const value = rest.shift()
    return form === "%s" || typeof value === "number" ? String(value) : JSON.stringify(value) ?? String(value)
  })
}

// deno-lint-ignore no-explicit-any
type RunRow = (...row: any) => unknown

const each = (rows: ReadonlyArray<unknown>) => (name: string, run: RunRow, timeout?: Timeout): void => {
  for (const row of rows) {
    const args = Array.isArray(row) ? row : [row]
    test(titled(name, args), () => run(...args), timeout)
  }
}

interface Test {
  (name: string, run?: Run, timeout?: Timeout): void
  readonly skip: (name: string, run?: Run, timeout?: Timeout) => void
  readonly each: typeof each
}

export const test: Test = Object.assign(define(false), { skip: define(true), each })
export const it: Test = test

export const describe = (name: string, body: () => void): void => {
  const outer = around
  around = [...outer, { name, before: [], after: [] }]
  body()
  around = outer
}

export const beforeEach = (run: Run): void => void around.at(-1)!.before.push(run)
export const afterEach = (run: Run): void => void around.at(-1)!.after.push(run)

// Once a file, in a `describe` too: its other tests do not mind, and `--filter` cannot part the two.
export const beforeAll = (run: Run): void => denoTest.beforeAll(async () => void await run())
export const afterAll = (run: Run): void => denoTest.afterAll(async () => void await run())

export const onTestFinished = (run: Run): void => {
  if (finishers === undefined) throw new Error("onTestFinished() belongs inside a test")
  finishers.push(run)
}
