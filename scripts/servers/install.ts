/**
 * Installs the servers that `mod.ts` starts and the clients that the tests compare with: Debian's packages as root,
 * and versitygw where there is Go. Quick when they are there. What cannot be installed is said in one line and is no
 * failure: the tests that need it say so again.
 *
 *     bun scripts/servers/install.ts
 *
 * @module
 */
import { existsSync } from "node:fs"
import process from "node:process"
import { run } from "../tools.ts"
import * as Ceph from "./ceph.ts"
import { programPath } from "./mod.ts"
import * as Versitygw from "./versitygw.ts"

/** Debian's packages by what they are for. */
const packages: Readonly<Record<string, { readonly programs: ReadonlyArray<string>; readonly names: string }>> = {
  ceph: { programs: Ceph.programs, names: "radosgw ceph-mon ceph-osd ceph-common" },
  awscli: { programs: ["aws"], names: "awscli" },
  rclone: { programs: ["rclone"], names: "rclone" },
  s3cmd: { programs: ["s3cmd"], names: "s3cmd" },
  nginx: { programs: ["nginx"], names: "nginx-light libnginx-mod-http-dav-ext" },
}

const say = (name: string, what: string): void => console.log(`${name}: ${what}`)

const lastLine = (output: string): string => output.trim().split("\n").at(-1) ?? ""

const installPackages = async (): Promise<void> => {
  const wanted = Object.entries(packages).filter(([name, { programs }]) => {
    const there = programs.every((program) =>
      ["/usr/bin", "/usr/sbin"].some((folder) => existsSync(`${folder}/${program}`))
    )
    if (there) say(name, "is there")
    return !there
  })
  if (wanted.length === 0) return
  const why = process.getuid?.() !== 0
    ? "only root can install"
    : programPath("apt-get") === undefined
    ? "there is no apt-get to install"
    : undefined
  const names = wanted.flatMap(([, { names }]) => names.split(" "))
  const apt = async (...args: ReadonlyArray<string>) =>
    await run(["timeout", "300", "apt-get", "-o", "DPkg::Lock::Timeout=120", ...args], {
      // The run level of a machine without services: nothing that is installed is to be started.
      env: { DEBIAN_FRONTEND: "noninteractive", RUNLEVEL: "1" },
      quiet: true,
    })
  if (why === undefined) {
    await apt("update")
    const { code, output } = await apt("install", "-y", "--no-install-recommends", ...names)
    for (const [name] of wanted) say(name, code === 0 ? "installed" : `not installed: ${lastLine(output)}`)
  } else {
    for (const [name, { names }] of wanted) say(name, `not installed: ${why} ${names}`)
  }
}

const buildVersitygw = async (): Promise<void> => {
  const { version, binFolder } = Versitygw
  if (Versitygw.installed()) return say("versitygw", "is there")
  const go = programPath("go")
  if (go === undefined) return say("versitygw", "not built: there is no go")
  const source = `github.com/versity/versitygw/cmd/versitygw@${version}`
  // Less to link, and no C compiler needed.
  const env = { GOBIN: binFolder, CGO_ENABLED: "0" }
  const { code, output } = await run(["timeout", "400", go, "install", "-ldflags=-s -w", source], { env, quiet: true })
  say("versitygw", code === 0 ? "built" : `not built: ${lastLine(output)}`)
}

await Promise.all([installPackages(), buildVersitygw()])
