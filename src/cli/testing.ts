/** Runs the command as its users do, in a process of its own, for the tests of this folder. */
import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import process from "node:process"
import { fileURLToPath } from "node:url"
import { makeS3Peer, peerCredentials, type PeerServer, type S3Peer, type S3PeerOptions } from "../testing/s3/mod.ts"

const main = fileURLToPath(new URL("main.ts", import.meta.url))

/** Milliseconds that a test of several processes may take on a busy machine. */
export const patience = 60_000

/** The command line of `holdfast` in the runtime that runs the tests. */
export const command: readonly [string, ...Array<string>] = process.versions["deno"] === undefined
  ? [process.execPath, main]
  : [process.execPath, "run", "--no-check", "-A", main]

/** What a process left behind. */
export interface Outcome {
  /** The exit code, or 128 + its number for a signal that killed the process. */
  readonly code: number
  readonly stdout: Uint8Array<ArrayBuffer>
  readonly out: string
  readonly err: string
}

/** Options of {@link start}. */
export interface StartOptions {
  readonly cwd: string
  readonly env?: Record<string, string>
}

/** Deno reports a process that exits with 128 + n as killed by signal n. */
const signalNumbers: Readonly<Record<string, number>> = { SIGHUP: 1, SIGINT: 2, SIGKILL: 9, SIGPIPE: 13, SIGTERM: 15 }

/** Variables that change what the command prints, or which store it uses. */
const decides = /^(?:HOLDFAST_STORE|NO_COLOR|FORCE_COLOR|(?:AWS|S3|R2|CLOUDFLARE)_.*)$/

/** Where no credentials are, so that the machine's own are not used. */
const nowhere = {
  AWS_EC2_METADATA_DISABLED: "true",
  AWS_CONFIG_FILE: "/nowhere/config",
  AWS_SHARED_CREDENTIALS_FILE: "/nowhere/credentials",
}

/** Starts a program without the variables that would change what it does. */
export const start = (
  [program, ...args]: readonly [string, ...Array<string>],
  { cwd, env }: StartOptions,
): ChildProcessWithoutNullStreams => {
  const rest = Object.fromEntries(Object.entries(process.env).filter(([name]) => !decides.test(name)))
  const child = spawn(program, args, { cwd, env: { ...rest, ...nowhere, ...env }, stdio: ["pipe", "pipe", "pipe"] })
  // A program may end without reading all of its input.
  child.stdin.on("error", () => {})
  return child
}

/** Waits for the end of a process and collects what it prints. */
export const outcome = async (child: ChildProcessWithoutNullStreams): Promise<Outcome> => {
  const read = async (stream: AsyncIterable<Uint8Array>): Promise<Uint8Array<ArrayBuffer>> => {
    const chunks: Array<Uint8Array<ArrayBuffer>> = []
    for await (const chunk of stream) chunks.push(new Uint8Array(chunk))
    return await new Blob(chunks).bytes()
  }
  const [stdout, stderr, code] = await Promise.all([
    read(child.stdout),
    read(child.stderr),
    new Promise<number>((resolve, reject) => {
      child.on("error", reject)
      child.on("close", (code, signal) => resolve(code ?? 128 + (signalNumbers[signal ?? ""] ?? 0)))
    }),
  ])
  return { code, stdout, out: new TextDecoder().decode(stdout), err: new TextDecoder().decode(stderr) }
}

/** A folder with a store of its own, removed by `await using`. */
export class Workplace implements AsyncDisposable {
  readonly path: string

  /** Variables of all that is started here. */
  readonly env: Readonly<Record<string, string>>

  private constructor(path: string, env: Readonly<Record<string, string>>) {
    this.path = path
    this.env = env
  }

  static async make(env: Readonly<Record<string, string>> = {}): Promise<Workplace> {
    return new Workplace(await mkdtemp(join(tmpdir(), "holdfast-cli-")), env)
  }

  /** A path in the folder. */
  at(name: string): string {
    return join(this.path, name)
  }

  /** Starts `holdfast` with these arguments. */
  start(...args: ReadonlyArray<string>): ChildProcessWithoutNullStreams {
    return start([...command, ...args] as [string, ...Array<string>], { cwd: this.path, env: this.env })
  }

  /** Runs `holdfast` with these arguments and an empty input. */
  run(...args: ReadonlyArray<string>): Promise<Outcome> {
    return this.feed("", ...args)
  }

  /** Runs `holdfast` with these arguments and this input. */
  feed(input: string | Uint8Array, ...args: ReadonlyArray<string>): Promise<Outcome> {
    const child = this.start(...args)
    child.stdin.end(input)
    return outcome(child)
  }

  /** Runs a line of shell, in which `$holdfast` is the command. */
  shell(line: string, env?: Record<string, string>): Promise<Outcome> {
    const child = start(["bash", "-c", line], {
      cwd: this.path,
      env: { holdfast: command.join(" "), ...this.env, ...env },
    })
    child.stdin.end()
    return outcome(child)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.path, { recursive: true, force: true })
  }
}

/** A scripted S3 service behind a socket, and how the command reaches it. */
export interface Bucket extends AsyncDisposable {
  readonly peer: S3Peer
  /** `http://127.0.0.1:port` */
  readonly endpoint: string
  /** Its bucket `test`, as a store of the profile `aws`; further options of the URL may follow. */
  readonly store: string
  /** Variables with the right credentials. */
  readonly env: Readonly<Record<string, string>>
}

/** Opens a service. `versioned`: its bucket keeps versions. */
export const openBucket = async (
  { versioned = false, ...options }: S3PeerOptions & { readonly versioned?: boolean } = {},
): Promise<Bucket> => {
  const peer = makeS3Peer({ seed: 1, ...options, anonymous: versioned || options.anonymous })
  const server: PeerServer = await peer.listen()
  for (const bucket of versioned ? options.buckets ?? ["test"] : []) {
    const { status } = await peer.fetch(`${server.url}/${bucket}?versioning`, {
      method: "PUT",
      body: "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>",
    })
    if (status !== 200) throw new Error(`the peer answers ${status}`)
  }
  return {
    peer,
    endpoint: server.url,
    store: `s3://test?endpoint=${server.url}&region=us-east-1&profile=aws`,
    env: {
      AWS_ACCESS_KEY_ID: peerCredentials.accessKeyId,
      AWS_SECRET_ACCESS_KEY: peerCredentials.secretAccessKey,
    },
    [Symbol.asyncDispose]: () => server.close(),
  }
}

/** Waits until `check` says yes. */
export const until = async (what: string, check: () => Promise<boolean>): Promise<void> => {
  for (const end = performance.now() + 20_000; performance.now() < end;) {
    if (await check()) return
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
  throw new Error(`waited in vain: ${what}`)
}
