/**
 * Credentials of the role of an EC2 instance, from its metadata service, version 2 only: version 1 hands
 * credentials to whoever can make the machine send a GET.
 *
 * @module
 */
import { type Answer, ask, sourceError, statusError } from "../ask.ts"
import { StoreError } from "../../error.ts"
import type { Machine } from "../machine.ts"
import { credentialsFromJson, type Found, jsonRecord, type Source } from "./source.ts"

const who = "the EC2 metadata service"

/** Milliseconds for one call; the AWS SDKs' default. Elsewhere than on EC2 this is how long the last source costs. */
const defaultTimeout = 1000

/** Seconds a session token is good for; it is used at once. */
const tokenSeconds = "60"

const folder = "/latest/meta-data/iam/security-credentials/"

const endpointOf = (machine: Machine): string => {
  const given = machine.variable("AWS_EC2_METADATA_SERVICE_ENDPOINT")
  if (given !== undefined) {
    if (/^https?:\/\//.test(given) && URL.canParse(given)) return given.replace(/\/+$/, "")
    throw sourceError("Config", "AWS_EC2_METADATA_SERVICE_ENDPOINT is not an http URL")
  }
  const mode = machine.variable("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE") ?? "IPv4"
  if (/^ipv4$/i.test(mode)) return "http://169.254.169.254"
  if (/^ipv6$/i.test(mode)) return "http://[fd00:ec2::254]"
  throw sourceError("Config", `AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE is ${JSON.stringify(mode)}: use IPv4 or IPv6`)
}

const timeoutOf = (machine: Machine): number => {
  const seconds = Number(machine.variable("AWS_METADATA_SERVICE_TIMEOUT") ?? "")
  return seconds > 0 ? seconds * 1000 : defaultTimeout
}

/** Asks the metadata service, unless `AWS_EC2_METADATA_DISABLED` is `true`. Where nothing answers, this is not EC2. */
export const fromInstance: Source = async (machine): Promise<Found> => {
  if (/^true$/i.test(machine.variable("AWS_EC2_METADATA_DISABLED") ?? "")) return "AWS_EC2_METADATA_DISABLED is true"
  const endpoint = endpointOf(machine)
  const timeout = timeoutOf(machine)
  const call = (path: string, init: RequestInit): Promise<Answer> => ask(machine, who, endpoint + path, init, timeout)

  let session: Answer
  try {
    session = await call("/latest/api/token", {
      method: "PUT",
      headers: { "x-aws-ec2-metadata-token-ttl-seconds": tokenSeconds },
    })
  } catch (error) {
    if (!StoreError.is(error) || error.reason !== "Unavailable") throw error
    return `${error.detail} (not on EC2, or in a container there and the hop limit is 1)`
  }
  if (session.status >= 500) throw statusError(who, session.status)
  if (session.status !== 200) return `${who} answered ${session.status} to the request for a session (version 1 only?)`

  const get = (path: string): Promise<Answer> =>
    call(path, { headers: { "x-aws-ec2-metadata-token": session.text.trim() } })
  const roles = await get(folder)
  const role = roles.text.split("\n")[0]!.trim()
  if (roles.status === 404 || roles.status === 200 && role === "") return "the EC2 instance has no role"
  if (roles.status !== 200) throw statusError(who, roles.status)
  const reply = await get(folder + encodeURIComponent(role))
  if (reply.status !== 200) throw statusError(who, reply.status)
  const code = jsonRecord(reply.text, who)["Code"]
  if (code !== undefined && code !== "Success") {
    throw sourceError("Unauthorized", `${who} has no credentials for the role: ${String(code).slice(0, 100)}`)
  }
  return credentialsFromJson(reply.text, who, { token: "Token" })
}
