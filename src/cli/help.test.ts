import { expect, test } from "bun:test"
import { chmod, writeFile } from "node:fs/promises"
import { command, openBucket, type Outcome, patience, Workplace } from "./testing.ts"

const verbs = [
  "save",
  "load",
  "ls",
  "stat",
  "verify",
  "rm",
  "cp",
  "mv",
  "presign",
  "migrate",
  "job",
  "job ls",
  "job show",
  "job runs",
  "job events",
  "job rm",
  "checkpoint",
  "checkpoint ls",
  "checkpoint show",
  "checkpoint versions",
  "checkpoint url",
  "checkpoint rm",
  "snapshot",
  "snapshot ls",
  "snapshot show",
  "snapshot verify",
  "snapshot save",
  "snapshot restore",
  "snapshot rm",
  "snapshot health",
  "doc",
  "doc create",
  "doc ls",
  "doc show",
  "doc versions",
  "doc rm",
  "doc export",
  "doc import",
  "doc cp",
  "doc audit",
  "versions",
  "restore",
  "uploads",
  "uploads ls",
  "uploads abort",
  // What serve itself shows never ends; serve.test.ts looks at it.
  "serve token",
  "doctor",
]

/** The bucket of the examples. They run as they stand, but for the options that lead to the service of the test. */
const exampleBucket = "s3://my-bucket"

/** The example lines of a help page. */
const examplesOf = (help: string): Array<string> =>
  help.slice(help.indexOf("EXAMPLES\n") + "EXAMPLES\n".length).split("\n").map((line) => line.trim())
    .filter((line) => line !== "" && !line.startsWith("#"))

for (const verb of ["", ...verbs]) {
  test(`holdfast ${verb} --help is for stdout, fits a terminal, and its examples work in an empty folder`, async () => {
    await using bucket = await openBucket({ buckets: ["my-bucket"], versioned: true })
    await using work = await Workplace.make({
      ...bucket.env,
      AWS_REGION: "us-east-1",
      AWS_ENDPOINT_URL_S3: bucket.endpoint,
    })
    const help = await work.run(...verb.split(" ").filter((word) => word !== ""), "--help")
    expect(help).toMatchObject({ code: 0, err: "" })
    expect(help.out).toContain("USAGE")
    for (const line of help.out.split("\n")) expect(line.length).toBeLessThanOrEqual(120)
    // The examples as they stand, with a `holdfast` on the PATH.
    await writeFile(work.at("holdfast"), `#!/bin/sh\nexec ${command.join(" ")} "$@"\n`)
    await chmod(work.at("holdfast"), 0o755)
    const examples = examplesOf(help.out).map((line) =>
      line.replaceAll(exampleBucket, `'${exampleBucket}?profile=aws'`)
    )
    if (examples.some((line) => line.includes(exampleBucket))) {
      // What they speak of is there.
      for (const store of [`${exampleBucket}?profile=aws`, "file:./holdfast-data"]) {
        for (const key of ["notes/hello", "notes/a"]) {
          expect(await work.feed("hello", "save", key, "--store", store)).toMatchObject({ code: 0, err: "" })
        }
      }
    }
    expect(examples.length).toBeGreaterThan(0)
    for (const example of examples) {
      const { code, err } = await work.shell(`PATH="$PWD:$PATH"; ${example}`)
      expect({ example, code, err }).toEqual({ example, code: 0, err: "" })
    }
  }, patience)
}

test("usage errors are for stderr, help included, and exit code 2", async () => {
  await using work = await Workplace.make()
  const expectUsage = ({ code, out, err }: Outcome, message: string): void => {
    expect({ code, out }).toEqual({ code: 2, out: "" })
    expect(err).toContain("USAGE")
    expect(err).toContain(message)
  }
  expectUsage(await work.run(), "holdfast: Missing subcommand")
  expectUsage(await work.run("sav"), 'holdfast: Unknown subcommand "sav"')
  expectUsage(await work.run("save"), "holdfast: Missing required argument: KEY")
  expectUsage(await work.run("save", "k", "--if-nonematch"), "holdfast: Unrecognized flag: --if-nonematch")
  expectUsage(await work.run("save", "k", "f", "g"), 'holdfast: Unexpected positional argument: "g"')
  expectUsage(await work.run("save", "k", "--expect-size", "-1"), "Expected a number of bytes")
  expectUsage(await work.run("save", "k", "--digest", "md5"), "--digest")
  const json = await work.run("stat", "--json")
  expect({ code: json.code, out: json.out }).toEqual({ code: 2, out: "" })
  expect(JSON.parse(json.err)).toMatchObject({ error: { code: "Usage", message: "Missing required argument: KEY" } })
}, patience)

test("--version names the version", async () => {
  await using work = await Workplace.make()
  const { default: manifest } = await import("../../deno.json", { with: { type: "json" } })
  expect(await work.run("--version")).toMatchObject({ code: 0, out: `holdfast v${manifest.version}\n`, err: "" })
}, patience)
