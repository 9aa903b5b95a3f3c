/**
 * Everything but the tests: types, lint, format, documentation, what the registries would refuse.
 *
 * @module
 */
import process from "node:process"
import { bun, deno, install, run } from "./tools.ts"

install()

interface Check {
  readonly name: string
  readonly command: readonly [string, ...Array<string>]
  /** What is wrong with the output although the program was content. */
  readonly flaw?: (output: string) => string | undefined
  /** The exit code alone does not decide. */
  readonly anyExit?: boolean
}

const entries = Object.values(
  (await import("../deno.json", { with: { type: "json" } })).default.exports as Record<string, string>,
)

const checks: ReadonlyArray<Check> = [
  { name: "types (TypeScript, isolatedDeclarations)", command: [...bun(), "x", "tsc", "-p", "."] },
  { name: "types (Deno)", command: [...deno(), "check", ...entries, "src/cli/main.ts"] },
  { name: "lint", command: [...deno(), "lint", "--quiet"] },
  { name: "format", command: [...deno(), "fmt", "--check", "--quiet"] },
  { name: "JSR dry run", command: [...deno(), "publish", "--dry-run", "--allow-dirty", "--quiet"] },
  {
    name: "documentation of every public name",
    command: [...deno(), "doc", "--lint", ...entries],
    // It also reports the types of npm packages as private, which nobody can mend.
    anyExit: true,
    flaw: (output) => {
      const missing = output.split("\n").filter((line) => line.includes("missing-jsdoc"))
      return missing.length === 0 ? undefined : `${missing.length} public names without a docstring`
    },
  },
]

let failed = 0
for (const { name, command, flaw, anyExit } of checks) {
  const { code, output } = await run(command, { env: { NO_COLOR: "1" }, quiet: true })
  const problem = flaw?.(output) ?? (code === 0 || anyExit ? undefined : `exit code ${code}`)
  console.log(problem === undefined ? `ok    ${name}` : `FAIL  ${name}: ${problem}\n${output}`)
  if (problem !== undefined) failed++
}

console.log(`\n${checks.length - failed} passed, ${failed} failed`)
process.exitCode = failed === 0 ? 0 : 1
