/**
 * What can be done with a bucket itself: make it, keep versions in it, let its objects expire. For programs that set up
 * what a store then lives in; a store asks for none of this.
 *
 * A bucket has one lifecycle configuration, and a new one replaces the old one whole. So a rule is changed here by
 * reading all of them, exchanging the one, and writing them back: rules of others stay as they are.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import { StoreError } from "../../error.ts"
import { type Client, makeClient, type S3Request } from "./client.ts"
import { type S3Options, settle } from "./options.ts"
import { checkedDocument } from "./payload.ts"
import { versioningOf } from "./write.ts"
import { childrenOf, documentOf, escapeText, textOf, type XmlElement } from "./xml.ts"

/** A rule of a bucket's lifecycle. */
export interface LifecycleRule {
  /** Its name; a rule of the same name is replaced. */
  readonly id: string
  /** The objects concerned, by what their keys begin with, the store's own prefix included. `""`: all. */
  readonly prefix: string
  /** Days after which they are removed. */
  readonly expireDays?: number | undefined
  /** Days after which they go to another storage class, such as `"GLACIER"` or `"INTELLIGENT_TIERING"`. */
  readonly transition?: { readonly days: number; readonly storageClass: string } | undefined
}

/** A bucket. Calls are single requests, neither retried nor timed. */
export interface Bucket {
  /** Whether it is there and these credentials may use it. */
  readonly exists: Effect.Effect<boolean, StoreError>
  /** Makes it, in the region of the options. One that is there already is fine, if it is ours. */
  readonly create: Effect.Effect<void, StoreError>
  /** Whether it keeps versions; `undefined`: it never has. */
  readonly versioning: Effect.Effect<"Enabled" | "Suspended" | undefined, StoreError>
  /** Makes it keep versions, or stop. */
  readonly setVersioning: (status: "Enabled" | "Suspended") => Effect.Effect<void, StoreError>
  /** The rules that are enabled, as far as {@link LifecycleRule} can say them. */
  readonly lifecycle: Effect.Effect<ReadonlyArray<LifecycleRule>, StoreError>
  /** Adds a rule, or replaces the one of that name. */
  readonly setLifecycle: (rule: LifecycleRule) => Effect.Effect<void, StoreError>
}

const element = (name: string, ...content: ReadonlyArray<string>): string => `<${name}>${content.join("")}</${name}>`
const text = (name: string, value: string | number): string => element(name, escapeText(String(value)))

/** An element as it was read; what S3 puts into a lifecycle has no attributes. */
const written = ({ name, text: own, children }: XmlElement): string =>
  children.length > 0 ? element(name, ...children.map(written)) : text(name, own)

const document = (name: string, ...content: ReadonlyArray<string>): Uint8Array =>
  new TextEncoder().encode(documentOf(name, content.join("")))

const ruleText = ({ id, prefix, expireDays, transition }: LifecycleRule): string =>
  element(
    "Rule",
    text("ID", id),
    element("Filter", text("Prefix", prefix)),
    text("Status", "Enabled"),
    expireDays === undefined ? "" : element("Expiration", text("Days", expireDays)),
    transition === undefined
      ? ""
      : element("Transition", text("Days", transition.days), text("StorageClass", transition.storageClass)),
  )

const daysOf = (rule: XmlElement, name: string): number | undefined => {
  const days = childrenOf(rule, name).map((found) => textOf(found, "Days")).find((found) => found !== undefined)
  return days === undefined ? undefined : Number(days)
}

const ruleOf = (rule: XmlElement): LifecycleRule | undefined => {
  if (textOf(rule, "Status") !== "Enabled") return undefined
  const filter = childrenOf(rule, "Filter")[0]
  const days = daysOf(rule, "Transition")
  const storageClass = childrenOf(rule, "Transition").map((found) => textOf(found, "StorageClass"))[0]
  return {
    id: textOf(rule, "ID") ?? "",
    prefix: (filter === undefined ? undefined : textOf(filter, "Prefix")) ?? textOf(rule, "Prefix") ?? "",
    expireDays: daysOf(rule, "Expiration"),
    transition: days === undefined || storageClass === undefined ? undefined : { days, storageClass },
  }
}

/** A request about the bucket; its document is protected as every service asks for. */
const request = async (
  method: string,
  operation: string,
  query: Readonly<Record<string, string>>,
  body?: Uint8Array,
): Promise<S3Request> => {
  const asked = { method, operation, query, mutates: method !== "GET" && method !== "HEAD" }
  return body === undefined ? asked : { ...asked, ...await checkedDocument(body), body }
}

const bucketOf = (client: Client): Bucket => {
  const { settings } = client
  const send = (method: string, operation: string, query: Readonly<Record<string, string>>, body?: Uint8Array) =>
    client.run(async (signal) => void await client.sendOff(await request(method, operation, query, body), signal))

  const exists: Bucket["exists"] = Effect.as(send("HEAD", "stat", {}), true).pipe(
    Effect.catchIf(
      // The answer to a HEAD has no code: a bucket that is not there is a status alone, or what a GET then said.
      (error) => error.reason === "NotFound" || (error.reason === "Config" && error.detail.includes("not found")),
      () => Effect.succeed(false),
    ),
  )

  const rules: Effect.Effect<ReadonlyArray<XmlElement>, StoreError> = client.run(async (signal) => {
    try {
      const asked = await request("GET", "lifecycle", { lifecycle: "" })
      return childrenOf((await client.ask(asked, "LifecycleConfiguration", signal)).document, "Rule")
    } catch (error) {
      if (StoreError.is(error) && error.reason === "NotFound") return []
      throw error
    }
  })

  return {
    exists,
    create: Effect.suspend(() => {
      // Amazon's first region is the one that must not be named.
      const here = settings.region === "us-east-1"
      const body = here ? undefined : document("CreateBucketConfiguration", text("LocationConstraint", settings.region))
      return Effect.catchIf(
        send("PUT", "create", {}, body),
        (error) => error.reason === "Conflict",
        (error) => Effect.flatMap(exists, (there) => there ? Effect.void : Effect.fail(error)),
      )
    }),
    versioning: client.run((signal) => versioningOf(client, { operation: "versioning", mutates: false }, signal)),
    setVersioning: (status) =>
      send("PUT", "versioning", { versioning: "" }, document("VersioningConfiguration", text("Status", status))),
    lifecycle: Effect.map(rules, (found) => found.flatMap((rule) => ruleOf(rule) ?? [])),
    setLifecycle: (rule) =>
      Effect.flatMap(rules, (found) => {
        const others = found.filter((other) => textOf(other, "ID") !== rule.id).map(written)
        const all = document("LifecycleConfiguration", ...others, ruleText(rule))
        return send("PUT", "lifecycle", { lifecycle: "" }, all)
      }),
  }
}

/** A bucket by the options of a store in it. Nothing is asked of the service. Fails with `Config`. */
export const makeBucket = (options: S3Options): Effect.Effect<Bucket, StoreError> =>
  Effect.tryPromise({
    try: async () => {
      const unknown = options.region === undefined && options.endpoint === undefined
      const here = unknown ? await (await import("../../aws/region.ts")).resolveRegion() : undefined
      return bucketOf(makeClient(settle(options, here)))
    },
    catch: (error) => {
      if (StoreError.is(error)) return error
      throw error
    },
  })
