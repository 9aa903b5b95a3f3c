/**
 * Ceph's S3 gateway on a cluster of one monitor and one store, all on 127.0.0.1, as an ordinary user could run it.
 *
 * Needs Debian's packages `radosgw ceph-mon ceph-osd ceph-common` (`install.ts`). No password is asked for within the
 * cluster, so nothing but this machine may reach it.
 *
 * @module
 */
import { mkdirSync, writeFileSync } from "node:fs"
import { profiles } from "../../src/backends/s3/mod.ts"
import { createBucket, keys, type Server } from "./server.ts"
import { answers, type Command, freePort, openWorkspace } from "./workspace.ts"

/** Programs that must be there. */
export const programs: ReadonlyArray<string> = [
  "ceph",
  "ceph-mon",
  "ceph-osd",
  "monmaptool",
  "radosgw",
  "radosgw-admin",
]

const GiB = 2 ** 30

const config = (at: {
  readonly folder: string
  readonly id: string
  readonly gateway: number
  readonly monitor: number
  readonly store: "memstore" | "bluestore"
}): string => `
[global]
fsid = ${at.id}
mon host = [v2:127.0.0.1:${at.monitor}/0]
public addr = 127.0.0.1
cluster addr = 127.0.0.1
ms bind before connect = true
ms bind msgr1 = false
ms bind port min = 20000
ms bind port max = 32000
# Without passwords the wire cannot be encrypted either, and the gateway would wait for that for ever.
auth cluster required = none
auth service required = none
auth client required = none
ms mon client mode = crc
ms cluster mode = crc
ms service mode = crc
ms client mode = crc
auth allow insecure global id reclaim = true
mon warn on insecure global id reclaim allowed = false
keyring = /dev/null
run dir = ${at.folder}
admin socket = ${at.folder}/$name.$pid.asok
log file = ${at.folder}/$name.log
chdir =
# One copy of everything, in a few groups.
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 4
osd pool default pgp num = 4
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
mon warn on pool no redundancy = false
mon max pg per osd = 2000
mon data avail warn = 2
mon data avail crit = 1
[mon]
mon data = ${at.folder}/mon
mon initial members = a
mon cluster log file = ${at.folder}/cluster.log
paxos propose interval = 0.05
paxos min wait = 0.01
[osd]
osd data = ${at.folder}/osd
osd objectstore = ${at.store}
memstore device bytes = ${6 * GiB}
memstore page set = true
bluestore block create = true
bluestore block size = ${20 * GiB}
bluestore block db create = false
bluestore block wal create = false
osd class update on start = false
osd crush update on start = false
# A busy machine is not a dead disk.
osd heartbeat grace = 120
[client.rgw]
# Without tcp_nodelay every small answer waits for the client's acknowledgement.
rgw frontends = beast endpoint=127.0.0.1:${at.gateway} tcp_nodelay=1
rgw thread pool size = 64
rgw run sync thread = false
rgw crypt require ssl = false
rgw crypt s3 kms backend = testing
rgw crypt s3 kms encryption keys = ${kmsKeyId}=aG9sZGZhc3QtdGVzdC1rZXktMzItYnl0ZXMtbG9uZyE=
rgw enable ops log = false
rgw enable usage log = false
# A gateway that dies while it completes an upload leaves a lock on it, by default for ten minutes.
rgw mp lock max time = 1
# What was removed goes at once: a store that is full makes writers wait without a word.
rgw gc obj min wait = 5
rgw gc processor period = 5
rgw gc processor max time = 5
rgw gc max objs = 3
rgw lc max objs = 3
rgw data log num shards = 1
rgw usage max shards = 1
rgw reshard num logs = 1
rgw dynamic resharding = false
rgw override bucket index max shards = 1
`

const kmsKeyId = "holdfast-key"

/** Starts a cluster. `bluestore` keeps the objects in a file instead of in memory, which takes twice their size. */
export const start = async (store: "memstore" | "bluestore" = "memstore"): Promise<Server> => {
  const workspace = openWorkspace("ceph")
  const { folder } = workspace
  try {
    const [gateway, monitor] = [await freePort(), await freePort()]
    const endpoint = `http://127.0.0.1:${gateway}`
    const [id, disk] = [crypto.randomUUID(), crypto.randomUUID()]
    const conf = `${folder}/ceph.conf`
    writeFileSync(conf, config({ folder, id, gateway, monitor, store }))
    for (const name of ["mon", "osd"]) mkdirSync(`${folder}/${name}`)
    const ceph = (...args: ReadonlyArray<string>): Command => ["ceph", "-c", conf, ...args]

    const map = `${folder}/monmap`
    const address = `[v2:127.0.0.1:${monitor}/0]`
    await workspace.run([
      ...["monmaptool", "--create", "--fsid", id, "--set-min-mon-release", "pacific"] as const,
      ...["--addv", "a", address, map],
    ])
    await workspace.run(["ceph-mon", "-c", conf, "--mkfs", "-i", "a", "--monmap", map, "--keyring", "/dev/null"])
    workspace.start(["ceph-mon", "-c", conf, "-i", "a", "-f"])
    // The client waits for the monitor by itself.
    await Promise.all([
      workspace.run(ceph("osd", "new", disk, "0")),
      workspace.run(["ceph-osd", "-c", conf, "-i", "0", "--mkfs", "--osd-uuid", disk]),
    ])
    await workspace.run(ceph("osd", "crush", "add", "osd.0", "1.0", "root=default", "host=here"))
    workspace.start(["ceph-osd", "-c", conf, "-i", "0", "-f"])

    const startGateway = () => workspace.start(["radosgw", "-c", conf, "-n", "client.rgw", "-f"])
    let running = startGateway()
    await answers(endpoint, running)
    await workspace.run([
      ...["radosgw-admin", "-c", conf, "-n", "client.rgw", "user", "create"] as const,
      ...["--uid=test", "--display-name=Test", `--access-key=${keys.accessKeyId}`, `--secret=${keys.secretAccessKey}`],
    ])
    const [bucket, versionedBucket] = ["holdfast", "holdfast-versions"]
    await createBucket(endpoint, bucket, false)
    await createBucket(endpoint, versionedBucket, true)
    return {
      ...{ name: "ceph", profile: profiles.ceph, endpoint, region: "us-east-1", credentials: keys },
      ...{ bucket, versionedBucket, kmsKeyId },
      kill: () => running.kill(),
      restart: async () => {
        running = startGateway()
        await answers(endpoint, running)
      },
      stop: () => workspace.close(),
    }
  } catch (error) {
    await workspace.close()
    throw error
  }
}
