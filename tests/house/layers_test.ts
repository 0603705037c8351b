/** Imports run one way: a folder of lib/ may import itself and those below it. */

import { test } from "node:test";
import { assert, assertEquals } from "@std/assert";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { runtime } from "../fakes/runtime.ts";

const ROOT = join(dirname(fileURLToPath(import.meta.url)), "../..");

/** Rooms of lib/, lowest first: each imports itself and lower ranks only. */
const RANKS: readonly (readonly string[])[] = [
  ["values"],
  ["runtime", "dialects"],
  ["sequences"],
  ["firewall", "fleet"],
  ["config"],
  ["server", "client"],
  ["commands"],
];
const rankOf = (room: string) => RANKS.findIndex((rank) => rank.includes(room));

/** Of the runtime, all but main and itself take the interface, and what needs no system. */
const INTERFACE = ["lib/runtime/runtime.ts", "lib/runtime/sockets/relay.ts"];

/** Words of a runtime, a clock or randomness: they stay in lib/runtime. */
const IMPURE =
  /\b(Deno|Bun)\.|\bDate\.now\(|\bnew Date\(\)|\bperformance\.now\(|\bMath\.random\(|\bprocess\.|\brandomBytes\(|from "node:(fs|net|dgram|child_process|os|process|sqlite|dns)/;

/** node:net tells only what an address looks like here. */
const PURE_USES = new Set(["lib/values/address.ts"]);

function sources(folder: string): string[] {
  return runtime.files.list(folder).flatMap((name) => {
    const path = join(folder, name);
    if (runtime.files.stat(path)!.isFolder) return sources(path);
    return name.endsWith(".ts") ? [path] : [];
  });
}

/** The texts of another program, which runs in browsers. */
const FOREIGN = "lib/commands/tools/page_html.ts";

const files = sources(join(ROOT, "lib")).map((path) => ({
  name: nameOf(path),
  path,
  text: nameOf(path) === FOREIGN ? "" : runtime.files.readText(path),
}));

function nameOf(path: string): string {
  return relative(ROOT, path).replaceAll("\\", "/");
}

/** Each way through imports that comes back to where it was. */
function cycles(
  imports: ReadonlyMap<string, readonly string[]>,
): string[] {
  const found: string[] = [];
  const done = new Set<string>();
  const visit = (name: string, way: readonly string[]) => {
    const from = way.indexOf(name);
    if (from >= 0) found.push([...way.slice(from), name].join(" -> "));
    if (from >= 0 || done.has(name)) return;
    for (const next of imports.get(name) ?? []) visit(next, [...way, name]);
    done.add(name);
  };
  for (const name of imports.keys()) visit(name, []);
  return found;
}

test("imports run one way", () => {
  assert(files.length > 50);
  assert(files.every(({ name }) => rankOf(name.split("/")[1]!) >= 0));
  const wrong: string[] = [];
  for (const { name, path, text } of files) {
    const folder = name.split("/")[1]!;
    const imports = text.matchAll(/(?:from|import\()\s*"(\.[^"]+)"/g);
    for (const [, target] of imports) {
      const to = nameOf(join(dirname(path), target!));
      const below = to.split("/")[1]!;
      const allowed = folder === below || rankOf(below) < rankOf(folder);
      const whole = below !== "runtime" || folder === "runtime" ||
        INTERFACE.includes(to);
      if (!allowed || !whole) wrong.push(`${name} imports ${to}`);
    }
  }
  assertEquals(wrong, []);
});

test("the picture of the rooms in CONTRIBUTING.md has each of them", () => {
  const text = runtime.files.readText(join(ROOT, "CONTRIBUTING.md"));
  const picture = text.split("```")[3]!;
  const drawn = picture.split("\n").map((line) => line.slice(0, 40));
  const missing = RANKS.flat().filter((room) =>
    !drawn.some((line) => line.split(/\W+/).includes(room))
  );
  assertEquals(missing, []);
});

test("an exported type has a name of its own", () => {
  const owners = new Map<string, string[]>();
  for (const { name, text } of files) {
    const types = text.matchAll(
      /^export (?:abstract )?(?:interface|type|class|enum) (\w+)/gm,
    );
    for (const [, type] of types) {
      owners.set(type!, [...owners.get(type!) ?? [], name]);
    }
  }
  assert(owners.size > 100);
  assertEquals([...owners].filter(([, names]) => names.length > 1), []);
});

test("no file imports itself by way of others, be it for types alone", () => {
  // Late or not: what a file loads by import() does not know who loads it.
  const imports = new Map(files.map(({ name, path, text }) => [
    name,
    [...text.matchAll(/(?:from|^import|\bimport\()\s*"(\.[^"]+)"/gm)].map((
      [, target],
    ) => nameOf(join(dirname(path), target!))),
  ]));
  assert([...imports.values()].flat().every((name) => imports.has(name)));
  assert(
    imports.get("lib/commands/table.ts")!.includes(
      "lib/commands/knock/send.ts",
    ),
  );
  assertEquals(cycles(imports), []);
  // And one would be found.
  const wrong = new Map([["a", ["b", "d"]], ["b", ["c"]], ["c", ["d", "b"]]]);
  assertEquals(cycles(wrong), ["b -> c -> b"]);
});

test("only lib/runtime touches the system", () => {
  const wrong = files
    .filter(({ name }) =>
      !name.startsWith("lib/runtime/") && !PURE_USES.has(name)
    )
    .flatMap(({ name, text }) => {
      const code = text.replace(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, "");
      const found = IMPURE.exec(code);
      return found ? [`${name}: ${found[0]}`] : [];
    });
  assertEquals(wrong, []);
});

/** Most entries of a folder, so that it can be kept in the head; lib itself has ten rooms. */
const MAX_ENTRIES = 9;
const ROOMS = RANKS.flat().length;

test("no folder of lib has more than nine entries", () => {
  const entries = new Map<string, Set<string>>();
  for (const { name } of files) {
    const parts = name.split("/");
    for (let depth = 1; depth < parts.length; depth++) {
      const folder = parts.slice(0, depth).join("/");
      const inside = entries.get(folder) ?? new Set();
      entries.set(folder, inside.add(parts[depth]!));
    }
  }
  assert(entries.size > 20);
  assertEquals(
    [...entries].filter(([folder, { size }]) =>
      size > (folder === "lib" ? ROOMS : MAX_ENTRIES)
    )
      .map(([folder, { size }]) => `${folder}: ${size}`),
    [],
  );
});

/** Modules that some load at once, by names or packages: types and late ones aside. */
function loaded(...paths: readonly string[]): Set<string> {
  const reached = new Set<string>();
  const visit = (path: string) => {
    if (reached.has(nameOf(path))) return;
    reached.add(nameOf(path));
    const imports = runtime.files.readText(path).matchAll(
      /^(?:import|export) (?!type\b)([^;]*?)from\s*"([^"]+)";/gm,
    );
    for (const [, names, target] of imports) {
      const items = /\{([^}]*)\}/.exec(names!)?.[1]?.split(",") ?? [""];
      if (items.every((item) => /^\s*(type .*)?$/.test(item)) && items[0]) {
        continue;
      }
      if (target!.startsWith(".")) visit(join(dirname(path), target!));
      else reached.add(target!);
    }
  };
  for (const path of paths) visit(join(ROOT, path));
  return reached;
}

