import { expect, test } from "bun:test"
import { StoreError } from "../error.ts"
import { parseIni } from "./ini.ts"
import { readProfiles } from "./profiles.ts"
import { resolveRegion } from "./region.ts"
import { machineOf } from "./testing.ts"

const parse = (text: string): unknown =>
  Object.fromEntries([...parseIni(text, "f")].map(([name, values]) => [name, Object.fromEntries(values)]))

const thrown = (run: () => unknown): StoreError => {
  try {
    run()
  } catch (error) {
    if (StoreError.is(error)) return error
    throw error
  }
  throw new Error("expected a StoreError")
}

test("parseIni() reads what AWS's tools write", () => {
  expect(parse("\ufeff# top\r\n[default]\r\nAWS_Access_Key_Id=a=b\r\n region =  eu-west-1  # here\r\n")).toEqual({
    default: { aws_access_key_id: "a=b", region: "eu-west-1" },
  })
  expect(parse("[a] ; note\nx = 1#2;3\n[ b  c ]\n[a]\ny = 2\nx = 3")).toEqual({ a: { x: "3", y: "2" }, "b c": {} })
  expect(parse("[profile p]\ns3 =\n  max_concurrent_requests = 20\n  region = nested\nregion = us-west-2")).toEqual({
    "profile p": { s3: "", region: "us-west-2" },
  })
  expect(parse("")).toEqual({})
})

test("fault 129: a broken line is Config with file and line, and is not shown", () => {
  const cases: ReadonlyArray<readonly [string, number]> = [
    ["[default]\nCANARY", 2],
    ["[default\nx = 1", 1],
    ["\n\nCANARY = 1", 3],
    ["[]\n", 1],
    ["[default]\n= CANARY", 2],
  ]
  for (const [text, line] of cases) {
    const error = thrown(() => parseIni(text, "/home/me/.aws/credentials"))
    expect(error.reason).toBe("Config")
    expect(error.message).toContain(`line ${line} of "/home/me/.aws/credentials"`)
    expect(error.message + error.hint).not.toContain("CANARY")
  }
})

const files = {
  "/home/me/.aws/config":
    '[default]\nregion = eu-west-1\n[profile work]\nregion = eu-north-1\n[profile "two words"]\nregion = x\n' +
    "[sso-session work]\nsso_region = no\n[stray]\nregion = no",
  "/home/me/.aws/credentials": "[work]\naws_access_key_id = A\naws_secret_access_key = B\nregion = eu-south-1",
}

test("the two files are put together, and the credentials file wins", async () => {
  const { byName } = await readProfiles(machineOf({ HOME: "/home/me" }, { files }))
  expect([...byName.keys()].sort()).toEqual(["default", "two words", "work"])
  expect(Object.fromEntries(byName.get("work")!)).toEqual({
    region: "eu-south-1",
    aws_access_key_id: "A",
    aws_secret_access_key: "B",
  })
})

test("the region comes from AWS_REGION, AWS_DEFAULT_REGION, the profile, in this order", async () => {
  const region = (variables: Record<string, string>, profile?: string): Promise<string | undefined> =>
    resolveRegion({ machine: machineOf({ HOME: "/home/me", ...variables }, { files }), profile })
  expect(await region({ AWS_REGION: "a", AWS_DEFAULT_REGION: "b" })).toBe("a")
  expect(await region({ AWS_DEFAULT_REGION: "b", AWS_PROFILE: "work" })).toBe("b")
  expect(await region({ AWS_PROFILE: "work" })).toBe("eu-south-1")
  expect(await region({ AWS_PROFILE: "work" }, "default")).toBe("eu-west-1")
  expect(await region({})).toBe("eu-west-1")
  expect(await region({ AWS_PROFILE: "none" })).toBeUndefined()
  expect(await resolveRegion({ machine: machineOf({}) })).toBeUndefined()
})

test("files named by variables are used, with ~ for the home folder; one that may not be read is an error then", async () => {
  const refuses = {
    readText: () => Promise.reject(new StoreError({ reason: "Forbidden", detail: "the program may not" })),
  }
  const named = machineOf({ HOME: "/h", AWS_CONFIG_FILE: "~/c", AWS_SHARED_CREDENTIALS_FILE: "/d" }, {
    files: { "/h/c": "[default]\nregion = c", "/d": "[default]\nx = y" },
  })
  expect(Object.fromEntries((await readProfiles(named)).byName.get("default")!)).toEqual({ region: "c", x: "y" })
  const quiet = await readProfiles(machineOf({ HOME: "/h" }, refuses))
  expect([quiet.byName.size, quiet.files]).toEqual([
    0,
    "/h/.aws/credentials (the program may not), /h/.aws/config (the program may not)",
  ])
  const loud = await readProfiles(machineOf({ HOME: "/h", AWS_CONFIG_FILE: "/c" }, refuses)).then(
    () => "",
    (e) => e.reason,
  )
  expect(loud).toBe("Forbidden")
})
