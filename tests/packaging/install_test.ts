/** install.sh: what it fetches from where, and what a part of it does. Its other half is packaging/tests/dist_test.ts. */

import { test } from "node:test";
import { assert, assertEquals } from "@std/assert";
import { spawn, spawnSync } from "node:child_process";
import * as fs from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { runtime } from "../fakes/runtime.ts";

const SCRIPT = fileURLToPath(new URL("../../install.sh", import.meta.url));
const skip = runtime.platform === "linux" ? false : "needs Linux";

/** Runs a text as the script, with a curl that writes down its arguments, and fails. */
function install(text: string, url: string) {
  const folder = fs.mkdtempSync(join(tmpdir(), "knock-install-"));
  try {
    const calls = join(folder, "calls");
    for (const name of ["curl", "wget", "mktemp", "uname", "mkdir", "id"]) {
      fs.writeFileSync(
        join(folder, name),
        `#!/bin/sh\necho ${name} "$@" >>${calls}\n` +
          (name === "curl" ? "exit 1\n" : `exec /usr/bin/${name} "$@"\n`),
        { mode: 0o755 },
      );
    }
    const { status, stdout, stderr } = spawnSync("sh", [], {
      input: text,
      encoding: "utf8",
      env: {
        PATH: `${folder}:/usr/bin:/bin`,
        KNOCK_URL: url,
        KNOCK_DIR: join(folder, "bin"),
        HOME: folder,
      },
    });
    const called = fs.existsSync(calls) ? fs.readFileSync(calls, "utf8") : "";
    assert(!fs.existsSync(join(folder, "bin")), "nothing was installed");
    return { status, stdout, stderr, called };
  } finally {
    fs.rmSync(folder, { recursive: true });
  }
}

const TEXT = fs.readFileSync(SCRIPT, "utf8");

const URLS: [url: string, wanted: RegExp | null][] = [
  ["https://example.org/a", / --proto =https --proto-redir =https /],
  ["http://127.0.0.1:8080", / --proto =http /],
  ["http://127.0.0.1/a", / --proto =http /],
  ["http://localhost:1/a", / --proto =http /],
  ["http://127.0.0.1:x@192.0.2.1/a", null],
  ["http://127.0.0.1:80@192.0.2.1/a", null],
  ["http://127.0.0.1@192.0.2.1/a", null],
  ["http://localhost:x@192.0.2.1", null],
  ["http://127.0.0.1.example.org/a", null],
  ["http://127.0.0.1:80?@192.0.2.1/a", null],
  ["http://127.0.0.1:80#@192.0.2.1/a", null],
  ["http://127.0.0.1:80\\@192.0.2.1/a", null],
  ["http://127.0.0.1:", null],
  ["http://192.0.2.1/a", null],
  ["HTTP://192.0.2.1/a", null],
  ["ftp://192.0.2.1/a", null],
  ["--config=/tmp/x", null],
];

for (const [url, wanted] of URLS) {
  test(`install.sh ${wanted ? "asks" : "refuses"} ${url}`, { skip }, () => {
    const { status, stderr, called } = install(TEXT, url);
    assertEquals(status, 1);
    const curl = called.split("\n").find((line) => line.startsWith("curl"));
    if (wanted === null) {
      assertEquals(curl, undefined);
      assert(stderr.includes(`must begin with https://, got "${url}"`), stderr);
    } else {
      assert(wanted.test(curl!), curl);
      assertEquals(/ (-L|--location) /.test(curl!), url.startsWith("https:"));
    }
  });
}

test("install.sh follows no redirection of http's", { skip }, async () => {
  const asked: string[] = [];
  const server = createServer((request, response) => {
    asked.push(request.url!);
    response.writeHead(302, { location: "/elsewhere" }).end();
  });
  await new Promise<void>((resolve) =>
    server.listen(0, "127.0.0.1", () => resolve())
  );
  const home = fs.mkdtempSync(join(tmpdir(), "knock-install-"));
  try {
    const { port } = server.address() as AddressInfo;
    const child = spawn("sh", [SCRIPT], {
      stdio: "ignore",
      env: {
        PATH: "/usr/bin:/bin",
        HOME: home,
        KNOCK_URL: `http://127.0.0.1:${port}`,
      },
    });
    const status = await new Promise((resolve) => child.once("close", resolve));
    assert(status !== 0);
    assert(!asked.includes("/elsewhere"), asked.join());
    assertEquals(fs.readdirSync(home), []);
  } finally {
    await new Promise((resolve) => server.close(resolve));
    fs.rmSync(home, { recursive: true });
  }
});

test("a part of install.sh runs nothing", { skip, timeout: 60_000 }, () => {
  // At the ends of lines, and within the last, where it matters most.
  const ends = [...TEXT.matchAll(/\n/g)].map(({ index }) => index)
    .filter((end) => end < TEXT.trimEnd().length);
  const last = [...Array(6).keys()].map((cut) =>
    TEXT.trimEnd().length - cut - 1
  );
  for (const end of [...ends.filter((_, index) => index % 4 === 0), ...last]) {
    const { called } = install(TEXT.slice(0, end), "https://example.org");
    assertEquals(called, "", `cut behind ${end} characters`);
  }
});
