/**
 * What the guides of Perstack, JACS and Persist recommend, as functions: which backend for which situation, and the
 * smallest IAM policy. The answers are the ones of those guides, so that a program can be held against them.
 *
 * @module
 */

/** The systems whose guides are known here. */
export type System = "perstack" | "jacs" | "persist"

/** Places that the guides recommend. `"hai"` is JACS's name for a managed service that speaks WebDAV. */
export type BackendChoice = "filesystem" | "memory" | "s3" | "r2" | "gcs" | "hai"

/** One line of a guide. */
export interface Recommendation {
  /** The situation in the guide's words. */
  readonly scenario: string
  /** The kind of place. */
  readonly backend: BackendChoice
  /** The guide's own words for it, with what it adds: `"S3 with replication"`. */
  readonly recommended: string
}

const line = (scenario: string, backend: BackendChoice, recommended: string): Recommendation => ({
  scenario,
  backend,
  recommended,
})

/** The situations that each guide knows. */
export interface Scenarios {
  /** "Choosing a Backend" of Perstack. */
  readonly perstack:
    | "local-development"
    | "single-server"
    | "aws"
    | "multi-region"
    | "cloudflare-workers"
    | "edge-first"
    | "high-egress"
  /** "Storage Selection Guide" of JACS. */
  readonly jacs: "development" | "single-server" | "cloud" | "high-availability" | "multi-organization" | "testing"
  /** "Choosing a Backend" of Persist: three sentences, one entry for each situation that they name. */
  readonly persist: "development" | "testing" | "single-node" | "aws" | "high-scale" | "gcp" | "global-consistency"
}

/** The situations that a system's guide knows. */
export type Scenario<S extends System = System> = Scenarios[S]

/** The guides of all systems, line by line; {@link chooseBackend} reads one. */
export const guides: { readonly [S in System]: Readonly<Record<Scenarios[S], Recommendation>> } = {
  perstack: {
    "local-development": line("Local development", "filesystem", "FileSystem"),
    "single-server": line("Single server production", "filesystem", "FileSystem"),
    "aws": line("AWS Lambda / ECS / EKS", "s3", "S3"),
    "multi-region": line("Multi-region deployments", "s3", "S3 with replication"),
    "cloudflare-workers": line("Cloudflare Workers", "r2", "R2"),
    "edge-first": line("Edge-first architecture", "r2", "R2"),
    "high-egress": line("Cost-sensitive with high egress", "r2", "R2 (no egress fees)"),
  },
  jacs: {
    "development": line("Development", "filesystem", "fs"),
    "single-server": line("Single server", "filesystem", "fs"),
    "cloud": line("Cloud deployment", "s3", "aws"),
    "high-availability": line("High availability", "s3", "aws"),
    "multi-organization": line("Multi-organization", "hai", "hai"),
    "testing": line("Testing", "memory", "In-memory (no_save)"),
  },
  persist: {
    "development": line("Development", "filesystem", "Local Filesystem"),
    "testing": line("Testing", "filesystem", "Local Filesystem"),
    "single-node": line("Single-node deployments", "filesystem", "Local Filesystem"),
    "aws": line("AWS-based deployments", "s3", "Amazon S3"),
    "high-scale": line("High-scale production workloads", "s3", "Amazon S3"),
    "gcp": line("GCP-based deployments", "gcs", "Google Cloud Storage"),
    "global-consistency": line("Applications requiring global consistency", "gcs", "Google Cloud Storage"),
  },
}

/**
 * What a system's guide recommends for a situation. A situation that the guide does not know is a `TypeError` that
 * lists those it does; types find it earlier.
 *
 * @example The guide's answer
 * ```ts
 * import { chooseBackend } from "@holdfast/holdfast/perstack"
 *
 * console.assert(chooseBackend("perstack", "cloudflare-workers").backend === "r2")
 * console.assert(chooseBackend("perstack", "multi-region").recommended === "S3 with replication")
 * ```
 */
export const chooseBackend = <S extends System>(system: S, scenario: Scenario<S>): Recommendation => {
  if (!Object.hasOwn(guides, system)) throw unknown("system", system, guides)
  const guide: Readonly<Record<string, Recommendation>> = guides[system]
  const found = Object.hasOwn(guide, scenario) ? guide[scenario] : undefined
  if (found === undefined) throw unknown("scenario", scenario, guide)
  return found
}

const unknown = (what: string, given: string, known: object): TypeError =>
  new TypeError(`the ${what} ${JSON.stringify(given)} is not in the guide; there are ${Object.keys(known).join(", ")}`)

/** One statement of an IAM policy. */
export interface PolicyStatement {
  /** Always `"Allow"`: what no statement allows is denied. */
  readonly Effect: "Allow"
  /** What is allowed. */
  readonly Action: ReadonlyArray<string>
  /** On what. */
  readonly Resource: string | ReadonlyArray<string>
}

/** An IAM policy, as JSON takes it. */
export interface Policy {
  /** The language's version. */
  readonly Version: "2012-10-17"
  /** What is allowed. */
  readonly Statement: ReadonlyArray<PolicyStatement>
}

/** The rule that Amazon has for names of buckets; a name that breaks it would make a policy for something else. */
const bucketName = /^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/

/**
 * The smallest IAM policy that a system's guide gives, with the bucket's name in it: Perstack's and JACS's one
 * statement, Persist's two.
 *
 * **Gotcha** Persist's lists `s3:HeadObject`, which IAM does not know: reading facts needs `s3:GetObject`. It is kept
 * because IAM accepts and ignores it. All of them need `s3:ListBucket`: without it Amazon answers 403 instead of 404
 * for a missing object, and "there is none" cannot be told from "not allowed".
 */
export const iamPolicy = (system: System, bucket: string): Policy => {
  if (!Object.hasOwn(guides, system)) throw unknown("system", system, guides)
  if (!bucketName.test(bucket)) throw new TypeError(`${JSON.stringify(bucket)} is not the name of a bucket`)
  const arn = `arn:aws:s3:::${bucket}`
  const objects = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"]
  const allow = (Action: ReadonlyArray<string>, Resource: string | ReadonlyArray<string>): PolicyStatement => ({
    Effect: "Allow",
    Action,
    Resource,
  })
  return {
    Version: "2012-10-17",
    Statement: system === "persist"
      ? [allow([...objects, "s3:HeadObject"], `${arn}/*`), allow(["s3:ListBucket"], arn)]
      : [allow([...objects, "s3:ListBucket"], [arn, `${arn}/*`])],
  }
}
