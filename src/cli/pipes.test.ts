import { expect, test } from "bun:test"
import { createHash } from "node:crypto"
import { existsSync } from "node:fs"
import { setTimeout as sleep } from "node:timers/promises"
import { command, patience, Workplace } from "./testing.ts"

const MiB = 2 ** 20

const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex")

/** Bytes that no two places of have in common, made quickly. */
const noise = (size: number): Uint8Array<ArrayBuffer> => {
  const words = new Uint32Array(size / 4)
  for (let i = 0, x = 2463534242; i < words.length; i++) {
    x ^= x << 13
    x ^= x >>> 17
    x ^= x << 5
    words[i] = x
  }
  return new Uint8Array(words.buffer)
}

test("fault 156: load writes 50 MB into a slow pipe, every byte before it exits", async () => {
  await using work = await Workplace.make()
  const bytes = noise(50_000_000)
  expect((await work.feed(bytes, "save", "k")).code).toBe(0)
  const child = work.start("load", "k")
  const exit = new Promise((resolve) => child.once("exit", resolve))
  const hash = createHash("sha256")
  let pause = 0
  for await (const chunk of child.stdout) {
    hash.update(chunk)
    if (++pause % 100 === 0) await sleep(5)
  }
  expect({ code: await exit, sha256: hash.digest("hex") }).toEqual({ code: 0, sha256: sha256(bytes) })
}, patience)

test("fault 156: a reader that goes away early is no error to talk about: exit code 141, as for cat", async () => {
  await using work = await Workplace.make()
  expect((await work.feed(new Uint8Array(8 * MiB), "save", "k")).code).toBe(0)
  const load = await work.shell("$holdfast load k | head -c 3 | wc -c; echo ${PIPESTATUS[0]}")
  expect(load).toMatchObject({ out: "3\n141\n", err: "" })
  // Whether ls is done before `true` is gone is a matter of luck.
  const list = await work.shell("$holdfast ls | true; echo ${PIPESTATUS[0]}")
  expect(list.out).toMatch(/^(0|141)\n$/)
  expect(list.err).toBe("")
}, patience)

test("fault 156: a full disk under stdout or under FILE is exit code 5", async () => {
  await using work = await Workplace.make()
  expect((await work.feed(new Uint8Array(2 * MiB), "save", "k")).code).toBe(0)
  for (const line of ["$holdfast load k > /dev/full", "$holdfast load k /dev/full", "$holdfast ls > /dev/full"]) {
    expect(await work.shell(line)).toMatchObject({ code: 5, err: expect.stringContaining("no space is left") })
  }
}, patience)

test("a folder as stdin is a usage error and saves nothing", async () => {
  await using work = await Workplace.make()
  const { code, err } = await work.shell("$holdfast save k < /tmp")
  expect({ code, err }).toEqual({ code: 2, err: expect.stringContaining("it is a folder") })
  expect((await work.run("ls")).out).toBe("")
}, patience)

const onTerminal: (name: string, body: () => Promise<void>, timeout?: number) => void = existsSync("/usr/bin/script")
  ? test
  : (name, body) => test.skip(`${name} (skipped: needs script of util-linux)`, body)

onTerminal("progress with rate and ETA appears on a terminal, and one line at the end", async () => {
  await using work = await Workplace.make()
  const slow = "(for i in 1 2 3 4; do head -c 2000000 /dev/zero; sleep 0.1; done)"
  const typed = (line: string): ReturnType<typeof work.shell> => work.shell(`script -qec '${line}' /dev/null`)
  const save = `${slow} | ${command.join(" ")} save k --expect-size 8000000`
  const shown = await typed(save)
  expect(shown.code).toBe(0)
  expect(shown.out).toMatch(/Saving "k" {2}\S+ \S+ of 7.6 MiB \(\d+ %\) {2}\S+ [KM]?i?B\/s {2}ETA /)
  expect(shown.out).toMatch(/Saved "k": 7\.6 MiB in \d\.\d s \(\S+ MiB\/s\)/)
  for (const quiet of ["--quiet", "--json"]) expect((await typed(`${save} ${quiet}`)).out).not.toContain("Sav")
  // Progress goes to stderr, so data may go elsewhere while it shows.
  const load = await typed(`${command.join(" ")} load k > loaded`)
  expect(load.out).toContain('Loaded "k": 7.6 MiB')
  // The same without a terminal.
  expect(await work.shell(save)).toMatchObject({ code: 0, out: "", err: "" })
}, patience)

onTerminal("save with a terminal as stdin and no FILE says what to do instead", async () => {
  await using work = await Workplace.make()
  const { out } = await work.shell(`script -qec '${command.join(" ")} save k; echo code $?' /dev/null`)
  expect(out).toContain("the standard input is a terminal")
  expect(out).toContain("name a FILE, or pipe the bytes in")
  expect(out).toContain("code 2")
}, patience)
