/** What the documentation shows must run: every example of a docstring, README's, and the programs in examples/. */
import { afterAll, expect, test } from "bun:test"
import { execFile } from "node:child_process"
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises"
import process from "node:process"
import { fileURLToPath } from "node:url"
import { allReasons } from "./error.ts"
import { exitCodes } from "./cli/exit.ts"

const root = fileURLToPath(new URL("..", import.meta.url))
const onDeno = "Deno" in globalThis
// Inside the project, so that the package's own name resolves.
await mkdir(`${root}.cache`, { recursive: true })
const folder = await mkdtemp(`${root}.cache/docs-`)
afterAll(() => rm(folder, { recursive: true, force: true }))

/** Runs a program; rejects unless it ends well and every `console.assert` held. */
const runs = (file: string, args: ReadonlyArray<string> = []): Promise<void> =>
  new Promise((resolve, reject) => {
    const flags = onDeno ? ["run", "-A", "--config", `${root}deno.json`] : []
    execFile(process.execPath, [...flags, file, ...args], { cwd: folder }, (error, stdout, stderr) => {
      if (error !== null || /assertion failed/i.test(stderr + stdout)) reject(new Error(`${file}\n${stdout}${stderr}`))
      else resolve()
    })
  })

const sources = (await readdir(`${root}src`, { recursive: true })).filter((file) =>
  file.endsWith(".ts") && !file.endsWith(".test.ts")
).map((file) => `src/${file}`)

let count = 0
for (const file of ["mod.ts", ...sources]) {
  const text = await readFile(root + file, "utf8")
  for (const [, title, code] of text.matchAll(/@example ([^\n]*)\n\s*\* ```ts\n([\s\S]*?)\n\s*\* ```/g)) {
    count++
    test(`the example of ${file}, "${title}", runs`, async () => {
      const path = `${folder}/${file.replaceAll("/", "-")}-${title!.replaceAll(/\W+/g, "-")}.ts`
      await writeFile(path, code!.replaceAll(/^\s*\* ?/gm, ""))
      await runs(path)
    })
  }
}

test("docstrings have examples", () => {
  expect(count).toBeGreaterThan(5)
})

test("README's programs run", async () => {
  const readme = await readFile(`${root}README.md`, "utf8")
  const blocks = [...readme.matchAll(/```ts\n([\s\S]*?)```/g)].map((match) => match[1]!)
  // One block is a line for a test file; one starts a program by Bun's own means.
  const programs = blocks.filter((code) => !code.includes("register(test") && !(onDeno && code.includes("Bun.")))
  expect(programs.length).toBeGreaterThan(onDeno ? 0 : 1)
  await mkdir(`${folder}/workspace`, { recursive: true })
  for (const [i, code] of programs.entries()) {
    await writeFile(`${folder}/readme-${i}.ts`, code)
    await runs(`${folder}/readme-${i}.ts`)
  }
})

for (const file of (await readdir(`${root}examples`)).filter((name) => name.endsWith(".ts"))) {
  if (file.startsWith("deno-std")) {
    test.skip(`examples/${file} (skipped: needs @std/fs, and JSR may be out of reach)`, () => {})
  } else test(`examples/${file} runs`, () => runs(`${root}examples/${file}`))
}

test("docs/errors.md lists every reason with the exit code that the command uses", async () => {
  const text = await readFile(`${root}docs/errors.md`, "utf8")
  const rows = [...text.matchAll(/^\| `(\w+)` \|.*\| (\d+) \|$/gm)].map(([, reason, code]) => [reason, Number(code)])
  expect(rows).toEqual(allReasons.map((reason) => [reason, exitCodes[reason]]))
})

test("README's table of backends says what the backends say", async () => {
  const { withBackends } = await import("../scripts/backends.ts")
  const readme = await readFile(`${root}README.md`, "utf8")
  expect(readme).toContain("<!-- backends -->")
  expect(await withBackends(readme)).toBe(readme)
})

test("README's figures are those of bench/results", async () => {
  const { withFigures } = await import("../bench/readme.ts")
  const readme = await readFile(`${root}README.md`, "utf8")
  expect(await withFigures(readme)).toBe(readme)
})

test("docs/seeds.md says what the tests say, and no promise that must be proven lacks a test", async () => {
  const { page, unproven } = await import("../scripts/seeds.ts")
  expect(await unproven()).toEqual([])
  expect(await readFile(`${root}docs/seeds.md`, "utf8")).toBe(await page())
})
