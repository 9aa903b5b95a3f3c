/**
 * Checks of a folder: what file system it is on, how much room there is, who may use it.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import { access, constants, stat, statfs } from "node:fs/promises"
import { dirname, resolve } from "node:path"
import process from "node:process"
import { fileError } from "../exit.ts"
import { formatBytes } from "../output.ts"
import type { Bench } from "./bench.ts"
import type { Check } from "./check.ts"
import { type Finding, notHere, ok, wrong } from "./finding.ts"

/** The folder itself, or what there is of the way to it. */
const nearest = async (path: string): Promise<string> => {
  for (let at = resolve(path);; at = dirname(at)) {
    const found = await stat(at).catch(() => undefined)
    if (found?.isDirectory() === true || at === dirname(at)) return at
  }
}

/** A look at a folder; where it cannot be looked at, that is nothing against the store. */
const onDisk = (look: (folder: string, root: string) => Promise<Finding>): Check["run"] => ({ location }: Bench) => {
  const root = location.kind === "disk" ? location.root : "."
  return Effect.tryPromise({
    try: async () => look(await nearest(root), root),
    catch: (cause) => fileError("File", "look at the folder", cause),
  }).pipe(Effect.catch((error) => Effect.succeed(notHere(error.message))))
}

/** Numbers of file systems on Linux. Source: statfs(2). `volatile`: in memory; `remote`: on another machine. */
const kinds: ReadonlyMap<number, readonly [name: string, trait?: "volatile" | "remote"]> = new Map([
  [0xef53, ["ext4"]],
  [0x58465342, ["xfs"]],
  [0x9123683e, ["btrfs"]],
  [0x2fc12fc1, ["zfs"]],
  [0xf2f52010, ["f2fs"]],
  [0x794c7630, ["overlayfs"]],
  [0x4d44, ["vfat"]],
  [0x01021994, ["tmpfs", "volatile"]],
  [0x858458f6, ["ramfs", "volatile"]],
  [0x6969, ["nfs", "remote"]],
  [0x517b, ["smb", "remote"]],
  [0xff534d42, ["cifs", "remote"]],
  [0xfe534d42, ["smb2", "remote"]],
  [0x00c36400, ["ceph", "remote"]],
  [0x01021997, ["9p", "remote"]],
  [0x0bd00bd0, ["lustre", "remote"]],
])

/** What the folder is on. */
export const fileSystem: Check = {
  name: "file system",
  purpose: "read",
  where: "disk",
  run: onDisk(async (folder) => {
    if (process.platform !== "linux") return notHere("known on Linux only")
    const { type } = await statfs(folder)
    const [name, trait] = kinds.get(type >>> 0) ?? [`0x${(type >>> 0).toString(16)}`]
    if (trait === "remote") {
      return wrong(
        "Config",
        `${name} is a network file system, whose locks do not hold what the store builds on them`,
        "use a folder on a local disk, or a bucket",
      )
    }
    return trait === "volatile"
      ? ok(`${name}, which is in memory`, "use a folder on a disk for what should outlive a restart")
      : ok(name)
  }),
}

/** Less room than this is worth a word. */
const scarce = 256 * 2 ** 20

/** How much room there is. */
export const freeSpace: Check = {
  name: "free space",
  purpose: "write",
  where: "disk",
  run: onDisk(async (folder) => {
    const { bavail, bsize, ffree, files } = await statfs(folder)
    if (bavail === 0) return wrong("NoSpace", "the disk is full", "free some room")
    // Some file systems make files as they need them, and say 0 of 0.
    if (files > 0 && ffree === 0) return wrong("NoSpace", "the disk has room for no more files", "remove some")
    const free = bavail * bsize
    return ok(formatBytes(free), free < scarce ? "free some room before it is full" : undefined)
  }),
}

/** Who may use the folder. */
export const modes: Check = {
  name: "modes",
  purpose: "read",
  where: "disk",
  run: onDisk(async (folder, root) => {
    const { mode } = await stat(folder)
    const writable = await access(folder, constants.W_OK | constants.X_OK).then(() => true, () => false)
    const shown = (mode & 0o7777).toString(8)
    if (folder !== resolve(root)) {
      return writable ? ok("the folder will be made by the first save") : wrong(
        "Forbidden",
        `the folder cannot be made in ${JSON.stringify(folder)}`,
        "make it as somebody who may, and give it to this user",
      )
    }
    if (!writable) return ok(`${shown}: this user may only read`)
    return (mode & 0o002) === 0 ? ok(shown) : ok(`${shown}: everybody may write`, "take the right away with chmod o-w")
  }),
}
