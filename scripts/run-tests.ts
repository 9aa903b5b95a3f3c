/**
 * The README's test command: installs what it needs, runs all tests on Bun and on Deno, and ends with
 * `N passed, N failed`. Arguments choose test files; `--soak` makes the long counts.
 *
 * @module
 */
import process from "node:process"
import { bun, deno, install, run } from "./tools.ts"

const soak = process.argv.includes("--soak")
const files = process.argv.slice(2).filter((argument) => argument !== "--soak")

install()

const runs: ReadonlyArray<{ readonly name: string; readonly command: readonly [string, ...Array<string>] }> = [
  { name: "Bun", command: [...bun(), "test", "--timeout", "60000", ...files] },
  {
    name: "Deno",
    // `scripts/check.ts` checks the types.
    command: [...deno(), "test", "-A", "--quiet", "--no-check", "--config", "deno.test.json", ...files],
  },
]

let passed = 0
let failed = 0
const failures: Array<string> = []
for (const { name, command } of runs) {
  console.log(`\n== tests on ${name}`)
  const { code, output } = await run(command, { env: { NO_COLOR: "1", HOLDFAST_SOAK: soak ? "1" : "" } })
  const count = (pattern: RegExp): number => Number(pattern.exec(output)?.[1] ?? 0)
  const good = name === "Bun" ? count(/^ *(\d+) pass$/m) : count(/\| (\d+) passed/)
  const bad = name === "Bun" ? count(/^ *(\d+) fail$/m) : count(/\| (\d+) failed/)
  passed += good
  for (const [, test] of output.matchAll(name === "Bun" ? /^\(fail\) (.*)$/gm : /^(.*) \.\.\. FAILED/gm)) {
    failures.push(`${name}: ${test}`)
  }
  // A run that broke off, or that found no tests, has failed even if no single test has.
  failed += bad > 0 ? bad : code === 0 && good > 0 ? 0 : 1
}

// Last, where whoever sees only the end of a long log will find it.
if (failures.length > 0) console.log(`\nfailed:\n${[...new Set(failures)].join("\n")}`)
console.log(`\n${passed} passed, ${failed} failed`)
process.exitCode = failed === 0 ? 0 : 1
