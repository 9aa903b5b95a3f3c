/** What the two registries are told about the package must agree. */
import { expect, test } from "bun:test"
import { readFile } from "node:fs/promises"
import { fileURLToPath } from "node:url"

const root = fileURLToPath(new URL("..", import.meta.url))
const json = async (file: string): Promise<Record<string, unknown>> => JSON.parse(await readFile(root + file, "utf8"))

test("deno.json and package.json have one version, one licence, and the same entries", async () => {
  const [jsr, npm] = await Promise.all([json("deno.json"), json("package.json")])
  expect(npm["version"]).toBe(jsr["version"] as string)
  expect(npm["license"]).toBe(jsr["license"] as string)
  const entries = jsr["exports"] as Record<string, string>
  const built = npm["exports"] as Record<string, { default: string; types: string }>
  expect(Object.keys(built)).toEqual(Object.keys(entries))
  for (const [name, source] of Object.entries(entries)) {
    const path = source.replace(/^\.\//, "").replace(/\.ts$/, "")
    expect(built[name]!.default).toBe(`./dist/${path}.js`)
    expect(built[name]!.types).toBe(`./dist/${path}.d.ts`)
  }
})

test("programs in this repository find each entry under the package's own name", async () => {
  const [jsr, typescript] = await Promise.all([json("deno.json"), json("tsconfig.json")])
  const entries = Object.entries(jsr["exports"] as Record<string, string>)
  const { paths } = typescript["compilerOptions"] as { paths: Record<string, ReadonlyArray<string>> }
  expect(paths).toEqual(
    Object.fromEntries(entries.map(([name, source]) => [`${jsr["name"]}${name.slice(1)}`, [source]])),
  )
})

test("every runtime dependency has the same range on both registries", async () => {
  const [jsr, npm] = await Promise.all([json("deno.json"), json("package.json")])
  const imports = jsr["imports"] as Record<string, string>
  for (const [name, range] of Object.entries(npm["dependencies"] as Record<string, string>)) {
    expect(imports[name]).toBe(`npm:${name}@${range}`)
  }
})

test("the newest entry of the change log is the package's version", async () => {
  const [jsr, log] = await Promise.all([json("deno.json"), readFile(`${root}CHANGELOG.md`, "utf8")])
  expect(/^## (\S+)/m.exec(log)?.[1]).toBe(jsr["version"] as string)
})
