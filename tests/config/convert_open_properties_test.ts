/** Holds converted files of openme and OpenSPA against the acts of their servers. */

import { assert, assertEquals } from "@std/assert";
import fc from "../fakes/fast_check.ts";
import { test } from "node:test";
import { run as runCheck } from "../../lib/commands/operator/check.ts";
import { run } from "../../lib/commands/operator/convert.ts";
import type { Config } from "../../lib/config/config.ts";
import { loadConfig } from "../../lib/config/files/load.ts";
import { ConfigError } from "../../lib/values/errors.ts";
import type { PortRange } from "../../lib/values/ports.ts";
import { FakeRuntime } from "../fakes/fake_runtime.ts";
import { CLIENT_PUBLIC_PEM, RSA_PRIVATE_PEM } from "../fakes/rsa.ts";

const key = (fill: number) => new Uint8Array(32).fill(fill).toBase64();

/** Converts a file; the configuration if it exits 0, which `check` then accepts. */
async function convert(
  tool: string,
  files: Record<string, string>,
): Promise<{ config: Config; said: string } | null> {
  const fake = new FakeRuntime({ files });
  const [first] = Object.keys(files);
  try {
    assertEquals(await run([tool, first!, "--dir", "/new"], fake), 0);
  } catch (error) {
    if (error instanceof ConfigError) return null;
    throw error;
  }
  await runCheck(["/new/server.yaml"], fake);
  assertEquals(fake.stdout, "configuration OK\n");
  return { config: loadConfig(fake, "/new/server.yaml"), said: fake.stderr };
}

/** Single ports, as `tcp/22`. */
function portsOf(ranges: readonly PortRange[]): string[] {
  const ports = ranges.flatMap(({ protocol, first, last }) =>
    Array.from(
      { length: last - first + 1 },
      (_, i) => `${protocol}/${first + i}`,
    )
  );
  return [...new Set(ports)].sort();
}

/** Ports that openme reads in a text; null where it finds none. */
function openmePorts(text: string): string[] | null {
  const match = /^(\d+)(?:-(\d+))?(?:\/(\w+))?$/.exec(text.trim());
  const first = Number(match?.[1]);
  const last = Number(match?.[2] ?? match?.[1]);
  if (!match || first < 1 || last > 65535 || first > last) return null;
  const protocol = match[3]?.toLowerCase();
  if (protocol !== undefined && !["tcp", "udp"].includes(protocol)) return null;
  const protocols = protocol === undefined ? ["tcp", "udp"] : [protocol];
  return protocols.flatMap((name) =>
    Array.from({ length: last - first + 1 }, (_, i) => `${name}/${first + i}`)
  );
}

type Openme = {
  readonly ports: Record<string, string[]> | null | undefined;
  readonly drops: string | null;
  readonly clients: readonly { fill: number; allowed: string[] | null }[];
};

const specs = fc.constantFrom(
  "22/tcp",
  "022/tcp",
  "53",
  "8080-8082/UDP",
  "54150-54160",
  "9-10",
);
const openmeFiles: fc.Arbitrary<Openme> = fc.record({
  ports: fc.option(
    fc.dictionary(
      fc.constantFrom("default", "web", "a b", "a!b", "443", "my-ports"),
      fc.array(specs, { maxLength: 3 }),
      { maxKeys: 4 },
    ),
    { nil: undefined },
  ),
  drops: fc.constantFrom(null, "true", "yes", "On", "false", "no"),
  clients: fc.array(
    fc.record({
      fill: fc.integer({ min: 10, max: 14 }),
      allowed: fc.option(
        fc.array(
          fc.oneof(
            specs,
            fc.constantFrom("default", "web", "a b", "443", "my-ports", "lost"),
          ),
          { maxLength: 3 },
        ),
        { nil: null },
      ),
    }),
    { maxLength: 4 },
  ),
});

function openmeText({ ports, drops, clients }: Openme): string {
  const list = (texts: readonly string[]) =>
    `[${texts.map((text) => /^\d+$/.test(text) ? text : `"${text}"`).join()}]`;
  return `server:
  private_key: ${key(1)}
${drops === null ? "" : `  drop_ports: ${drops}\n`}` +
    (ports === undefined
      ? ""
      : ports === null
      ? "ports:\n"
      : `ports: {${
        Object.entries(ports).map(([name, texts]) =>
          `"${name}": ${list(texts)}`
        )
          .join()
      }}\n`) +
    `clients:\n` + clients.map(({ fill, allowed }, index) =>
      `  c${index}:
    ed25519_pubkey: ${key(fill)}
` + (allowed === null ? "" : `    allowed_ports: ${list(allowed)}\n`)
    ).join("");
}

