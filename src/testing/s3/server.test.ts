import { expect, test } from "bun:test"
import { connect } from "node:net"
import { openPeer, see } from "./client-testing.ts"

/** Sends `pieces` one by one, each once the answer to the one before has come, and returns all that was answered. */
const talk = (port: number, pieces: ReadonlyArray<string>): Promise<string> =>
  new Promise((resolve, reject) => {
    const rest = [...pieces]
    const socket = connect(port, "127.0.0.1", () => socket.write(rest.shift()!))
    let received = ""
    socket.on("data", (chunk) => {
      received += chunk.toString("latin1")
      const next = rest.shift()
      if (next !== undefined) socket.write(next)
    })
    socket.on("error", reject)
    socket.on("close", () => resolve(received))
  })

test("a target reaches the peer as it was sent", async () => {
  const { peer } = openPeer()
  await using server = await peer.listen()
  await talk(server.port, [
    "PUT /test/a/%2e%2e/./b%2Fc HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\nconnection: close\r\n\r\nx",
  ])
  expect(peer.requests[0]?.target).toBe("/test/a/%2e%2e/./b%2Fc")
  expect(peer.object("test", "a/.././b/c")?.bytes.length).toBe(1)
})

test("a connection carries one request after the other, with a body in chunks and with 100-continue", async () => {
  const { peer } = openPeer()
  await using server = await peer.listen()
  const received = await talk(server.port, [
    "PUT /test/a HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2;ext=1\r\nde\r\n0\r\n\r\n",
    "PUT /test/b HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\nexpect: 100-continue\r\n\r\n",
    "fg",
    "GET /test/a HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
  ])
  expect(received.match(/HTTP\/1\.1 \d+/g)).toEqual(["HTTP/1.1 200", "HTTP/1.1 100", "HTTP/1.1 200", "HTTP/1.1 200"])
  expect(received.endsWith("\r\n\r\nabcde")).toBe(true)
  expect(new TextDecoder().decode(peer.object("test", "b")?.bytes)).toBe("fg")
  expect(server.connections()).toMatchObject({ most: 1, total: 1 })
})

test("a bucket may stand in the host name", async () => {
  const { peer } = openPeer()
  await using server = await peer.listen()
  await talk(server.port, [
    `PUT /k HTTP/1.1\r\nhost: test.s3.localhost:${server.port}\r\ncontent-length: 1\r\nconnection: close\r\n\r\nx`,
  ])
  expect(peer.object("test", "k")?.bytes.length).toBe(1)
})

test("what is no HTTP ends the connection and is no request", async () => {
  const { peer } = openPeer()
  await using server = await peer.listen()
  expect(await talk(server.port, ["\u0016\u0003\u0001 hello\r\n\r\n"])).toBe("")
  expect(peer.count()).toBe(0)
})

test("a client that leaves in the middle of a body stores nothing", async () => {
  const { peer } = openPeer()
  await using server = await peer.listen()
  const socket = connect(server.port, "127.0.0.1")
  await new Promise<void>((resolve) =>
    socket.write("PUT /test/k HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nx", () => resolve())
  )
  while (peer.count() === 0) await new Promise((resolve) => setTimeout(resolve, 1))
  socket.destroy()
  while (server.connections().open > 0) await new Promise((resolve) => setTimeout(resolve, 1))
  expect(peer.object("test", "k")).toBeUndefined()
})

test("close() ends what is under way, and both servers of a peer share its objects", async () => {
  const { peer } = openPeer()
  const [one, two] = [await peer.listen(), await peer.listen()]
  expect((await see(await fetch(`${one.url}/test/k`, { method: "PUT", body: "x" }))).status).toBe(200)
  expect(await (await fetch(`${two.url}/test/k`)).text()).toBe("x")
  peer.script([{ fault: { kind: "hold" } }])
  const pending = fetch(`${one.url}/test/k`).then(() => "answered", () => "ended")
  while (peer.count() < 3) await new Promise((resolve) => setTimeout(resolve, 1))
  await one.close()
  expect(await pending).toBe("ended")
  await two.close()
})

test("a large body comes whole and is not kept back", async () => {
  const { peer } = openPeer()
  await using server = await peer.listen()
  const body = crypto.getRandomValues(new Uint8Array(65536))
  const large = new Uint8Array(8 * 1024 * 1024)
  for (let at = 0; at < large.length; at += body.length) large.set(body, at)
  expect((await see(await fetch(`${server.url}/test/k`, { method: "PUT", body: large }))).status).toBe(200)
  const got = new Uint8Array(await (await fetch(`${server.url}/test/k`)).arrayBuffer())
  expect(got.length).toBe(large.length)
  expect(got.every((byte, i) => byte === large[i])).toBe(true)
})
