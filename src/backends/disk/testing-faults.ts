/**
 * What the tests share that cut the power, or let system calls fail. Not part of the package.
 *
 * @module
 */
import { test } from "bun:test"
import { execFileSync, spawnSync } from "node:child_process"
import { closeSync, openSync } from "node:fs"
import process from "node:process"
import { onlyOn } from "../../../scripts/only-on.ts"

type Test = ReturnType<typeof onlyOn>

const here: Test = onlyOn("bun", "it works on processes of both runtimes, by means of bun:ffi; once is enough")

const run = (program: string, ...args: ReadonlyArray<string>): boolean =>
  spawnSync(program, args, { stdio: "ignore" }).status === 0

/** Why no file system in a file can be mounted here. `undefined`: it can. */
const whyNoLoop = ((): string | undefined => {
  if (process.platform !== "linux") return "needs Linux"
  if (process.getuid?.() !== 0) return "needs root"
  const folder = execFileSync("mktemp", ["-d"], { encoding: "utf8" }).trim()
  const image = `${folder}/image`
  try {
    if (!run("truncate", "-s", "64M", image) || !run("mkfs.ext4", "-q", image)) return "needs mkfs.ext4"
    if (!run("mount", "-o", "loop", image, folder)) return "needs a loop device"
    run("umount", folder)
    return undefined
  } finally {
    run("rm", "-rf", folder)
  }
})()

/** What was not flushed is gone, as if the power had failed: EXT4_IOC_SHUTDOWN with NOLOGFLUSH. */
export const cutPower = async (mount: string): Promise<void> => {
  const { dlopen, ptr } = await import("bun:ffi")
  const libc = dlopen("libc.so.6", { ioctl: { args: ["i32", "u64", "ptr"], returns: "i32" } })
  const flags = new Uint32Array([2])
  const folder = openSync(mount, "r")
  const result = libc.symbols.ioctl(folder, 0x8004587dn, ptr(flags))
  closeSync(folder)
  libc.close()
  if (result !== 0) throw new Error("the shutdown ioctl failed")
}

/** Unmounts, as soon as the last thread of a killed process has let go. */
export const unmount = async (mount: string): Promise<void> => {
  for (let tries = 0; !run("umount", mount); tries++) {
    if (tries === 100) throw new Error(`${mount} stays busy`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

/** `test` for what needs such a file system; elsewhere the test is listed as skipped, with the reason. */
export const onLoop: Test = whyNoLoop === undefined
  ? here
  : (name, body) => test.skip(`${name} (skipped: ${whyNoLoop})`, body)

/** Why no system call can be made to fail here. `undefined`: it can. */
const whyNoStrace = process.platform !== "linux"
  ? "needs Linux"
  : spawnSync("strace", ["-qq", "-o", "/dev/null", "true"]).status === 0
  ? undefined
  : "needs strace, and permission to trace"

/** `test` for what lets system calls fail; elsewhere the test is listed as skipped, with the reason. */
export const traced: Test = whyNoStrace === undefined
  ? here
  : (name, body) => test.skip(`${name} (skipped: ${whyNoStrace})`, body)

/** The command that lets the Nth of some system calls of the command after it fail. */
export const failing = (calls: string, inject: string, nth: number): ReadonlyArray<string> => [
  "strace",
  ...["-f", "-qq", "-o", "/dev/null", "-e", `trace=${calls}`, "-e", `inject=${calls}:${inject}:when=${nth}`],
]
