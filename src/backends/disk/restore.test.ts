// A copy of a root, made by ordinary tools while nobody writes, is a root.
import { expect, test } from "bun:test"
import { spawnSync } from "node:child_process"
import { mkdirSync } from "node:fs"
import { bytes, expectBytes, putOptions, read } from "../conformance.ts"
import { reasonOf, run, withFolder, withStore } from "./testing.ts"

const has = (command: string): boolean => spawnSync("sh", ["-c", `command -v ${command}`]).status === 0

const ways: Readonly<Record<string, (from: string, to: string) => ReadonlyArray<string>>> = {
  "cp -a": (from, to) => ["cp", "-a", from, to],
  "cp -r, which keeps no times": (from, to) => ["cp", "-r", from, to],
  "tar": (from, to) => ["sh", "-c", `mkdir ${to} && tar -C ${from} -cf - . | tar -C ${to} -xf -`],
  "tar --format=posix": (from, to) => [
    "sh",
    "-c",
    `mkdir ${to} && tar --format=posix -C ${from} -cf - . | tar -C ${to} -xf -`,
  ],
  ...(has("rsync") ? { "rsync -a": (from: string, to: string) => ["rsync", "-a", `${from}/`, to] } : {}),
}

const keys = ["a", "deep/er/key", "100%", `long ${"é".repeat(150)}`]

for (const [name, command] of Object.entries(ways)) {
  test(`restore: a copy by ${name} holds every object with all that is known of it`, () =>
    withFolder(async (folder) => {
      const [from, to] = [`${folder}/from`, `${folder}/to`]
      const before = await withStore(from, async (backend) => {
        const infos = []
        for (const [index, key] of keys.entries()) {
          // Twice, so that each sidecar holds two records, here of one size.
          for (const seed of [index, index + 100]) {
            const data = bytes(seed, 1000)
            const facts = { metadata: { key: `${index}` }, codec: "zstd", length: 5000 + seed, sha256: "ab" }
            await run(backend.put(key, data, putOptions(data, facts)))
          }
          infos.push(await run(backend.stat(key)))
          expect(infos.at(-1)).toMatchObject({ codec: "zstd", length: 5100 + index, sha256: "ab" })
        }
        return infos
      })
      const [program, ...args] = command(from, to)
      expect(spawnSync(program!, args, { stdio: "inherit" }).status).toBe(0)
      await withStore(to, async (backend) => {
        for (const [index, key] of keys.entries()) {
          const { info, data } = await run(read(backend, key))
          expectBytes(data, bytes(index + 100, 1000), key)
          expect({ ...info, modified: 0 }).toEqual({ ...before[index]!, modified: 0 as never })
          // It goes on from there: the etag guards, and the next save binds it anew.
          const stale = putOptions(data, { ifMatch: "stale" })
          expect(await reasonOf(backend.put(key, data, stale))).toBe("PreconditionFailed")
          const next = await run(backend.put(key, data, putOptions(data, { ifMatch: info.etag })))
          expect((await run(backend.stat(key))).etag).toBe(next.etag)
        }
        const listed = (await run(backend.list())).objects.map(({ key }) => key)
        expect(listed).toEqual([...keys].sort())
      })
    }))
}

test("restore: bytes of one write with the sidecar of another are Corrupt", () =>
  withFolder(async (folder) => {
    const [from, to] = [`${folder}/from`, `${folder}/to`]
    const [one, two] = [bytes(1, 1000), bytes(2, 1000)]
    await withStore(from, (backend) => run(backend.put("a", one, putOptions(one))))
    mkdirSync(to)
    spawnSync("cp", ["-r", `${from}/a`, `${to}/a`])
    await withStore(from, async (backend) => {
      await run(backend.put("a", two, putOptions(two)))
      await run(backend.put("a", two, putOptions(two)))
    })
    spawnSync("cp", ["-r", `${from}/.holdfast`, `${to}/.holdfast`])
    await withStore(to, async (backend) => expect(await reasonOf(backend.get("a"))).toBe("Corrupt"))
  }))
