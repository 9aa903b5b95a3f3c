/**
 * The usual places for AWS credentials, in the order of the AWS SDKs: environment, web identity, profile, container,
 * instance. The first that applies decides; one that applies and fails is an error, so that a broken setting never
 * makes a program act under another identity. A Cloudflare Worker has the environment alone.
 *
 * @module
 */
import { sourceError } from "./ask.ts"
import type { Credentials } from "./credentials.ts"
import { type Machine, thisMachine } from "./machine.ts"
import { Refreshing } from "./refresh.ts"
import { fromContainer } from "./sources/container.ts"
import { fromEnvironment } from "./sources/env.ts"
import { fromInstance } from "./sources/imds.ts"
import { fromProfile } from "./sources/profile.ts"
import type { Source } from "./sources/source.ts"
import { fromWebIdentity } from "./sources/web-identity.ts"

/** Where to look for credentials. */
export interface ChainOptions {
  /** A profile of AWS's shared files, and nothing else. Default: the whole chain. */
  readonly profile?: string | undefined
  /** The machine to look on. Default: this one. */
  readonly machine?: Machine | undefined
}

/**
 * Looks once, now. `Unauthorized` if no place applies: the message says of each why. `Config` where a setting is
 * wrong; `Unavailable`, which is worth another try, where a service did not answer.
 */
export const findCredentials = async (options: ChainOptions = {}): Promise<Credentials> => {
  const machine = options.machine ?? thisMachine
  // wrangler knows that it builds a Worker, and leaves the places that none has out of it.
  const places: ReadonlyArray<readonly [name: string, source: Source]> = navigator.userAgent === "Cloudflare-Workers"
    ? [options.profile === undefined ? ["environment", fromEnvironment] : ["profile", noProfile]]
    : options.profile === undefined
    ? [
      ["environment", fromEnvironment],
      ["web identity", fromWebIdentity],
      ["profile", fromProfile],
      ["container", fromContainer],
      ["instance", fromInstance],
    ]
    : [["profile", (on) => fromProfile(on, options.profile)]]
  const reasons: Array<string> = []
  for (const [name, source] of places) {
    const found = await source(machine)
    if (typeof found !== "string") return found
    reasons.push(`${name}: ${found}`)
  }
  throw sourceError("Unauthorized", `AWS credentials not found (${reasons.join("; ")})`, {
    hint: "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, run aws configure, or pass credentials as an option " +
      "(Deno sees these places with --allow-env, --allow-read and --allow-net)",
  })
}

const noProfile: Source = () => Promise.resolve("a Worker has no files, and so no profiles")

/** The chain, kept fresh: looked through at the first use, and again whenever the credentials near their end. */
export const defaultChain = (options?: ChainOptions): Refreshing =>
  new Refreshing(() => findCredentials(options), options?.machine === undefined ? {} : { now: options.machine.now })
