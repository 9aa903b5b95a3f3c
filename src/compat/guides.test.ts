import { expect, test } from "bun:test"
import { readFile } from "node:fs/promises"
import { chooseBackend, guides, iamPolicy } from "./guides.ts"

test("row 27: each line of Perstack's guide is its answer", () => {
  const table = [
    ["local-development", "Local development", "FileSystem", "filesystem"],
    ["single-server", "Single server production", "FileSystem", "filesystem"],
    ["aws", "AWS Lambda / ECS / EKS", "S3", "s3"],
    ["multi-region", "Multi-region deployments", "S3 with replication", "s3"],
    ["cloudflare-workers", "Cloudflare Workers", "R2", "r2"],
    ["edge-first", "Edge-first architecture", "R2", "r2"],
    ["high-egress", "Cost-sensitive with high egress", "R2 (no egress fees)", "r2"],
  ] as const
  expect(Object.keys(guides.perstack)).toEqual(table.map(([name]) => name))
  for (const [name, scenario, recommended, backend] of table) {
    expect(chooseBackend("perstack", name)).toEqual({ scenario, recommended, backend })
  }
})

const page = await readFile(new URL("../../docs/migrating.md", import.meta.url), "utf8").catch(() => undefined)
const onPage = page === undefined ? test.skip : test
const why = page === undefined ? " (skipped: there is no docs/migrating.md)" : ""

onPage(`rows 23, 27: the page on migrating has Perstack's guide, and how to get keys of R2${why}`, () => {
  for (const { scenario, recommended } of Object.values(guides.perstack)) {
    expect(page).toContain(`| ${scenario} | ${recommended} |`)
  }
  expect(page).toContain("1. Go to Cloudflare Dashboard > R2 > Manage R2 API Tokens")
  expect(page).toContain('2. Create an API token with "Object Read & Write" permissions')
  expect(page).toContain("3. Copy the Access Key ID and Secret Access Key")
})

test("row 152: each line of JACS's guide is its answer", () => {
  const table = [
    ["development", "Development", "fs", "filesystem"],
    ["single-server", "Single server", "fs", "filesystem"],
    ["cloud", "Cloud deployment", "aws", "s3"],
    ["high-availability", "High availability", "aws", "s3"],
    ["multi-organization", "Multi-organization", "hai", "hai"],
    ["testing", "Testing", "In-memory (no_save)", "memory"],
  ] as const
  expect(Object.keys(guides.jacs)).toEqual(table.map(([name]) => name))
  for (const [name, scenario, recommended, backend] of table) {
    expect(chooseBackend("jacs", name)).toEqual({ scenario, recommended, backend })
  }
})

test("row 251: Persist's guide recommends the local disk, S3 and Google Cloud Storage, in this order", () => {
  const backends = Object.values(guides.persist).map(({ backend }) => backend)
  expect(backends).toEqual(["filesystem", "filesystem", "filesystem", "s3", "s3", "gcs", "gcs"])
  expect(chooseBackend("persist", "testing").recommended).toBe("Local Filesystem")
})

test("a situation or a system that no guide knows is told, with those there are", () => {
  const anything = chooseBackend as (system: string, scenario: string) => unknown
  expect(() => anything("perstack", "mars")).toThrow('the scenario "mars" is not in the guide; there are local-dev')
  expect(() => anything("perstack", "toString")).toThrow('the scenario "toString"')
  expect(() => anything("persistence", "aws")).toThrow("there are perstack, jacs, persist")
  expect(() => (iamPolicy as (system: string, bucket: string) => unknown)("other", "bucket")).toThrow('"other"')
})

test("row 210: the policy of Perstack and of JACS is the one of their guides", () => {
  for (const [system, bucket] of [["perstack", "my-perstack-bucket"], ["jacs", "my-jacs-bucket"]] as const) {
    expect(iamPolicy(system, bucket)).toEqual({
      Version: "2012-10-17",
      Statement: [
        {
          Effect: "Allow",
          Action: ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:ListBucket"],
          Resource: [`arn:aws:s3:::${bucket}`, `arn:aws:s3:::${bucket}/*`],
        },
      ],
    })
  }
})

test("row 211: Persist's policy is the one of its guide", () => {
  expect(iamPolicy("persist", "your-bucket-name")).toEqual({
    Version: "2012-10-17",
    Statement: [
      {
        Effect: "Allow",
        Action: ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:HeadObject"],
        Resource: "arn:aws:s3:::your-bucket-name/*",
      },
      { Effect: "Allow", Action: ["s3:ListBucket"], Resource: "arn:aws:s3:::your-bucket-name" },
    ],
  })
})

test("a policy for what is no bucket is refused", () => {
  for (const bad of ["", "*", "my-bucket/*", "a", "My-Bucket", "b\n"]) {
    expect(() => iamPolicy("perstack", bad)).toThrow("is not the name of a bucket")
  }
})
