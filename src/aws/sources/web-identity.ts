/**
 * A role for the bearer of a token in a file: how EKS and the OpenID Connect of CI systems give access.
 *
 * @module
 */
import { sourceError } from "../ask.ts"
import type { Credentials } from "../credentials.ts"
import type { Machine } from "../machine.ts"
import { resolveRegion } from "../region.ts"
import type { Found, Source } from "./source.ts"
import { assumeRoleWithToken, type Role } from "./sts.ts"

/** The role for the token in `file`, which is read anew each time, since it is rotated. */
export const roleForToken = async (machine: Machine, role: Role, file: string): Promise<Credentials> => {
  const token = (await machine.readText(file))?.trim()
  if (!token) throw sourceError("Config", `the web identity token file ${JSON.stringify(file)} is missing or empty`)
  return await assumeRoleWithToken(machine, role, token)
}

/** `AWS_WEB_IDENTITY_TOKEN_FILE` and `AWS_ROLE_ARN`. */
export const fromWebIdentity: Source = async (machine): Promise<Found> => {
  const file = machine.variable("AWS_WEB_IDENTITY_TOKEN_FILE")
  if (file === undefined) return "AWS_WEB_IDENTITY_TOKEN_FILE is not set"
  const arn = machine.variable("AWS_ROLE_ARN")
  if (arn === undefined) throw sourceError("Config", "AWS_WEB_IDENTITY_TOKEN_FILE is set, but AWS_ROLE_ARN is not")
  const sessionName = machine.variable("AWS_ROLE_SESSION_NAME")
  return await roleForToken(machine, { arn, sessionName, region: await resolveRegion({ machine }) }, file)
}
