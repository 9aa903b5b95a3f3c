import { expect, test } from "bun:test"
import { chmod, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { StoreError } from "../error.ts"
import { defaultChain, findCredentials } from "./chain.ts"
import { type Machine, thisMachine } from "./machine.ts"
import { wordsOf } from "./sources/process.ts"
import { fromSso } from "./sources/sso.ts"
import { machineOf } from "./testing.ts"

const failure = async (run: Promise<unknown>): Promise<StoreError> => {
  const error = await run.then((value) => value, (cause) => cause)
  if (StoreError.is(error)) return error
  throw new Error(`expected a StoreError, got ${String(error)}`)
}

const keys = (id: string): string => `aws_access_key_id = ${id}\naws_secret_access_key = ${id}-secret\n`

/** One access key id for each place, so that it shows where credentials came from. */
const everywhere = {
  variables: {
    HOME: "/h",
    AWS_ACCESS_KEY_ID: "ENV",
    AWS_SECRET_ACCESS_KEY: "s",
    AWS_WEB_IDENTITY_TOKEN_FILE: "/token",
    AWS_ROLE_ARN: "arn:x",
    AWS_CONTAINER_CREDENTIALS_RELATIVE_URI: "/c",
  },
  files: { "/token": "t", "/h/.aws/credentials": `[default]\n${keys("FILE")}[work]\n${keys("WORK")}` },
}

const given = (id: string): Response =>
  Response.json({ AccessKeyId: id, SecretAccessKey: "s", Token: "t", Expiration: "2026-01-01T06:00:00Z" })

const xml = (id: string): Response =>
  new Response(
    `<x><AccessKeyId>${id}</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken>` +
      "<Expiration>2026-01-01T06:00:00Z</Expiration></x>",
  )

const network = (url: string): Promise<Response> => {
  const { hostname, pathname } = new URL(url)
  if (hostname.startsWith("sts.")) return Promise.resolve(xml("TOKEN"))
  if (hostname === "169.254.170.2") return Promise.resolve(given("CONTAINER"))
  if (hostname === "169.254.169.254") {
    return Promise.resolve(pathname.endsWith("/role") ? given("INSTANCE") : new Response("role"))
  }
  return Promise.reject(new Error("no such host"))
}

const without = (...names: ReadonlyArray<string>): Record<string, string> =>
  Object.fromEntries(Object.entries(everywhere.variables).filter(([name]) => !names.includes(name)))

const id = async (
  variables: Record<string, string>,
  more: Partial<Machine> & { files?: Record<string, string> } = {},
) =>
  (await findCredentials({ machine: machineOf(variables, { fetch: network, files: everywhere.files, ...more }) }))
    .accessKeyId

test("the chain: environment, web identity, profile, container, instance, each when those before it do not apply", async () => {
  expect(await id(everywhere.variables)).toBe("ENV")
  const noKeys = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"]
  expect(await id(without(...noKeys))).toBe("TOKEN")
  const noToken = [...noKeys, "AWS_WEB_IDENTITY_TOKEN_FILE"]
  expect(await id(without(...noToken))).toBe("FILE")
  expect(await id(without(...noToken, "HOME"))).toBe("CONTAINER")
  expect(await id(without(...noToken, "HOME", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"))).toBe("INSTANCE")
})

test("the environment's credentials, with token and end; an end that is no date is Config", async () => {
  const variables = {
    ...everywhere.variables,
    AWS_SESSION_TOKEN: "t",
    AWS_CREDENTIAL_EXPIRATION: "2026-01-02T03:04:05Z",
  }
  const found = await findCredentials({ machine: machineOf(variables) })
  expect([found.secretAccessKey, found.sessionToken, found.expiration?.toISOString()]).toEqual([
    "s",
    "t",
    "2026-01-02T03:04:05.000Z",
  ])
  expect((await failure(id({ ...variables, AWS_CREDENTIAL_EXPIRATION: "soon" }))).reason).toBe("Config")
})

test("a profile given as an option is the only place looked at; AWS_PROFILE names the one of the chain", async () => {
  const machine = machineOf(everywhere.variables, { files: everywhere.files })
  expect((await findCredentials({ machine, profile: "work" })).accessKeyId).toBe("WORK")
  expect(await id({ ...everywhere.variables, AWS_PROFILE: "work" })).toBe("ENV")
  expect(await id({ HOME: "/h", AWS_PROFILE: "work" })).toBe("WORK")
})

test("in a Worker the environment is the only place, and a profile is refused and not replaced by it", async () => {
  const own = Object.getOwnPropertyDescriptor(globalThis, "navigator")!
  Object.defineProperty(globalThis, "navigator", { value: { userAgent: "Cloudflare-Workers" }, configurable: true })
  try {
    const machine = machineOf(everywhere.variables, { files: everywhere.files })
    expect((await findCredentials({ machine })).accessKeyId).toBe("ENV")
    const refused = await failure(findCredentials({ machine, profile: "work" }))
    expect([refused.reason, refused.message]).toEqual([
      "Unauthorized",
      expect.stringContaining("a Worker has no files"),
    ])
  } finally {
    Object.defineProperty(globalThis, "navigator", own)
  }
})

test("no credentials anywhere is Unauthorized, and says of each place why", async () => {
  const machine = machineOf({ HOME: "/h" })
  const error = await failure(findCredentials({ machine }))
  expect(error.reason).toBe("Unauthorized")
  expect(error.detail).toBe(
    "AWS credentials not found (environment: AWS_ACCESS_KEY_ID is not set; " +
      "web identity: AWS_WEB_IDENTITY_TOKEN_FILE is not set; " +
      'profile: there is no profile "default" in /h/.aws/credentials (not there), /h/.aws/config (not there); ' +
      "container: AWS_CONTAINER_CREDENTIALS_RELATIVE_URI and _FULL_URI are not set; " +
      "instance: the EC2 metadata service cannot be reached (not on EC2, or in a container there and the hop limit is 1))",
  )
  expect(error.hint).toContain("AWS_ACCESS_KEY_ID")
})

test("a place that applies and fails ends the search: nobody acts under another identity by mistake", async () => {
  for (const half of ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"]) {
    const error = await failure(id(without(half)))
    expect([error.reason, error.detail.endsWith(`but ${half} is not`)]).toEqual(["Config", true])
  }
  const broken = { "/h/.aws/credentials": "[default]\naws_access_key_id = A\n" }
  expect(await failure(id({ HOME: "/h" }, { files: broken }))).toMatchObject({
    reason: "Config",
    detail: 'the profile "default" has no aws_secret_access_key, but the other key',
  })
  const unknown = await failure(id({ HOME: "/h", AWS_PROFILE: "wrok" }))
  expect([unknown.reason, unknown.hint]).toEqual(["Config", 'use one of "default", "work"'])
  expect((await failure(id({ HOME: "/h", AWS_PROFILE: "wo" }))).hint).toBe('use one of "work"')
})

test("a role of a profile is assumed with its source profile, the environment, or what a service gives", async () => {
  const used: Array<string> = []
  const sts = (url: string, init: RequestInit): Promise<Response> => {
    if (!new URL(url).hostname.startsWith("sts.")) return network(url)
    const { authorization } = init.headers as Record<string, string>
    const arn = new URLSearchParams(String(init.body)).get("RoleArn")!
    used.push(`${/Credential=([^/]+)/.exec(authorization!)![1]} → ${arn} in ${new URL(url).hostname}`)
    return Promise.resolve(xml(arn))
  }
  const config = `[profile base]\n${keys("BASE")}
[profile one]\nrole_arn = ONE\nsource_profile = base\nregion = eu-west-1
[profile two]\nrole_arn = TWO\nsource_profile = one
[profile self]\nrole_arn = SELF\nsource_profile = self\n${keys("OWN")}
[profile env]\nrole_arn = ROLE\ncredential_source = Environment
[profile ecs]\nrole_arn = ROLE\ncredential_source = EcsContainer
[profile ec2]\nrole_arn = ROLE\ncredential_source = Ec2InstanceMetadata
[profile web]\nrole_arn = WEB\nweb_identity_token_file = /token
[profile bad]\nrole_arn = R\ncredential_source = Nowhere
[profile both]\nrole_arn = R\ncredential_source = Environment\nsource_profile = base
[profile none]\nrole_arn = R
[profile empty]\nregion = x
[profile onempty]\nrole_arn = R\nsource_profile = empty
[profile mfa]\nrole_arn = R\nsource_profile = base\nmfa_serial = arn:mfa
[profile ring]\nrole_arn = R\nsource_profile = ring2
[profile ring2]\nrole_arn = R\nsource_profile = ring`
  const files = { "/h/.aws/config": config, "/token": "t" }
  const machine = (variables: Record<string, string> = {}): Machine =>
    machineOf({ HOME: "/h", AWS_CONTAINER_CREDENTIALS_RELATIVE_URI: "/c", ...variables }, {
      files,
      fetch: (url, init) =>
        url.includes("sts.") && !("authorization" in (init.headers ?? {}))
          ? Promise.resolve(xml("WEB"))
          : sts(url, init),
    })
  const find = async (profile: string, variables?: Record<string, string>): Promise<string> =>
    (await findCredentials({ profile, machine: machine(variables) })).accessKeyId
  for (const [profile, last] of [["one", "ONE"], ["two", "TWO"], ["self", "SELF"], ["ecs", "ROLE"], ["ec2", "ROLE"]]) {
    expect(await find(profile!)).toBe(last!)
  }
  expect(await find("env", { AWS_ACCESS_KEY_ID: "ENV", AWS_SECRET_ACCESS_KEY: "s" })).toBe("ROLE")
  expect(await find("web")).toBe("WEB")
  expect(used).toEqual([
    "BASE → ONE in sts.eu-west-1.amazonaws.com",
    "BASE → ONE in sts.eu-west-1.amazonaws.com",
    "ONE → TWO in sts.us-east-1.amazonaws.com",
    "OWN → SELF in sts.us-east-1.amazonaws.com",
    "CONTAINER → ROLE in sts.us-east-1.amazonaws.com",
    "INSTANCE → ROLE in sts.us-east-1.amazonaws.com",
    "ENV → ROLE in sts.us-east-1.amazonaws.com",
  ])
  const wrong: ReadonlyArray<readonly [string, string, string]> = [
    ["bad", "Config", "Nowhere"],
    ["both", "Config", "both source_profile and credential_source"],
    ["none", "Config", "neither source_profile nor credential_source"],
    ["onempty", "Config", '"empty" has no credentials'],
    ["empty", "Config", "has no credentials"],
    ["mfa", "Unsupported", "second factor"],
    ["ring", "Config", "ring → ring2 → ring"],
    ["env", "Unauthorized", "AWS_ACCESS_KEY_ID is not set"],
  ]
  for (const [profile, reason, text] of wrong) {
    const error = await failure(find(profile))
    expect([profile, error.reason, error.detail.includes(text)]).toEqual([profile, reason as "Config", true])
  }
})

test("credential_process: the words of a command, run without a shell", () => {
  expect(wordsOf(`/opt/get --name "a b" 'c "d"' e\\ f "g\\"h" C:\\bin\\x ""`)).toEqual([
    "/opt/get",
    "--name",
    "a b",
    'c "d"',
    "e f",
    'g"h',
    "C:\\bin\\x",
    "",
  ])
  expect(wordsOf("  a\tb  ")).toEqual(["a", "b"])
  expect(wordsOf('a "b')).toBeUndefined()
})

test("this machine's own files and programs: shared files, profiles and credential_process", async () => {
  const home = await mkdtemp(join(tmpdir(), "holdfast-aws-"))
  try {
    await mkdir(join(home, ".aws"))
    const tool = join(home, "tool with space")
    await writeFile(
      tool,
      `#!/bin/sh\nif [ "$1" = fail ]; then echo CANARY; echo CANARY >&2; exit 7; fi\n` +
        `printf '{"Version":%s,"AccessKeyId":"PROGRAM","SecretAccessKey":"%s","SessionToken":"t"}' "$1" "$2"\n`,
    )
    await chmod(tool, 0o700)
    await writeFile(join(home, ".aws/credentials"), `[default]\n${keys("FILE")}`)
    const lines = [["program", '1 "a $HOME b"'], ["failing", "fail"], ["version", "2 x"]]
      .map(([name, args]) => `[profile ${name}]\ncredential_process = "${tool}" ${args}\n`)
    await writeFile(join(home, ".aws/config"), lines.join("") + "[profile gone]\ncredential_process = /none/at/all\n")
    const machine: Machine = { ...thisMachine, variable: (name) => name === "HOME" ? home : undefined }
    const find = (profile?: string) => findCredentials(profile === undefined ? { machine } : { machine, profile })
    expect((await find()).accessKeyId).toBe("FILE")
    const program = await find("program")
    expect([program.accessKeyId, program.secretAccessKey, program.sessionToken]).toEqual(["PROGRAM", "a $HOME b", "t"])
    const failing = await failure(find("failing"))
    expect([failing.reason, failing.detail]).toEqual([
      "Unauthorized",
      'the credential_process of the profile "failing" ended with code 7',
    ])
    expect(`${failing.message} ${failing.hint} ${String(failing.cause)}`).not.toContain("CANARY")
    expect((await failure(find("version"))).reason).toBe("Protocol")
    expect((await failure(find("gone"))).detail).toContain("could not be run")
  } finally {
    await rm(home, { recursive: true })
  }
})

test("a profile that signs in through AWS says which package it takes", async () => {
  const missing = await failure(fromSso("work", () => Promise.reject(new Error("not found"))))
  expect([missing.reason, missing.hint]).toEqual([
    "Config",
    "install @aws-sdk/credential-providers, or use credential_process = aws configure export-credentials --profile work",
  ])
  const found = await fromSso("work", () =>
    Promise.resolve({
      fromIni: ({ profile }) => () => Promise.resolve({ accessKeyId: profile.toUpperCase(), secretAccessKey: "s" }),
    }))
  expect(found.accessKeyId).toBe("WORK")
  const signedOut = await failure(
    fromSso("work", () => Promise.resolve({ fromIni: () => () => Promise.reject(new Error("expired")) })),
  )
  expect([signedOut.reason, signedOut.hint]).toEqual(["Unauthorized", "run aws sso login --profile work"])
  const profile = machineOf({ HOME: "/h" }, { files: { "/h/.aws/config": "[default]\nsso_session = s" } })
  expect((await failure(findCredentials({ machine: profile }))).reason).toBe("Config")
})

test("the chain keeps what it finds, and looks again when it is refused: rotated keys need no restart", async () => {
  const files: Record<string, string> = { "/h/.aws/credentials": `[default]\n${keys("OLD")}` }
  let reads = 0
  const chain = defaultChain({
    machine: machineOf({ HOME: "/h" }, {
      readText: (path) => {
        reads++
        return Promise.resolve(files[path])
      },
    }),
  })
  const old = await chain.get()
  await chain.get()
  expect([old.accessKeyId, reads]).toEqual(["OLD", 2])
  files["/h/.aws/credentials"] = `[default]\n${keys("NEW")}`
  chain.invalidate(old)
  expect((await chain.get()).accessKeyId).toBe("NEW")
})