/** Ports that openme's server opens for each client, and hides, by its source. */
function openmeDoes({ ports, drops, clients }: Openme) {
  const groups: Record<string, string[]> = ports === null
    ? {}
    : { default: ["22/tcp"], ...ports };
  const opens = clients.map(({ allowed }) => {
    const opened: string[] = [];
    for (const entry of allowed?.length ? allowed : ["default"]) {
      if (/[/-]/.test(entry) || /^\d+$/.test(entry)) {
        const ports = openmePorts(entry);
        if (!ports) return null;
        opened.push(...ports);
      } else if (groups[entry]) {
        opened.push(...groups[entry].flatMap((text) => openmePorts(text)!));
      } else if (entry !== "default") return null;
    }
    return [...new Set(opened)].sort();
  });
  const hides = !["true", "yes", "On"].includes(drops ?? "") ? null : [
    ...Object.values(groups).flat(),
    ...clients.flatMap(({ allowed }) => allowed ?? []),
  ].flatMap((text) => openmePorts(text) ?? []);
  return { opens, hides: hides && [...new Set(hides)].sort() };
}

async function holdsForOpenme(file: Openme): Promise<void> {
  const converted = await convert("openme", { "/c.yaml": openmeText(file) });
  if (!converted) throw new Error("openme's server starts with it");
  const { config, said } = converted;
  const { opens, hides } = openmeDoes(file);
  assertEquals(config.firewall.mode, hides ? "guard" : "accept");
  for (const [index, want] of opens.entries()) {
    const client = config.clients.find(({ name }) => name === `c${index}`);
    if (!client) {
      assert(said.includes(`clients.c${index} is left out`), said);
      continue;
    }
    if (!want) throw new Error(`c${index} is left out there`);
    // Its own UDP port is nobody's service.
    const knock = (port: string) => port !== "udp/54154";
    assertEquals(
      portsOf(client.open).filter(knock),
      want.filter(knock),
    );
  }
  if (hides) {
    assertEquals(
      portsOf(config.services.flatMap(({ ports }) => ports)),
      hides.filter((port) => port !== "udp/54154"),
    );
  }
}

test("convert openme: opens and hides what openme's server does", async () => {
  await fc.assert(fc.asyncProperty(openmeFiles, holdsForOpenme), {
    numRuns: 150,
  });
});

/** Files that went wrong before. */
const kept: Record<string, Openme> = {
  "no ports: the built-in group": {
    ports: undefined,
    drops: "true",
    clients: [{ fill: 10, allowed: null }],
  },
  "ports without default keep the built-in group": {
    ports: { web: ["8080/tcp"] },
    drops: "true",
    clients: [{ fill: 10, allowed: ["default", "web"] }],
  },
  "ports with nothing have no group": {
    ports: null,
    drops: "true",
    clients: [{ fill: 10, allowed: ["default", "22/tcp"] }],
  },
  "inline ports that openme hid": {
    ports: undefined,
    drops: "yes",
    clients: [{ fill: 10, allowed: ["9000/tcp"] }],
  },
  "an unknown group": {
    ports: undefined,
    drops: null,
    clients: [{ fill: 10, allowed: ["22/tcp", "lost"] }],
  },
  "a group that cannot be named": {
    ports: { "my-ports": ["443/tcp"], "443": ["1/tcp"] },
    drops: "true",
    clients: [{ fill: 10, allowed: ["my-ports"] }, {
      fill: 11,
      allowed: ["443"],
    }],
  },
  "one key twice": {
    ports: undefined,
    drops: null,
    clients: [{ fill: 10, allowed: ["1/tcp"] }, { fill: 10, allowed: null }],
  },
  "two groups with one name here": {
    ports: { "a b": ["1/tcp"], "a!b": ["2/tcp"] },
    drops: "true",
    clients: [{ fill: 10, allowed: ["a b"] }],
  },
  "a port with a zero before it": {
    ports: { default: ["022"] },
    drops: "true",
    clients: [{ fill: 10, allowed: null }],
  },
  "its own port within a group": {
    ports: { default: ["54150-54160"] },
    drops: "true",
    clients: [{ fill: 10, allowed: null }],
  },
};
for (const [name, file] of Object.entries(kept)) {
  test(`convert openme: ${name}`, () => holdsForOpenme(file));
}

