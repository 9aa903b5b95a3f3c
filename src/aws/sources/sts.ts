/**
 * Roles from AWS's Security Token Service: AssumeRole with credentials, AssumeRoleWithWebIdentity with a token.
 * The two calls are simple enough that no client is needed for them.
 *
 * @module
 */
import { type Answer, ask, sourceError } from "../ask.ts"
import { Clock } from "../clock.ts"
import { Credentials } from "../credentials.ts"
import { encodeQuery } from "../encode.ts"
import { fastestHash } from "../hash.ts"
import type { Machine } from "../machine.ts"
import { type SignedRequest, Signer } from "../sign.ts"

const who = "the security token service"

/** Milliseconds for one call. */
const timeout = 10_000

/** The role wanted. */
export interface Role {
  /** Its ARN. */
  readonly arn: string
  /** A name for the session, which the logs of AWS show. Default: `holdfast-` and the time. */
  readonly sessionName?: string | undefined
  /** A word the role's owner asks for. */
  readonly externalId?: string | undefined
  /** How long the credentials last, in seconds. Default 3600. */
  readonly seconds?: string | undefined
  /** The region of the service that is asked. Default `us-east-1`. */
  readonly region?: string | undefined
}

/** The ends of host names outside the commercial partition. Source: AWS, "Service endpoints and quotas". */
const suffixes: ReadonlyArray<readonly [start: string, suffix: string]> = [
  ["cn-", "amazonaws.com.cn"],
  ["us-isob-", "sc2s.sgov.gov"],
  ["us-iso-", "c2s.ic.gov"],
  ["eusc-", "amazonaws.eu"],
]

/** The end of the host names of a region: `"amazonaws.com"`. */
export const hostSuffix = (region: string): string =>
  suffixes.find(([start]) => region.startsWith(start))?.[1] ?? "amazonaws.com"

const originOf = (machine: Machine, region: string): string => {
  const ignored = /^true$/i.test(machine.variable("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS") ?? "")
  const given = ignored ? undefined : machine.variable("AWS_ENDPOINT_URL_STS") ?? machine.variable("AWS_ENDPOINT_URL")
  if (given === undefined) return `https://sts.${region}.${hostSuffix(region)}`
  if (URL.canParse(given) && /^https?:$/.test(new URL(given).protocol)) return new URL(given).origin
  throw sourceError("Config", "AWS_ENDPOINT_URL_STS or AWS_ENDPOINT_URL is not an http URL")
}

/** Answers of the service that mean something to the one who configured the role. */
const meanings: Readonly<Record<string, readonly [reason: "Forbidden" | "Unauthorized" | "Config", hint: string]>> = {
  AccessDenied: ["Forbidden", "the role's trust policy must name who assumes it, and that one may need sts:AssumeRole"],
  ExpiredTokenException: ["Unauthorized", "the token has expired; whatever writes it must renew it"],
  ExpiredToken: ["Unauthorized", "the credentials that assume the role have expired"],
  InvalidIdentityToken: ["Unauthorized", "check the token's issuer and audience against the identity provider in AWS"],
  InvalidClientTokenId: ["Unauthorized", "the credentials that assume the role are unknown to AWS"],
  SignatureDoesNotMatch: [
    "Unauthorized",
    "check the secret key of the credentials that assume the role, and the clock",
  ],
  RegionDisabledException: ["Config", "the security token service is switched off in this region; use another"],
  ValidationError: ["Config", "check role_arn, role_session_name and duration_seconds"],
}

/** Answers that another try may mend although they are 4xx. */
const passing: ReadonlySet<string> = new Set(["IDPCommunicationError", "Throttling", "ThrottlingException"])

/** The text of the first element `name`. Enough for two replies without attributes, nesting or CDATA. */
const pick = (xml: string, name: string): string | undefined =>
  new RegExp(`<${name}>([^<]*)</${name}>`).exec(xml)?.[1]
    ?.replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&quot;", '"').replaceAll("&apos;", "'")
    .replaceAll("&amp;", "&").trim()

