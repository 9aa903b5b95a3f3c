import { expect, test } from "bun:test"
import { type Address, addressOf } from "./address.ts"
import { CommandError } from "./exit.ts"

const here = "file:./data"
const account = "0123456789abcdef0123456789abcdef"

test("an argument is a key of the store that is named, else of --store", () => {
  expect(addressOf("runs/1", undefined, here)).toEqual({ store: here, key: "runs/1" })
  expect(addressOf("s3://b/k", "mem:", here)).toEqual({ store: "mem:", key: "s3://b/k" })
  expect(addressOf("file:./x", undefined, here)).toEqual({ store: here, key: "file:./x" })
})

test("an s3 or r2 URL holds the key in its path", () => {
  const cases: ReadonlyArray<readonly [argument: string, address: Address]> = [
    ["s3://b/runs/1", { store: "s3://b", key: "runs/1" }],
    ["s3://b/a%20b%2Fc?region=x&profile=aws", { store: "s3://b?region=x&profile=aws", key: "a b/c" }],
    ["s3://b/runs/", { store: "s3://b", key: "runs/" }],
    ["s3://b", { store: "s3://b", key: "" }],
    ["S3://b//k", { store: "S3://b", key: "/k" }],
    [`r2://${account}/b/k/1`, { store: `r2://${account}/b`, key: "k/1" }],
    ["r2://b/k/1?jurisdiction=eu", { store: "r2://b?jurisdiction=eu", key: "k/1" }],
  ]
  for (const [argument, address] of cases) expect(addressOf(argument, undefined, here)).toEqual(address)
})

test("a URL that cannot be meant so is a usage error that does not repeat it", () => {
  for (const argument of ["s3://", "s3:///canary", "r2://?canary", "s3://b/canary%", "s3://b/k#canary"]) {
    const address = addressOf(argument, undefined, here)
    expect(address).toBeInstanceOf(CommandError)
    expect(String(address)).not.toContain("canary")
  }
})
