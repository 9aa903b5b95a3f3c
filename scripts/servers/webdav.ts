/**
 * WebDAV servers that others wrote, over a folder of their own on 127.0.0.1: `rclone serve webdav`, and nginx with its
 * modules `http_dav` and `dav_ext` (Debian's `nginx-light libnginx-mod-http-dav-ext`).
 *
 * @module
 */
import { existsSync, mkdirSync, writeFileSync } from "node:fs"
import process from "node:process"
import { programPath } from "./mod.ts"
import { answers, type Command, freePort, openWorkspace } from "./workspace.ts"

/** A server that was started. */
export interface WebdavServer {
  readonly name: "rclone" | "nginx"
  readonly url: string
  /** The folder that it serves. */
  readonly folder: string
  readonly stop: () => Promise<void>
}

/** Which were started, and why others were not. */
export interface WebdavServers {
  readonly servers: ReadonlyArray<WebdavServer>
  readonly missing: ReadonlyArray<{ readonly name: string; readonly why: string }>
}

const davModule = "/usr/lib/nginx/modules/ngx_http_dav_ext_module.so"

const nginxConfig = (folder: string, port: number): string => `
daemon off;
worker_processes 1;
pid ${folder}/pid;
error_log ${folder}/error.log;
load_module ${davModule};
${process.getuid?.() === 0 ? "user root;" : ""}
events { worker_connections 1024; }
http {
  access_log off;
  types {}
  default_type application/octet-stream;
  client_body_temp_path ${folder}/body;
  server {
    listen 127.0.0.1:${port};
    root ${folder}/data;
    client_max_body_size 0;
    absolute_redirect off;
    location / {
      dav_methods PUT DELETE MKCOL COPY MOVE;
      dav_ext_methods PROPFIND OPTIONS;
      dav_access user:rw;
    }
  }
}
`

const start = async (
  name: WebdavServer["name"],
  command: (folder: string, port: number) => Command,
): Promise<WebdavServer> => {
  const workspace = openWorkspace(name)
  const { folder } = workspace
  try {
    const port = await freePort()
    mkdirSync(`${folder}/data`)
    const url = `http://127.0.0.1:${port}`
    await answers(url, workspace.start(command(folder, port)))
    return { name, url, folder: `${folder}/data`, stop: () => workspace.close() }
  } catch (error) {
    await workspace.close()
    throw error
  }
}

/** Starts those that are installed. */
export const startWebdavServers = async (): Promise<WebdavServers> => {
  const servers: Array<WebdavServer> = []
  const missing: Array<{ name: string; why: string }> = []
  const rclone = programPath("rclone")
  if (rclone === undefined) missing.push({ name: "rclone", why: "it is not installed" })
  else {
    servers.push(
      await start("rclone", (folder, port) => [
        ...[rclone, "serve", "webdav", `${folder}/data`, "--addr", `127.0.0.1:${port}`] as const,
        ...["--config", "/dev/null", "--cache-dir", `${folder}/cache`],
      ]),
    )
  }
  const nginx = ["/usr/sbin/nginx", programPath("nginx") ?? ""].find(existsSync)
  if (nginx === undefined || !existsSync(davModule)) {
    missing.push({ name: "nginx", why: "it is not installed with its module dav_ext" })
  } else {
    servers.push(
      await start("nginx", (folder, port) => {
        writeFileSync(`${folder}/nginx.conf`, nginxConfig(folder, port))
        return [nginx, "-c", `${folder}/nginx.conf`]
      }),
    )
  }
  return { servers, missing }
}