/** Only the code is shown: the message may echo the token. */
const refusal = ({ status, text }: Answer, role: Role): Error => {
  const code = /^[A-Za-z]+$/.exec(pick(text, "Code") ?? "")?.[0]
  const detail = `${who} refused the role ${JSON.stringify(role.arn)}: ${code ?? `status ${status}`}`
  if (status >= 500 || status === 429 || code !== undefined && passing.has(code)) {
    return sourceError("Unavailable", detail)
  }
  const [reason, hint] = meanings[code ?? ""] ?? ["Unauthorized", undefined]
  return sourceError(reason, detail, { hint })
}

/** The credentials in a reply. */
const granted = (reply: Answer, role: Role): Credentials => {
  if (reply.status !== 200) throw refusal(reply, role)
  const [accessKeyId, secretAccessKey, sessionToken, expiration] = [
    "AccessKeyId",
    "SecretAccessKey",
    "SessionToken",
    "Expiration",
  ].map((name) => pick(reply.text, name))
  if (!accessKeyId || !secretAccessKey || !sessionToken || !expiration) {
    throw sourceError("Protocol", `${who} gave incomplete credentials`)
  }
  return new Credentials({ accessKeyId, secretAccessKey, sessionToken, expiration: new Date(expiration) })
}

const form = (machine: Machine, action: string, role: Role, more: Readonly<Record<string, string>>): string =>
  encodeQuery({
    Action: action,
    Version: "2011-06-15",
    RoleArn: role.arn,
    RoleSessionName: role.sessionName ?? `holdfast-${machine.now()}`,
    DurationSeconds: role.seconds ?? "3600",
    ...(role.externalId === undefined ? {} : { ExternalId: role.externalId }),
    ...more,
  })

const contentType = "application/x-www-form-urlencoded"

/** The region to ask in; it becomes part of a host name, so it must be nothing else. */
const regionOf = (role: Role): string => {
  const region = role.region ?? "us-east-1"
  if (/^[a-z0-9-]+$/.test(region)) return region
  throw sourceError("Config", `the region ${JSON.stringify(region)} is not a region's name`)
}

/** Credentials of `role`, assumed with `by`; tried once more if the reply put our clock right. */
export const assumeRole = async (machine: Machine, role: Role, by: Credentials): Promise<Credentials> => {
  const region = regionOf(role)
  const origin = originOf(machine, region)
  const body = form(machine, "AssumeRole", role, {})
  const hash = new (fastestHash())()
  hash.update(new TextEncoder().encode(body))
  const payloadHash = Array.from(await hash.digest(), (byte) => byte.toString(16).padStart(2, "0")).join("")
  const signer = new Signer({ region, service: "sts", credentials: by, clock: new Clock(machine.now) })
  const attempt = async (): Promise<readonly [SignedRequest, Answer]> => {
    const request = { method: "POST", origin, path: "/", headers: { "content-type": contentType } }
    const signed = await signer.sign(request, payloadHash)
    return [signed, await ask(machine, who, signed.url, { method: "POST", headers: signed.headers, body }, timeout)]
  }
  const [signed, first] = await attempt()
  const again = first.status !== 200 && signer.learn(signed, { ...first, code: pick(first.text, "Code") })
  return granted(again ? (await attempt())[1] : first, role)
}

/** Credentials of `role` for the bearer of `token`. */
export const assumeRoleWithToken = async (machine: Machine, role: Role, token: string): Promise<Credentials> => {
  const body = form(machine, "AssumeRoleWithWebIdentity", role, { WebIdentityToken: token })
  const url = `${originOf(machine, regionOf(role))}/`
  const init = { method: "POST", headers: { "content-type": contentType }, body }
  return granted(await ask(machine, who, url, init, timeout), role)
}
