/** Forward auth with the real Caddy and nginx: a knock opens a whole site for its address. */

import { assertEquals, assertMatch } from "@std/assert";
import { chmodSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { CLIENTS, type Pair, scriptCommand, SERVER, until } from "./netns.ts";
import { type Program, programTest } from "./program.ts";

const [HERE, NEIGHBOUR] = CLIENTS[4];
const HERE6 = CLIENTS[6].at(-1)!;

const SETTINGS = `
listen: [62201]
firewall: { backend: nft }
services:
  wiki: tcp/3000
  other: tcp/3001
verify: { listen: "127.0.0.1:9163" }
defaults: { for: 10s, max_for: 1h }
`;

const CADDY = `{
  admin off
  auto_https off
  storage file_system FOLDER/caddy
}
http://:8080 {
  forward_auth 127.0.0.1:9163 {
    uri /?service=wiki
    copy_headers Knock-Client
  }
  reverse_proxy 127.0.0.1:3000
}
`;

const NGINX = `daemon off;
master_process off;
pid FOLDER/nginx.pid;
error_log stderr warn;
events {}
http {
  access_log off;
  client_body_temp_path FOLDER/t1;
  proxy_temp_path FOLDER/t2;
  fastcgi_temp_path FOLDER/t3;
  uwsgi_temp_path FOLDER/t4;
  scgi_temp_path FOLDER/t5;
  server {
    listen 8080;
    listen [::]:8080;
    location / {
      auth_request /knock;
      auth_request_set $knock_client $upstream_http_knock_client;
      proxy_set_header Knock-Client $knock_client;
      proxy_pass http://127.0.0.1:3000;
    }
    location = /knock {
      internal;
      proxy_pass http://127.0.0.1:9163/?service=wiki;
      proxy_pass_request_body off;
      proxy_set_header Content-Length "";
      proxy_set_header X-Forwarded-For $remote_addr;
    }
  }
}
`;

const PROXIES: readonly [
  name: string,
  config: string,
  argv: (file: string) => string[],
][] = [
  ["caddy", CADDY, (file) => [
    ...["caddy", "run", "--adapter", "caddyfile", "--config", file],
  ]],
  ["nginx", NGINX, (file) => ["nginx", "-c", file]],
];

/** Asks the proxy for a page of the site; its status, and the page. */
async function get(
  pair: Pair,
  source: string,
  ...more: string[]
): Promise<string> {
  const host = source.includes(":") ? `[${SERVER[6]}]` : SERVER[4];
  const { stdout } = await pair.exec(pair.client, [
    ...["curl", "-s", "--max-time", "5", "--interface", source],
    ...["-w", " %{http_code}", ...more, `http://${host}:8080/page`],
  ]);
  return stdout.trim();
}

async function site(pair: Pair): Promise<void> {
  pair.spawn(pair.server, scriptCommand("site.ts", "3000"));
  await until("the site is there", async () => {
    const argv = ["curl", "-s", "http://127.0.0.1:3000/"];
    return (await pair.exec(pair.server, argv)).stdout.includes("the site");
  });
}

async function opens(
  program: Program,
  pair: Pair,
  config: string,
  argv: (file: string) => string[],
): Promise<void> {
  const folder = join(program.folder, "proxy");
  mkdirSync(folder);
  // The proxy's workers may be another user's.
  chmodSync(program.folder, 0o755);
  program.write("proxy.conf", config.replaceAll("FOLDER", folder));
  program.configure(SETTINGS, [{ name: "alice", policy: ["open: [wiki]"] }, {
    name: "bob",
    policy: ["open: [other]"],
  }]);
  for (const name of ["alice", "bob"]) await program.enrol(name);
  await program.enrol("alice", 6);
  await program.serve();
  await site(pair);
  pair.spawn(pair.server, argv(join(program.folder, "proxy.conf")), "pipe");
  await until(
    "the proxy answers",
    async () => (await get(pair, HERE)) !== "000",
  );

  assertMatch(await get(pair, HERE), /403$/, "shut");
  await program.client(["bob"]);
  assertMatch(await get(pair, HERE), /403$/, "another service");
  await program.client(["alice"]);
  assertEquals(
    await get(pair, HERE),
    "<title>site</title>the site of /page 200",
  );
  assertMatch(await get(pair, NEIGHBOUR), /403$/, "a neighbour");
  const lie = ["-H", `X-Forwarded-For: ${HERE}`];
  assertMatch(await get(pair, NEIGHBOUR, ...lie), /403$/, "a lie");
  const { stdout } = await pair.exec(pair.client, [
    ...["curl", "-s", "--max-time", "2", `http://${SERVER[4]}:9163/`],
  ]);
  assertEquals(stdout, "", "the listener is the proxy's alone");
  assertMatch(await get(pair, HERE6), /403$/, "the other family");
  await program.client(["alice6"]);
  assertMatch(await get(pair, HERE6), / 200$/);
  await until(
    "its time is over",
    async () => (await get(pair, HERE)).endsWith("403"),
  );
}

for (const [name, config, argv] of PROXIES) {
  programTest(
    `${name} lets in whom a knock has opened, and nobody else`,
    (program, pair) => opens(program, pair, config, argv),
    [name, "curl"],
  );
}
