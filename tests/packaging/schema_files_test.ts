/** The JSON Schemas of docs/: up to date, and what an editor makes of them. */

import { test } from "node:test";
import { Validator } from "@cfworker/json-schema";
import { assert, assertEquals } from "@std/assert";
import { parse as parseYaml } from "@std/yaml";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { formatSchemas } from "../../packaging/schema.ts";
import { runtime } from "../fakes/runtime.ts";

const DOCS = join(dirname(fileURLToPath(import.meta.url)), "../../docs");

function validator(name: string): Validator {
  const json = JSON.parse(formatSchemas().get(name)!);
  return new Validator(json, "2020-12", false);
}

for (const [name, text] of formatSchemas()) {
  test(`docs/${name} is up to date (deno task schema)`, () => {
    const found = runtime.files.readText(join(DOCS, name));
    assertEquals(JSON.parse(found), JSON.parse(text));
  });
}

const KEY = "x".repeat(43);

const good: [about: string, schema: string, yaml: string][] = [
  ["nothing at all", "server.schema.json", "clients:\nservices:"],
  ["a port alone", "server.schema.json", "listen: 62201"],
  [
    "services and a client",
    "server.schema.json",
    `listen: [62201, "[2001:db8::1]:62201", tcp/62201]
services: { ssh: tcp/22, web: [tcp/80, tcp/443],
  nas: { listen: tcp/8443, to: "10.0.0.5:443" } }
clients:
  alice:
    knock: { key: ${KEY}, psk: ${KEY} }
    open: [ssh, tcp/8080-8090]
    for: 1h
    hours: "mon-fri 08:00-18:00"
sequences:
  door: { knock: [tcp/7000, udp/8000, 9000], within: 5s, open: [ssh] }
commands: { restart-web: [systemctl, restart, nginx] }
log: { format: json }`,
  ],
  [
    "a profile",
    "profiles.schema.json",
    `home:
  server: home.example.org:62201
  knock: { server: ${KEY}, key: ${KEY}, psk: ${KEY} }
  open: tcp/22`,
  ],
];

const bad: [about: string, schema: string, yaml: string][] = [
  ["an unknown key", "server.schema.json", "lisen: 62201"],
  ["an unknown backend", "server.schema.json", "firewall: { backend: pf }"],
  ["ports without a protocol", "server.schema.json", `services: { ssh: "22" }`],
  ["a bad name", "server.schema.json", "clients: { '-x': {} }"],
  [
    "a short key",
    "server.schema.json",
    `clients: { alice: { knock: { key: abc, psk: ${KEY} } } }`,
  ],
  ["a shell line", "server.schema.json", "commands: { x: reboot }"],
  ["a profile without a server", "profiles.schema.json", "home: {}"],
];

for (const [about, schema, yaml] of good) {
  test(`${schema} takes ${about}`, () => {
    const { valid, errors } = validator(schema).validate(parseYaml(yaml));
    assert(valid, JSON.stringify(errors));
  });
}

for (const [about, schema, yaml] of bad) {
  test(`${schema} refuses ${about}`, () => {
    assert(!validator(schema).validate(parseYaml(yaml)).valid);
  });
}
