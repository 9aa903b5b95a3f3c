/**
 * What credential sources need of the machine they run on: variables, files, programs, HTTP and the time.
 *
 * Built-in modules are asked for by `process.getBuiltinModule` and never imported, so nothing of Node is reachable
 * from a bundle for a Worker; where a capability is missing, a source finds nothing and says so. Tests pass a
 * machine of their own.
 *
 * @module
 */
import { StoreError } from "../error.ts"

/** A program's end. */
export interface ProgramEnd {
  /** Exit code; `undefined` when it was killed or did not start. */
  readonly code: number | undefined
  /** Standard output. Whatever went to standard error is dropped: it may hold secrets. */
  readonly output: string
}

/** The machine as credential sources see it. */
export interface Machine {
  /** A variable of the environment; one that is empty, or that Deno may not read, counts as not set. */
  readonly variable: (name: string) => string | undefined
  /** A text file, or `undefined` if there is none. `Forbidden` if the runtime or the system refuses. */
  readonly readText: (path: string) => Promise<string | undefined>
  /** Runs a program without a shell, for at most `timeout` milliseconds. */
  readonly run: (program: string, args: ReadonlyArray<string>, timeout: number) => Promise<ProgramEnd>
  /** HTTP. */
  readonly fetch: (url: string, init: RequestInit) => Promise<Response>
  /** Milliseconds since 1970. */
  readonly now: () => number
}

/** The parts of Node's built-in modules that are used here. */
interface FileSystem {
  readonly readFile: (path: string, encoding: "utf8") => Promise<string>
  readonly stat: (path: string) => Promise<{ readonly mtimeMs: number }>
}
interface ChildProcess {
  readonly execFile: (
    file: string,
    args: ReadonlyArray<string>,
    options: { readonly timeout: number; readonly maxBuffer: number; readonly windowsHide: boolean },
    done: (error: { readonly code?: unknown } | null, stdout: string) => void,
  ) => unknown
}
interface BuiltIns {
  "node:fs/promises": FileSystem
  "node:child_process": ChildProcess
}

const runtimeProcess = (): {
  readonly env?: Readonly<Record<string, string | undefined>>
  readonly getBuiltinModule?: (name: string) => unknown
} | undefined => (globalThis as { process?: object }).process

const builtIn = <Name extends keyof BuiltIns>(name: Name): BuiltIns[Name] => {
  const module = runtimeProcess()?.getBuiltinModule?.(name) as BuiltIns[Name] | undefined
  if (module === undefined) {
    throw new StoreError({ reason: "Unsupported", detail: `this runtime has no ${name}`, operation: "authenticate" })
  }
  return module
}

const forbidden = (what: string, cause: unknown): StoreError =>
  new StoreError({
    reason: "Forbidden",
    detail: `the program may not ${what}`,
    operation: "authenticate",
    hint: "give the permission (Deno: --allow-read, --allow-run, --allow-env), or pass credentials as an option",
    cause,
  })

const codeOf = (error: unknown): string => String((error as { code?: unknown } | null)?.code)

const notPermitted = (error: unknown): boolean =>
  (error as Error | null)?.name === "NotCapable" || ["EACCES", "EPERM"].includes(codeOf(error))

/** A file changed this recently, in milliseconds, may still be on its way. */
const unsettled = 2000

/** Pause before a file that may be on its way is read again, in milliseconds. */
const settle = 20

/**
 * A file that is the same twice in a row, unless it has been left alone for a while. Tools rewrite credentials in
 * place, and a reader in between would see one key of the old pair, or half of one.
 */
export const readSettled = async (
  read: () => Promise<{ readonly text: string; readonly age: number }>,
  pause: () => Promise<void>,
): Promise<string> => {
  let last = await read()
  for (let round = 0; round < 50 && last.age < unsettled; round++) {
    await pause()
    const next = await read()
    if (next.text === last.text && next.text !== "") return next.text
    last = next
  }
  return last.text
}

/** The machine this program runs on. */
export const thisMachine: Machine = {
  variable: (name) => {
    try {
      return runtimeProcess()?.env?.[name] || undefined
    } catch {
      // Deno without --allow-env for this name.
      return undefined
    }
  },
  readText: async (path) => {
    const files = builtIn("node:fs/promises")
    try {
      return await readSettled(
        async () => {
          const text = await files.readFile(path, "utf8")
          return { text, age: Date.now() - (await files.stat(path)).mtimeMs }
        },
        () => new Promise((resolve) => setTimeout(resolve, settle)),
      )
    } catch (error) {
      if (["ENOENT", "ENOTDIR"].includes(codeOf(error))) return undefined
      if (notPermitted(error)) throw forbidden(`read ${JSON.stringify(path)}`, error)
      throw new StoreError({
        reason: "Config",
        detail: `the file ${JSON.stringify(path)} cannot be read: ${codeOf(error)}`,
        operation: "authenticate",
        cause: error,
      })
    }
  },
  run: (program, args, timeout) =>
    new Promise((resolve, reject) => {
      try {
        builtIn("node:child_process").execFile(
          program,
          args,
          { timeout, maxBuffer: 65_536, windowsHide: true },
          (error, output) => {
            if (error !== null && notPermitted(error)) return reject(forbidden(`run ${JSON.stringify(program)}`, error))
            resolve({ code: error === null ? 0 : typeof error.code === "number" ? error.code : undefined, output })
          },
        )
      } catch (error) {
        reject(notPermitted(error) ? forbidden(`run ${JSON.stringify(program)}`, error) : error)
      }
    }),
  fetch: (url, init) => fetch(url, init),
  now: Date.now,
}