test("the protocol of the library has no I/O", () => {
  const reached = [...loaded("protocol.ts")];
  assert(reached.length > 15);
  assertEquals(
    reached.filter((name) => name.startsWith("lib/runtime/")),
    [],
  );
});

test("a knock loads no server, and no package that it does not use", () => {
  const reached = [...loaded(
    "main.ts",
    "lib/commands/table.ts",
    "lib/commands/knock/send.ts",
    "lib/dialects/knock1/seal.ts",
    "lib/runtime/bun.ts",
    "lib/runtime/deno.ts",
  )];
  assert(reached.length > 40);
  assertEquals(
    reached.filter((name) =>
      /^lib\/(server|firewall|fleet|sequences)\/|\/(open|enrol|explain|cipher|stun|standard)\.ts$/
        .test(name)
    ),
    [],
  );
  // Rights and places of files; not the schema of server.yaml.
  assertEquals(
    reached.filter((name) => name.startsWith("lib/config/")).sort(),
    ["lib/config/files/places.ts", "lib/config/files/rights.ts"],
  );
  assertEquals(
    reached.filter((name) => /^@/.test(name)).sort(),
    [
      "@std/cli/parse-args",
      "@std/encoding/base32",
      "@std/text/levenshtein-distance",
      "@std/yaml/parse",
    ],
  );
});

