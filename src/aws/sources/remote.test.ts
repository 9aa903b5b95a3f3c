/** The sources that ask a server, against a small one of our own. */
import { afterAll, expect, test } from "bun:test"
import { createHash } from "node:crypto"
import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import { StoreError } from "../../error.ts"
import { Credentials } from "../credentials.ts"
import { type Machine, thisMachine } from "../machine.ts"
import { machineOf, verify } from "../testing.ts"
import { fromContainer } from "./container.ts"
import { fromInstance } from "./imds.ts"
import type { Found } from "./source.ts"
import { assumeRole, hostSuffix } from "./sts.ts"
import { fromWebIdentity } from "./web-identity.ts"

interface Seen {
  readonly method: string
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

const closers: Array<() => void> = []
afterAll(() => closers.forEach((close) => close()))

/** A server that answers as told and records what it was asked. */
const serve = async (
  answer: (seen: Seen, response: ServerResponse) => void,
): Promise<{ readonly origin: string; readonly seen: Array<Seen> }> => {
  const seen: Array<Seen> = []
  const server = createServer(async (request: IncomingMessage, response) => {
    let body = ""
    for await (const chunk of request) body += String(chunk)
    const { method = "", url = "", headers } = request
    const one = { method, url, headers: headers as Record<string, string>, body }
    seen.push(one)
    answer(one, response)
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  closers.push(() => {
    server.closeAllConnections()
    server.close()
  })
  return { origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, seen }
}

const on = (variables: Record<string, string>, more: Parameters<typeof machineOf>[1] = {}): Machine =>
  machineOf(variables, { fetch: thisMachine.fetch, ...more })

const json = JSON.stringify({
  Code: "Success",
  AccessKeyId: "ASIAREMOTE",
  SecretAccessKey: "remote-secret",
  Token: "remote-token",
  Expiration: "2026-01-01T06:00:00Z",
})

const plain = (found: Found): unknown =>
  typeof found === "string" ? found : {
    id: found.accessKeyId,
    secret: found.secretAccessKey,
    token: found.sessionToken,
    ends: found.expiration?.toISOString(),
  }

const remote = { id: "ASIAREMOTE", secret: "remote-secret", token: "remote-token", ends: "2026-01-01T06:00:00.000Z" }

const failure = async (run: Promise<unknown>): Promise<StoreError> => {
  const error = await run.then((value) => value, (cause) => cause)
  if (StoreError.is(error)) return error
  throw new Error(`expected a StoreError, got ${String(error)}`)
}

// ---- EC2

/** A metadata service, version 2, that can be told to fail at one step. */
const metadata = (fault: Partial<Record<"token" | "roles" | "role", readonly [status: number, body: string]>> = {}) =>
  serve((seen, response) => {
    const reply = (step: "token" | "roles" | "role", body: string): void => {
      const [status, text] = fault[step] ?? [200, body]
      response.writeHead(status).end(text)
    }
    if (seen.url === "/latest/api/token") {
      const asked = seen.method === "PUT" && seen.headers["x-aws-ec2-metadata-token-ttl-seconds"] !== undefined
      return asked ? reply("token", "session-1\n") : void response.writeHead(400).end()
    }
    if (seen.headers["x-aws-ec2-metadata-token"] !== "session-1") return void response.writeHead(401).end()
    if (seen.url === "/latest/meta-data/iam/security-credentials/") return reply("roles", "a?role\nother")
    if (seen.url === "/latest/meta-data/iam/security-credentials/a%3Frole") return reply("role", json)
    response.writeHead(404).end()
  })

const instance = (origin: string, more: Record<string, string> = {}): Promise<Found> =>
  fromInstance(on({ AWS_EC2_METADATA_SERVICE_ENDPOINT: `${origin}/`, ...more }))

test("EC2: the role's credentials by way of a session token", async () => {
  const { origin, seen } = await metadata()
  expect(plain(await instance(origin))).toEqual(remote)
  expect(seen.map(({ method }) => method)).toEqual(["PUT", "GET", "GET"])
})

test("fault 127: EC2 metadata that hangs, is version 1 only, has no role or breaks", async () => {
  const hanging = await serve(() => {})
  expect(await instance(hanging.origin, { AWS_METADATA_SERVICE_TIMEOUT: "0.05" })).toContain("within 50 ms")
  const old = await metadata({ token: [404, ""] })
  expect(await instance(old.origin)).toContain("404")
  expect(old.seen.map(({ url }) => url)).toEqual(["/latest/api/token"])
  expect(await instance((await metadata({ roles: [404, ""] })).origin)).toBe("the EC2 instance has no role")
  expect(await instance((await metadata({ roles: [200, "\n"] })).origin)).toBe("the EC2 instance has no role")
  expect(await failure(instance((await metadata({ token: [503, ""] })).origin))).toMatchObject({
    reason: "Unavailable",
    transient: true,
  })
  expect(await failure(instance((await metadata({ role: [500, "secret"] })).origin))).toMatchObject({
    reason: "Unavailable",
  })
  expect(await failure(instance((await metadata({ roles: [401, ""] })).origin))).toMatchObject({
    reason: "Unauthorized",
  })
  const assume = await failure(
    instance((await metadata({ role: [200, '{"Code":"AssumeRoleUnauthorizedAccess"}'] })).origin),
  )
  expect(assume.detail).toContain("AssumeRoleUnauthorizedAccess")
  expect(await failure(instance((await metadata({ role: [200, "<html>"] })).origin))).toMatchObject({
    reason: "Protocol",
  })
})

test("EC2: nothing there, switched off, IPv6, and settings that are wrong", async () => {
  expect(await instance("http://127.0.0.1:1")).toContain("cannot be reached")
  expect(await instance("http://127.0.0.1:1", { AWS_EC2_METADATA_DISABLED: "TRUE" })).toContain("is true")
  const asked: Array<string> = []
  const recording = (variables: Record<string, string>): Machine =>
    on(variables, {
      fetch: (url) => {
        asked.push(url)
        return Promise.reject(new Error("recorded"))
      },
    })
  await fromInstance(recording({}))
  await fromInstance(recording({ AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE: "ipv6" }))
  expect(asked).toEqual(["http://169.254.169.254/latest/api/token", "http://[fd00:ec2::254]/latest/api/token"])
  for (const [name, value] of [["ENDPOINT", "file:///etc/passwd"], ["ENDPOINT_MODE", "IPv5"]]) {
    const wrong = on({ [`AWS_EC2_METADATA_SERVICE_${name}`]: value! })
    expect(await failure(fromInstance(wrong))).toMatchObject({ reason: "Config" })
  }
})

// ---- containers

test("container: credentials from the full address, with a token from a variable or from a file", async () => {
  const { origin, seen } = await serve((_, response) => void response.end(json))
  const full = { AWS_CONTAINER_CREDENTIALS_FULL_URI: `${origin}/get?x=1` }
  expect(plain(await fromContainer(on(full)))).toEqual(remote)
  await fromContainer(on({ ...full, AWS_CONTAINER_AUTHORIZATION_TOKEN: "variable" }))
  let token = "first\n"
  const rotating = on({
    ...full,
    AWS_CONTAINER_AUTHORIZATION_TOKEN: "variable",
    AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE: "/t",
  }, { readText: (path) => Promise.resolve(path === "/t" ? token : undefined) })
  await fromContainer(rotating)
  token = "second"
  await fromContainer(rotating)
  expect(seen.map(({ url, headers }) => [url, headers["authorization"]])).toEqual([
    ["/get?x=1", undefined],
    ["/get?x=1", "variable"],
    ["/get?x=1", "first"],
    ["/get?x=1", "second"],
  ])
})

test("fault 131: only this machine, ECS and EKS are asked without TLS, however the host is written", async () => {
  const asked: Array<string> = []
  const machine = (variables: Record<string, string>): Machine =>
    on(variables, {
      fetch: (url) => {
        asked.push(new URL(url).host)
        return Promise.resolve(new Response(json))
      },
    })
  const full = (url: string): Promise<Found> => fromContainer(machine({ AWS_CONTAINER_CREDENTIALS_FULL_URI: url }))
  for (
    const url of [
      "https://credentials.example/x",
      "http://127.0.0.1/x",
      "http://2130706433/x",
      "http://127.1:8080/x",
      "http://localhost/x",
      "http://[::1]/x",
      "http://169.254.170.2/x",
      "http://169.254.170.23/v1",
      "http://[fd00:ec2::23]/v1",
    ]
  ) expect(plain(await full(url))).toEqual(remote)
  await fromContainer(machine({ AWS_CONTAINER_CREDENTIALS_RELATIVE_URI: "/v2/credentials/id" }))
  expect(asked.at(-1)).toBe("169.254.170.2")
  const before = asked.length
  for (
    const url of [
      "http://credentials.example/x",
      "http://169.254.169.254/latest/",
      "http://10.0.0.1/",
      "http://127.0.0.1.example/",
      "http://127.0.0.1@evil.example/",
      "http://[::ffff:127.0.0.1]/",
      "http://localhost.example/",
      "ftp://127.0.0.1/",
      "file:///etc/passwd",
      "nonsense",
    ]
  ) expect([url, (await failure(full(url))).reason]).toEqual([url, "Config"])
  const relative = machine({ AWS_CONTAINER_CREDENTIALS_RELATIVE_URI: "@evil.example/x" })
  expect(await failure(fromContainer(relative))).toMatchObject({ reason: "Config" })
  expect(asked).toHaveLength(before)
})

test("faults 18, 131: a redirect of a credential service is not followed", async () => {
  const target = await serve((_, response) => void response.end(json))
  const source = await serve((_, response) => void response.writeHead(307, { location: `${target.origin}/x` }).end())
  const machine = on({
    AWS_CONTAINER_CREDENTIALS_FULL_URI: source.origin,
    AWS_CONTAINER_AUTHORIZATION_TOKEN: "CANARY",
  })
  expect(await failure(fromContainer(machine))).toMatchObject({ reason: "Protocol" })
  expect(target.seen).toEqual([])
})

test("fault 130: what a credential service answers is not shown, and a huge answer is not read", async () => {
  const replies: ReadonlyArray<readonly [number, string, string]> = [
    [200, "CANARY", "Protocol"],
    [200, "[]", "Protocol"],
    [200, '"CANARY"', "Protocol"],
    [200, '{"AccessKeyId":"CANARY"}', "Protocol"],
    [200, json.replace("{", `{"x":"${"CANARY".repeat(20_000)}",`), "Protocol"],
    [403, "CANARY", "Unauthorized"],
    [429, "CANARY", "Unavailable"],
    [500, "CANARY", "Unavailable"],
  ]
  for (const [status, body, reason] of replies) {
    const { origin } = await serve((_, response) => void response.writeHead(status).end(body))
    const error = await failure(fromContainer(on({ AWS_CONTAINER_CREDENTIALS_FULL_URI: `${origin}/CANARY` })))
    expect(error.reason).toBe(reason as StoreError["reason"])
    expect(`${error.message} ${error.hint} ${String(error.cause)}`).not.toContain("CANARY")
  }
})

test("container: a token that cannot be sent, or a token file that is missing, is Config", async () => {
  const full = { AWS_CONTAINER_CREDENTIALS_FULL_URI: "http://127.0.0.1:1/" }
  const bad = on({ ...full, AWS_CONTAINER_AUTHORIZATION_TOKEN: "a\r\nx-evil: 1" })
  expect(await failure(fromContainer(bad))).toMatchObject({ reason: "Config" })
  const missing = on({ ...full, AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE: "/none" })
  expect(await failure(fromContainer(missing))).toMatchObject({ reason: "Config" })
  expect(await fromContainer(on({}))).toContain("not set")
})

// ---- roles

const granted = `<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult>
  <AssumedRoleUser><Arn>arn:x</Arn></AssumedRoleUser><Credentials><AccessKeyId>ASIAREMOTE</AccessKeyId>
  <SecretAccessKey>remote-secret</SecretAccessKey><SessionToken>remote&amp;token</SessionToken>
  <Expiration>2026-01-01T06:00:00Z</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>`
const assumed = { ...remote, token: "remote&token" }

const by = new Credentials({ accessKeyId: "AKIABASE", secretAccessKey: "base-secret", sessionToken: "base-token" })

test("AssumeRole: a signed form post; the reply's credentials", async () => {
  const { origin, seen } = await serve((_, response) => void response.end(granted))
  const role = { arn: "arn:aws:iam::1:role/a b", externalId: "x&y", seconds: "900", region: "eu-west-1" }
  expect(plain(await assumeRole(on({ AWS_ENDPOINT_URL_STS: origin }), role, by))).toEqual(assumed)
  const { method, url, headers, body } = seen[0]!
  expect([method, url, headers["content-type"]]).toEqual(["POST", "/", "application/x-www-form-urlencoded"])
  expect(Object.fromEntries(new URLSearchParams(body))).toEqual({
    Action: "AssumeRole",
    Version: "2011-06-15",
    RoleArn: "arn:aws:iam::1:role/a b",
    RoleSessionName: "holdfast-1767225600000",
    DurationSeconds: "900",
    ExternalId: "x&y",
  })
  const payloadHash = createHash("sha256").update(body).digest("hex")
  expect(verify({ method, target: url, headers }, "base-secret", payloadHash)).toBe("ok")
  expect(headers["authorization"]).toContain("/eu-west-1/sts/aws4_request")
  expect(headers["x-amz-security-token"]).toBe("base-token")
})

test("fault 49: a role is assumed in spite of a wrong clock, which the first refusal puts right", async () => {
  const truth = Date.parse("2026-01-01T05:00:00Z")
  const { origin, seen } = await serve((request, response) => {
    const right = request.headers["x-amz-date"] === "20260101T050000Z"
    response.sendDate = false
    response.setHeader("date", new Date(truth).toUTCString())
    response.writeHead(right ? 200 : 403).end(right ? granted : "<Error><Code>SignatureDoesNotMatch</Code></Error>")
  })
  expect(plain(await assumeRole(on({ AWS_ENDPOINT_URL_STS: origin }), { arn: "arn:x" }, by))).toEqual(assumed)
  expect(seen.map(({ headers }) => headers["x-amz-date"])).toEqual(["20260101T000000Z", "20260101T050000Z"])
})

test("AssumeRole: the endpoint follows the region's partition and the variables", async () => {
  const asked: Array<string> = []
  const ask = (region: string | undefined, variables: Record<string, string> = {}): Promise<unknown> =>
    assumeRole(
      on(variables, {
        fetch: (url) => {
          asked.push(url)
          return Promise.resolve(new Response(granted))
        },
      }),
      { arn: "arn:x", region },
      by,
    )
  await ask(undefined)
  await ask("eu-west-1")
  await ask("cn-north-1")
  await ask("eu-west-1", { AWS_ENDPOINT_URL: "http://127.0.0.1:9000/path" })
  await ask("eu-west-1", { AWS_ENDPOINT_URL: "http://one:1", AWS_ENDPOINT_URL_STS: "http://two:2" })
  await ask("eu-west-1", { AWS_ENDPOINT_URL: "http://one:1", AWS_IGNORE_CONFIGURED_ENDPOINT_URLS: "true" })
  expect(asked).toEqual([
    "https://sts.us-east-1.amazonaws.com/",
    "https://sts.eu-west-1.amazonaws.com/",
    "https://sts.cn-north-1.amazonaws.com.cn/",
    "http://127.0.0.1:9000/",
    "http://two:2/",
    "https://sts.eu-west-1.amazonaws.com/",
  ])
  expect(hostSuffix("us-isob-east-1")).toBe("sc2s.sgov.gov")
  expect(await failure(ask("evil.example/"))).toMatchObject({ reason: "Config" })
  expect(await failure(ask("eu-west-1", { AWS_ENDPOINT_URL: "nonsense" }))).toMatchObject({ reason: "Config" })
  expect(asked).toHaveLength(6)
})

test("fault 130: refusals of the token service are told by code, never with what they echo", async () => {
  const error = (code: string): string =>
    `<ErrorResponse><Error><Type>Sender</Type><Code>${code}</Code><Message>token CANARY base-secret</Message></Error></ErrorResponse>`
  const cases: ReadonlyArray<readonly [number, string, StoreError["reason"]]> = [
    [403, error("AccessDenied"), "Forbidden"],
    [400, error("ExpiredTokenException"), "Unauthorized"],
    [403, error("InvalidClientTokenId"), "Unauthorized"],
    [400, error("ValidationError"), "Config"],
    [400, error("IDPCommunicationError"), "Unavailable"],
    [400, error("CANARY&lt;"), "Unauthorized"],
    [503, error("ServiceUnavailable"), "Unavailable"],
    [429, "CANARY", "Unavailable"],
    [200, "<html>CANARY</html>", "Protocol"],
    [200, granted.replace("<SessionToken>", "<SessionTokenX>"), "Protocol"],
  ]
  for (const [status, body, reason] of cases) {
    const { origin } = await serve((_, response) => void response.writeHead(status).end(body))
    const told = await failure(assumeRole(on({ AWS_ENDPOINT_URL_STS: origin }), { arn: "arn:x" }, by))
    expect([body, told.reason]).toEqual([body, reason])
    expect(`${told.message} ${told.hint} ${String(told.cause)}`).not.toMatch(/CANARY|base-secret|remote-secret/)
  }
})

test("fault 133: no entity of a reply is expanded but the five of XML, once", async () => {
  const bomb = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>'
  const answer = async (body: string): Promise<unknown> => {
    const machine = on({}, { fetch: () => Promise.resolve(new Response(body)) })
    return plain(await assumeRole(machine, { arn: "arn:x" }, by))
  }
  const token = (text: string): string => bomb + granted.replace("remote&amp;token", text)
  expect(await answer(token("&b;"))).toMatchObject({ token: "&b;" })
  expect(await answer(token("&amp;lt;"))).toMatchObject({ token: "&lt;" })
  expect(await answer(token("&amp;".repeat(5000)))).toMatchObject({ token: "&".repeat(5000) })
  expect(await failure(answer("<Code>".repeat(20_000)))).toMatchObject({ reason: "Protocol" })
})

test("web identity: the token's file is read at each call and exchanged, unsigned", async () => {
  const { origin, seen } = await serve((_, response) => void response.end(granted))
  let token = "token-1\n"
  const variables = {
    AWS_WEB_IDENTITY_TOKEN_FILE: "/t",
    AWS_ROLE_ARN: "arn:r",
    AWS_ROLE_SESSION_NAME: "me",
    AWS_ENDPOINT_URL_STS: origin,
  }
  const machine = on(variables, { readText: (path) => Promise.resolve(path === "/t" ? token : undefined) })
  expect(plain(await fromWebIdentity(machine))).toEqual(assumed)
  token = "token-2"
  await fromWebIdentity(machine)
  const forms = seen.map(({ body }) => Object.fromEntries(new URLSearchParams(body)))
  expect(forms.map((form) => [form["Action"], form["RoleArn"], form["RoleSessionName"], form["WebIdentityToken"]]))
    .toEqual([
      ["AssumeRoleWithWebIdentity", "arn:r", "me", "token-1"],
      ["AssumeRoleWithWebIdentity", "arn:r", "me", "token-2"],
    ])
  expect(seen[0]!.headers["authorization"]).toBeUndefined()
  expect(await fromWebIdentity(on({}))).toContain("not set")
  expect(await failure(fromWebIdentity(on({ ...variables, AWS_ROLE_ARN: "" })))).toMatchObject({ reason: "Config" })
  expect(await failure(fromWebIdentity(on(variables)))).toMatchObject({ reason: "Config" })
})
