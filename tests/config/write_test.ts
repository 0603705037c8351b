import { assertEquals } from "@std/assert";
import { test } from "node:test";
import { formatConfig, indent } from "../../lib/config/files/write.ts";
import { scalar } from "../../lib/values/yaml.ts";
import { parseConfig } from "../../lib/config/read.ts";

const surroundings = {
  file: "server.yaml",
  readKey: () => new Uint8Array(32).fill(7),
  readCode: () => new Uint8Array(10).fill(9),
  stateFolder: () => "/state",
};

test("formatConfig() writes what parseConfig() reads", () => {
  const ports = [
    { protocol: "tcp", first: 80, last: 80 },
    { protocol: "tcp", first: 8000, last: 8010 },
  ] as const;
  const config = parseConfig(
    formatConfig({
      port: 7000,
      backend: "gate",
      mode: "guard",
      services: [
        { name: "web", ports, to: { host: "::1", port: 1 } },
        {
          name: "1e3",
          ports: [{ ...ports[0], first: 9, last: 9 }],
          to: { host: "a", port: 1 },
        },
      ],
      clients: [{
        name: "me",
        keys: {
          key: new Uint8Array(32).fill(1),
          psk: new Uint8Array(32).fill(2),
        },
        open: ["web", "1e3"],
        forSeconds: 60,
      }],
    }),
    surroundings,
  );
  assertEquals(config.listen, [{ host: "::", port: 7000 }]);
  assertEquals(config.firewall.backend, "gate");
  assertEquals(config.services.map(({ name }) => name), ["web", "1e3"]);
  assertEquals(config.services[0]!.ports as unknown, ports);
  assertEquals(config.clients[0]!.forSeconds, 60);
  assertEquals(config.clients[0]!.open.length, 3);
});

test("formatConfig() writes empty lists of services and clients", () => {
  const config = parseConfig(
    formatConfig({
      port: 62201,
      backend: "nft",
      mode: "guard",
      services: [],
      clients: [],
    }),
    surroundings,
  );
  assertEquals([config.services, config.clients], [[], []]);
});

test("indent() doubles what is there and leaves empty lines empty", () => {
  assertEquals(indent("a:\n  b: 1\n\n", 4), "    a:\n        b: 1\n\n");
});

const scalars: [value: string, text: string][] = [
  ["alice", "alice"],
  ["a.b-c_d", "a.b-c_d"],
  ["007a", "007a"],
  ["7", `"7"`],
  ["1e3", `"1e3"`],
  ["true", `"true"`],
  ["null", `"null"`],
  ["2027-01-01", `"2027-01-01"`],
  ["-a", `"-a"`],
  ["a: b", `"a: b"`],
  ["", `""`],
];

for (const [value, text] of scalars) {
  test(`scalar() writes ${text}`, () => {
    assertEquals(scalar(value), text);
  });
}