test("a server that is alone loads no engine of a fleet", () => {
  const reached = [...loaded(
    "main.ts",
    "lib/commands/operator/serve.ts",
    "lib/commands/operator/fleet.ts",
  )];
  assert(reached.includes("lib/server/fleet/member.ts"));
  assertEquals(
    reached.filter((name) => /^@nats-io|^lib\/fleet\/(etcd|nats)\//.test(name)),
    [],
  );
});

test("each example of the library is run", () => {
  const { tasks } = JSON.parse(
    runtime.files.readText(join(ROOT, "deno.json")),
  );
  const examples = files.filter(({ text }) => text.includes(" * @example"))
    .map(({ name }) => name);
  assert(examples.length > 3);
  for (const name of examples) {
    assert(tasks.doc.command.split(" ").includes(name), name);
  }
});

/** Bytes that are compared one by one, where packets are judged, and why that tells nothing. */
const COMPARES_IN_THE_OPEN: Readonly<Record<string, string>> = {
  "lib/dialects/knock1/explain.ts":
    "a tag, which its packet bears in the clear",
};
const BYTE_BY_BYTE =
  /\.(?:every|some)\(\(\w+, \w+\) =>[^;]{0,80}[!=]==|\.toHex\(\) [!=]==|[!=]== \w+\.toHex\(\)|\.(?:compare|equals)\(/;

test("secrets are compared by timingSafeEqual() and by nothing else", () => {
  const judging = files.filter(({ name }) =>
    /^lib\/(dialects|server)\//.test(name)
  );
  const names = (pattern: RegExp) =>
    judging.filter(({ text }) => pattern.test(text)).map(({ name }) => name);
  const compare = names(/\btimingSafeEqual\(/);
  for (const dialect of ["knock1", "fwknop"]) {
    assert(compare.some((name) => name.includes(dialect)), dialect);
  }
  assertEquals(names(BYTE_BY_BYTE), Object.keys(COMPARES_IN_THE_OPEN));
  // And one would be found.
  for (
    const wrong of [
      "proof.some((b, i) => b !== packet[MAC_AT + i])",
      "mac(covered).every((b, i) => b === sent[i])",
      "proof.toHex() === sent.toHex()",
      "Buffer.compare(proof, sent)",
    ]
  ) {
    assert(BYTE_BY_BYTE.test(wrong), wrong);
  }
});

/** Where our own escape sequences are painted. */
const PAINTERS = [
  "lib/commands/command.ts",
  "lib/commands/enrol/words.ts",
  "lib/commands/knock/progress.ts",
  "lib/commands/operator/status/watch.ts",
];

test("output is escaped in one place, JSON in another", () => {
  const names = (pattern: RegExp) =>
    files.filter(({ name, text }) =>
      !name.startsWith("lib/runtime/") && pattern.test(text)
    ).map(({ name }) => name).sort();
  assertEquals(names(/\.paint\(/), PAINTERS);
  assertEquals(names(/\bprocess\.std|console\./), []);
  const printing = /^lib\/(commands|server\/report\/log)/;
  const json = names(/\bJSON\.stringify\(/);
  assertEquals(json.filter((name) => printing.test(name)), []);
});

test("what Deno does not see as an import, deno.json has it compile", () => {
  const hidden = files.flatMap(({ path, text }) =>
    [...text.matchAll(/import\(\s*"(\.[^"]+)" as string/g)].map(([, target]) =>
      nameOf(join(dirname(path), target!))
    )
  );
  const { compile } = JSON.parse(
    runtime.files.readText(join(ROOT, "deno.json")),
  );
  assert(hidden.length > 20);
  assertEquals(compile.include, [...new Set(hidden)].sort());
});

test("tests take fast-check with arrays of every length", () => {
  const foreign = sources(join(ROOT, "tests")).filter((path) =>
    /^import .* from "fast-check"/m.test(runtime.files.readText(path))
  );
  assertEquals(foreign.map(nameOf), ["tests/fakes/fast_check.ts"]);
});
