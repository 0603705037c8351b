/** `knock page`, and links for a browser. */

import { assert, assertEquals, assertRejects } from "@std/assert";
import { test } from "node:test";
import { parseEnrolment } from "../../lib/client/profile/enrolment.ts";
import { run as client } from "../../lib/commands/enrol/client.ts";
import { run as importLine } from "../../lib/commands/profiles/import.ts";
import { run } from "../../lib/commands/tools/page.ts";
import { PAGE, WORKER } from "../../lib/commands/tools/page_html.ts";
import { loadConfig } from "../../lib/config/files/load.ts";
import { FailureError, UsageError } from "../../lib/values/errors.ts";
import { FakeRuntime } from "../fakes/fake_runtime.ts";

const FILE = "/etc/knock/server.yaml";
const TEXT = `listen: 62201
services: { ssh: tcp/22 }
defaults: { for: 2m }
clients: {}
`;

function machine(
  files: Record<string, string> = {},
  ownAddresses = ["192.0.2.7", "2001:db8::7", "fe80::1"],
): FakeRuntime {
  return new FakeRuntime({
    userId: 0,
    files: {
      [FILE]: TEXT,
      "/etc/knock/server.key": `${"A".repeat(42)}E\n`,
      ...files,
    },
    ownAddresses,
  });
}

test("run() page prints the page, or writes it with its worker beside it", async () => {
  const runtime = machine({ "/srv/a": "" });
  assertEquals(await run([], runtime), 0);
  assertEquals([runtime.stdout, runtime.stderr], [PAGE, ""]);
  // Twice: the older one is replaced.
  for (let times = 0; times < 2; times++) {
    assertEquals(await run(["--out", "/srv/index.html"], runtime), 0);
  }
  assertEquals(runtime.files.readText("/srv/index.html"), PAGE);
  assertEquals(runtime.files.readText("/srv/knock-worker.js"), WORKER);
  assertEquals(runtime.files.stat("/srv/index.html")!.mode, 0o644);
});

for (
  const [name, files] of [
    ["page", { "/srv/index.html": "<h1>mine</h1>" }],
    ["script", { "/srv/knock-worker.js": "mine" }],
  ] as const
) {
  test(`run() page replaces no ${name} of others, and writes nothing`, async () => {
    const runtime = machine(files);
    await assertRejects(
      () => run(["--out", "/srv/index.html"], runtime),
      FailureError,
      "exists already",
    );
    assertEquals(runtime.files.list("/srv").length, 1);
  });
}

const add = async (runtime: FakeRuntime, ...args: string[]) => {
  await client(["add", "phone", ...args], runtime);
  return runtime.stdout.trim();
};
const parameters = (link: string) =>
  new URLSearchParams(/\?([^#]*)#phone$/.exec(link)![1]);

test("run() client add --web prints a link, and lets the client knock so", async () => {
  const runtime = machine();
  const link = await add(runtime, "--web", "https://door.example.org");
  assert(
    link.startsWith("https://door.example.org/#knock://192.0.2.7:62201/?"),
  );
  const found = parameters(link);
  assertEquals(found.get("at"), "192.0.2.7,2001:db8::7");
  assertEquals(found.get("for"), "120");
  assertEquals([found.get("auto"), found.get("then")], [null, null]);
  const [phone] = loadConfig(runtime, FILE).clients;
  assertEquals([phone!.web, phone!.name], [true, "phone"]);
  assertEquals(phone!.knock!.psk, parseEnrolment(link).psk);
});

test("run() client add --web carries what is the page's", async () => {
  const runtime = machine();
  const found = parameters(
    await add(
      runtime,
      ...["--web", "http://localhost:8000/x.html", "--auto", "--for", "1h"],
      ...[
        "--then",
        "https://nas.example.org/?a=1&b#c",
        "--server",
        "192.0.2.9",
      ],
      ...["--doh", "https://dns.example.org/dns-query"],
    ),
  );
  assertEquals(Object.fromEntries([...found].slice(3)), {
    doh: "https://dns.example.org/dns-query",
    then: "https://nas.example.org/?a=1&b#c",
    auto: "1",
    for: "3600",
  });
});

test("run() client add --web finds the addresses of a name, or says that it has none", async () => {
  const runtime = machine();
  const link = await add(
    runtime,
    ...["--web", "https://d.example/", "--server", "nowhere.invalid"],
  );
  assertEquals(parameters(link).get("at"), null);
  assert(runtime.stderr.includes("hint: nowhere.invalid has no address here"));
});

test("run() client add --web --code keeps the codes' secret out of the link", async () => {
  const runtime = machine();
  const link = await add(runtime, "--web", "https://d.example/", "--code");
  assertEquals(parameters(link).get("code"), "ask");
  const secret = runtime.files.readText("/etc/knock/code/phone.secret").trim();
  assert(runtime.stderr.includes(secret) && !link.includes(secret));
});

test("run() client add without --web lets no client knock from a browser", async () => {
  const runtime = machine();
  assert((await add(runtime)).startsWith("knock://"));
  assertEquals(loadConfig(runtime, FILE).clients[0]!.web, false);
});

for (
  const [args, message] of [
    ["--web door.example.org", "--web must be the page's address"],
    ["--web ftp://door.example.org/", "--web must be the page's address"],
    ["--web https://door.example.org/#x", 'without "#"'],
    ["--web http://door.example.org/", "--web must be https"],
    ["--web https://d/ --then javascript:alert(1)", "--then must be"],
    ["--web https://d/ --doh http://dns/", "--doh must be"],
    ["--web https://d/ --dialect openme", "a browser knocks by knock/1 alone"],
    ["--auto", "--auto is for a browser"],
    ["--then https://d/", "--then is for a browser"],
  ] as const
) {
  test(`run() client add refuses ${args}`, async () => {
    const runtime = machine();
    await assertRejects(
      () => add(runtime, ...args.split(" ")),
      UsageError,
      message,
    );
    assertEquals(runtime.files.readText(FILE), TEXT);
  });
}

test("run() import takes a browser's link", async () => {
  const runtime = machine();
  const link = await add(runtime, "--web", "https://d.example/", "--auto");
  const store = "/root/profiles.yaml";
  assertEquals(await importLine([link, "--profiles", store], runtime), 0);
  assert(runtime.files.readText(store).includes("192.0.2.7:62201"));
});