const UUID = "c3b66a05-9098-4100-8141-be5695ada0e7";
const OTHER = "8f97e69c-1bb1-4d2f-8cb0-24f2e874254d";

const openspaFiles = fc.record({
  server: fc.constantFrom(
    "",
    "server: { ip: 192.0.2.1, port: 22212 }",
    `server: { ip: "2001:db8::1", http: { enable: true, port: 8080 } }`,
    "server: { ip: 0.0.0.0, adk: { secret: 7O4ZIRI } }",
  ),
  duration: fc.constantFrom("1s", "1h", "1m30s", "12h", "2.5s", "4660h"),
  authorization: fc.constantFrom("simple", "command", "none"),
  firewall: fc.constantFrom("iptables", "command", "none"),
  names: fc.uniqueArray(
    fc.constantFrom(
      UUID,
      `${UUID}.pub`,
      `${OTHER}.pem`,
      `${OTHER}.a.b`,
      `${OTHER.toUpperCase()}.pem`,
      "README",
    ),
  ),
  broken: fc.boolean(),
});

test("convert openspa: who has a key opens what they opened, or it is told", async () => {
  await fc.assert(
    fc.asyncProperty(openspaFiles, async (file) => {
      const { server, duration, authorization, firewall, names, broken } = file;
      const files = {
        "/o/config.yaml": `${server}
firewall: { backend: ${firewall}, iptables: { chain: OPENSPA-ALLOW } }
authorization:
  backend: ${authorization}
  simple: { duration: ${duration} }
  command: { authorizationCmd: /bin/decide }
crypto:
  cipherSuitePriority: [CipherSuite_RSA_SHA256_AES256CBC]
  rsa:
    client: { publicKeyLookupDir: keys }
    server: { privateKeyPath: /elsewhere/server.pem }
`,
        "/o/server.pem": RSA_PRIVATE_PEM,
        "/o/keys/x-not-a-key": "",
        ...Object.fromEntries(
          names.map((name) => [
            `/o/keys/${name}`,
            broken && name === `${OTHER}.pem` ? "broken" : CLIENT_PUBLIC_PEM,
          ]),
        ),
      };
      const converted = await convert("openspa", files);
      if (firewall !== "iptables") return assertEquals(converted, null);
      if (!converted) throw new Error("OpenSPA's server starts with it");
      const { config, said } = converted;
      assertEquals(config.firewall.mode, "accept");
      const known = [
        ...names.some((name) => name.startsWith(UUID)) ? [UUID] : [],
        // ".a.b" is no extension of its, and sorts before ".pem".
        ...names.includes(`${OTHER}.pem`) && !broken ? [OTHER] : [],
      ];
      assertEquals(config.clients.map(({ name }) => name).sort(), known.sort());
      for (const name of names) {
        const used = known.some((uuid) => name.startsWith(uuid)) &&
          !name.endsWith(".a.b");
        const doubled = name === `${UUID}.pub` && names.includes(UUID);
        assertEquals(
          said.includes(`keys/${name} is left out`),
          !used || doubled,
          name,
        );
      }
      for (const client of config.clients) {
        assertEquals(client.anyAddress, true);
        const open = authorization === "command"
          ? []
          : ["tcp/1-65535", "udp/1-65535"];
        assertEquals(
          client.open.map(({ protocol, first, last }) =>
            `${protocol}/${first}-${last}`
          ),
          open,
        );
        const seconds = {
          "1s": 1,
          "1h": 3600,
          "1m30s": 90,
          "12h": 43200,
          "2.5s": 2,
          "4660h": 16776000,
        }[duration];
        if (authorization === "simple") {
          assertEquals(client.forSeconds, seconds);
        }
      }
      assertEquals(
        said.includes("authorization.command decided"),
        authorization === "command",
      );
    }),
    { numRuns: 60 },
  );
});
