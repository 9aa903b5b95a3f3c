import { expect, test } from "bun:test"
import { inspect } from "node:util"
import { StoreError } from "../error.ts"
import { inspectNatively } from "./testing.ts"
import { Credentials, type CredentialsLike, credentialsOf } from "./credentials.ts"

const canary = "CANARY/secret+1"
const parts = {
  accessKeyId: "AKIACANARYID",
  secretAccessKey: canary,
  sessionToken: "CANARYtoken",
  expiration: new Date("2026-01-01T00:00:00Z"),
}

test("fault 129: credentials show no secret, however they are printed", () => {
  const credentials = new Credentials(parts)
  const shown = [
    inspect(credentials, { depth: 10, showHidden: true }),
    inspect({ nested: [credentials] }, { depth: 10, getters: true }),
    inspectNatively({ credentials }),
    JSON.stringify({ credentials }),
    `${credentials}`,
    String(new Error("x", { cause: credentials }).cause),
    JSON.stringify({ ...credentials }),
    Object.entries(credentials).join(),
    Object.getOwnPropertyNames(credentials).join(),
    String(structuredClone({ ...credentials })),
  ]
  for (const text of shown) expect(text).not.toContain("CANARY")
  expect(shown[0]).toBe("Credentials(AKIA…)")
  expect(JSON.parse(JSON.stringify(credentials))).toEqual({
    accessKeyId: "AKIA…",
    secretAccessKey: "<redacted>",
    sessionToken: "<redacted>",
    expiration: "2026-01-01T00:00:00.000Z",
  })
})

test("credentials give their parts to those who ask, and keep them", () => {
  const given = { ...parts }
  const credentials = new Credentials(given)
  given.secretAccessKey = "changed"
  given.expiration.setTime(parts.expiration.getTime())
  expect(credentials.accessKeyId).toBe("AKIACANARYID")
  expect(credentials.secretAccessKey).toBe(canary)
  expect(credentials.sessionToken).toBe("CANARYtoken")
  credentials.expiration!.setTime(0)
  expect(credentials.expiration).toEqual(new Date("2026-01-01T00:00:00Z"))
  expect(credentialsOf(credentials)).toBe(credentials)
  expect(credentialsOf({ accessKeyId: "a", secretAccessKey: "b", sessionToken: "" }).sessionToken).toBeUndefined()
})

test("fault 129: incomplete or unsendable credentials are Config, and the message does not hold them", () => {
  const bad: ReadonlyArray<Partial<Record<keyof CredentialsLike, unknown>>> = [
    { accessKeyId: "" },
    { accessKeyId: undefined },
    { secretAccessKey: "" },
    { secretAccessKey: 7 },
    { accessKeyId: "AKIACANARYID\n" },
    { secretAccessKey: `${canary}\n` },
    { secretAccessKey: ` ${canary}` },
    { sessionToken: "CANARY\r\nx-evil: 1" },
    { expiration: new Date("nonsense") },
  ]
  for (const wrong of bad) {
    let error: unknown
    try {
      new Credentials({ ...parts, ...wrong } as CredentialsLike)
    } catch (thrown) {
      error = thrown
    }
    expect([Object.keys(wrong), StoreError.is(error) && error.reason]).toEqual([Object.keys(wrong), "Config"])
    expect(inspect(error, { depth: 10 })).not.toContain("CANARY")
  }
})
