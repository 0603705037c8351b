import { assert, assertEquals } from "@std/assert";
import { parse } from "@std/yaml";
import fc from "../fakes/fast_check.ts";
import { test } from "node:test";
import {
  addClientText,
  editIncluded,
  removeClientText,
  setClientText,
} from "../../lib/config/files/edit.ts";
import {
  formatClient,
  indent,
  type NewClient,
} from "../../lib/config/files/write.ts";

const KEY = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE";
const PSK = "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI";

const bob: NewClient = {
  name: "bob",
  keys: {
    key: new Uint8Array(32).fill(1),
    psk: new Uint8Array(32).fill(2),
  },
  open: ["ssh"],
  forSeconds: 3600,
};
const BOB = `  bob:
    knock: { key: ${KEY}, psk: ${PSK} }
    open: [ssh]
    for: 1h
`;
const WIDE = `    bob:
        knock: { key: ${KEY}, psk: ${PSK} }
        open: [ssh]
        for: 1h
`;

const added: [name: string, text: string, want: string | null][] = [
  [
    "an empty flow mapping",
    "listen: 1\nclients: {}\n",
    `listen: 1\nclients:\n${BOB}`,
  ],
  [
    "one with a comment",
    "clients: { } # none\nlog: {}\n",
    `clients: # none\n${BOB}log: {}\n`,
  ],
  ["no value", "clients:\nlog: {}\n", `clients:\n${BOB}log: {}\n`],
  ["null", "clients: ~\n", `clients:\n${BOB}`],
  ["no key", "listen: 1\n", `listen: 1\n\nclients:\n${BOB}`],
  [
    "no key and a blank line at the end",
    "listen: 1\n\n",
    `listen: 1\n\nclients:\n${BOB}`,
  ],
  ["no final newline", "listen: 1", `listen: 1\n\nclients:\n${BOB}`],
  [
    "no final newline in the last client",
    "clients:\n  a: 1",
    `clients:\n  a: 1\n${BOB}`,
  ],
  [
    "a client before",
    "clients:\n  a:\n    b: 1\n\nlog: {}\n",
    `clients:\n  a:\n    b: 1\n${BOB}\nlog: {}\n`,
  ],
  [
    "comments everywhere",
    `# top
clients: # who may knock
  # alice's laptop
  a: { b: 1 } # mine
  # the end of the clients

# what is written
log: {} # quiet
`,
    `# top
clients: # who may knock
  # alice's laptop
  a: { b: 1 } # mine
  # the end of the clients
${BOB}
# what is written
log: {} # quiet
`,
  ],
  [
    "only comments",
    "clients:\n  # nobody yet\n# logs\nlog: {}\n",
    `clients:\n  # nobody yet\n${BOB}# logs\nlog: {}\n`,
  ],
  [
    "a comment at the margin between clients",
    "clients:\n  a: 1\n# b was here\n  c: 2\nlog: {}\n",
    `clients:\n  a: 1\n# b was here\n  c: 2\n${BOB}log: {}\n`,
  ],
  [
    "four spaces",
    "clients:\n    a:\n        b: 1\n",
    `clients:\n    a:\n        b: 1\n${WIDE}`,
  ],
  [
    "four spaces elsewhere",
    "log:\n    level: info\nclients: {}\n",
    `log:\n    level: info\nclients:\n${WIDE}`,
  ],
  ["a quoted key", `"clients": {}\n`, `"clients":\n${BOB}`],
  [
    "a list at the margin of its key",
    "listen:\n- 1\nclients: {}\n",
    `listen:\n- 1\nclients:\n${BOB}`,
  ],
  [
    "CRLF",
    "listen: 1\r\nclients:\r\n  a: 1\r\n",
    `listen: 1\r\nclients:\r\n  a: 1\r\n${BOB.replaceAll("\n", "\r\n")}`,
  ],
  [
    "a text that looks like the key",
    "a: |\n  clients: {}\nclients: {}\n",
    `a: |\n  clients: {}\nclients:\n${BOB}`,
  ],
  ["a flow mapping with clients", "clients: { a: { b: 1 } }\n", null],
  ["a flow mapping over lines", "clients: {\n  a: 1\n}\n", null],
  ["a flow mapping as the whole", "{ listen: 1 }\n", null],
  ["an end of the document", "listen: 1\n...\n", null],
  [
    "a key in single quotes",
    "'clients' : {}\n",
    `'clients' :\n${BOB}`,
  ],
];

for (const [name, text, want] of added) {
  test(`addClientText() with ${name}${want === null ? ": by hand" : ""}`, () => {
    assertEquals(addClientText(text, bob), want);
  });
}

const removed: [
  name: string,
  text: string,
  client: string,
  want: string | null,
][] = [
  ["the only client", `clients:\n${BOB}`, "bob", "clients:\n"],
  [
    "the only one, before other keys",
    `clients:\n${BOB}\nlog: {}\n`,
    "bob",
    "clients:\n\nlog: {}\n",
  ],
  ["the first", `clients:\n${BOB}  a: 1\n`, "bob", "clients:\n  a: 1\n"],
  [
    "the last",
    `clients:\n  a: 1\n${BOB}# logs\nlog: {}\n`,
    "bob",
    "clients:\n  a: 1\n# logs\nlog: {}\n",
  ],
  [
    "one in a line",
    "clients:\n  a: { b: 1 } # a\n  b: 2\n",
    "a",
    "clients:\n  b: 2\n",
  ],
  [
    "one with comments inside",
    `clients:
  # before
  a:
    # inside
    b: 1 # beside

    # at its end
  # about c
  c: 1
`,
    "a",
    "clients:\n  # before\n  # about c\n  c: 1\n",
  ],
  ["four spaces", `clients:\n    a: 1\n${WIDE}`, "bob", "clients:\n    a: 1\n"],
  [
    "a quoted name",
    `clients:\n  "1e3":\n    b: 1\n  '007': 2\n`,
    "1e3",
    "clients:\n  '007': 2\n",
  ],
  [
    "a name in single quotes",
    `clients:\n  "1e3":\n    b: 1\n  '007': 2\n`,
    "007",
    `clients:\n  "1e3":\n    b: 1\n`,
  ],
  ["CRLF", `clients:\r\n  a: 1\r\n  b: 2\r\n`, "a", "clients:\r\n  b: 2\r\n"],
  ["no final newline", "clients:\n  a: 1\n  b: 2", "b", "clients:\n  a: 1\n"],
  [
    "a key of the same name inside",
    "clients:\n  a:\n    b: 1\n  b: 2\n",
    "b",
    "clients:\n  a:\n    b: 1\n",
  ],
  ["a flow mapping", "clients: { a: 1 }\n", "a", null],
  [
    "one that others refer to",
    "clients:\n  a: &x { b: 1 }\n  b: *x\n",
    "a",
    null,
  ],
  ["nobody of this name", "clients:\n  a: 1\n", "b", null],
  ["no clients", "listen: 1\n", "b", null],
];

for (const [name, text, client, want] of removed) {
  test(`removeClientText() with ${name}${want === null ? ": by hand" : ""}`, () => {
    assertEquals(removeClientText(text, client), want);
  });
}

const names = ["1", "007", "1e3", "0x10", "true", "null", "no", "a.b-c_d", "9"];

for (const name of names) {
  test(`addClientText() writes the name "${name}" so that it reads the same`, () => {
    const text = addClientText("clients: {}", { ...bob, name })!;
    const { clients } = parse(text) as { clients: Record<string, unknown> };
    assertEquals(Object.keys(clients), [name]);
    assertEquals(removeClientText(text, name), "clients:\n");
  });
}

test("removeClientText() undoes addClientText() in any layout", () => {
  const line = fc.constantFrom(
    "# c",
    "  # c",
    "",
    "log: {}",
    "state: x",
    "services:",
    "  ssh: tcp/22",
    "clients:",
    "clients: {}",
    "  a:",
    "    open: [ssh]",
    "    # c",
    "  b: { open: ssh }",
    "key: |",
    "  text",
  );
  fc.assert(
    fc.property(fc.array(line, { maxLength: 10 }), (lines) => {
      const text = lines.join("\n");
      const with_ = addClientText(text, bob);
      if (with_ === null) return;
      // Every old line is still there, in its order.
      let from = 0;
      const after = with_.split("\n");
      for (const line of text.replace("clients: {}", "clients:").split("\n")) {
        if (line === "") continue;
        const found = after.indexOf(line, from);
        assert(found >= 0, JSON.stringify([text, with_]));
        from = found + 1;
      }
      const without = removeClientText(with_, "bob");
      assert(without !== null, JSON.stringify([text, with_]));
    }),
    { numRuns: 1000 },
  );
});

test("formatClient() writes all psks so that they read the same", () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 32, maxLength: 32 }), (psk) => {
      const text = indent(formatClient({ ...bob, keys: { key: psk, psk } }), 2);
      const read = parse(`clients:\n${text}`, { schema: "core" }) as {
        clients: { bob: { knock: { psk: string } } };
      };
      assertEquals(
        Uint8Array.fromBase64(read.clients.bob.knock.psk, {
          alphabet: "base64url",
        }),
        psk,
      );
    }),
  );
});

const CLIENT = `clients:
  a: # the first
    knock: { key: K, psk: P }
    # what she needs
    open:
    - ssh
    - web
    for: 1h # a working hour
  b: { knock: { key: "K, L" }, open: [ssh, web], for: 5m } # a phone
log: {}
`;

const changed: [
  name: string,
  client: string,
  changes: Record<string, string | null>,
  old: string,
  fresh: string,
][] = [
  ["a value, with its comment", "a", { for: "2h" }, "for: 1h #", "for: 2h #"],
  [
    "a list in lines",
    "a",
    { open: "[vpn]" },
    "    open:\n    - ssh\n    - web\n",
    "    open: [vpn]\n",
  ],
  [
    "a new key, at the end",
    "a",
    { max_for: "8h" },
    "hour\n",
    "hour\n    max_for: 8h\n",
  ],
  ["a key that goes", "a", { for: null }, "    for: 1h # a working hour\n", ""],
  ["a key that is not there", "a", { web: null }, "", ""],
  ["a value in a line", "b", { for: "2h" }, "for: 5m", "for: 2h"],
  [
    "a list in a line, and a new key",
    "b",
    { open: "[vpn]", web: "true" },
    `{ knock: { key: "K, L" }, open: [ssh, web], for: 5m }`,
    `{ knock: { key: "K, L" }, open: [vpn], for: 5m, web: true }`,
  ],
];

for (const [name, client, changes, old, fresh] of changed) {
  test(`setClientText() changes ${name}, and nothing else`, () => {
    const found = setClientText(
      CLIENT,
      client,
      new Map(Object.entries(changes)),
    );
    assertEquals(found, CLIENT.replace(old, fresh));
  });
}

test("setClientText() leaves to people what it cannot change", () => {
  const changes = new Map([["for", "1h"]]);
  for (
    const text of [
      "clients: { a: { open: ssh } }\n",
      "clients:\n  a: &all { open: ssh }\n  b: *all\n",
      "clients:\n  a: &all\n    open: ssh\n  b: *all\n",
      "clients:\n  a:\n",
      "clients:\n  a: { x: { y: { z: 1 }, for: 2h } }\n",
      "listen: 1\n",
      "a: { open: ssh }\n",
      "[",
    ]
  ) {
    assertEquals(setClientText(text, "a", changes), null, text);
  }
});

test("editIncluded() edits clients with a key above them and without", () => {
  const part = "# two\na:\n  open: ssh\n\nb: { open: ssh }\n";
  const edit = (text: string) =>
    setClientText(text, "b", new Map([["for", "1h"]]));
  assertEquals(
    editIncluded(part, edit),
    part.replace("ssh }", "ssh, for: 1h }"),
  );
  const whole = "clients:\n  b: { open: ssh }\n";
  assertEquals(
    editIncluded(whole, edit),
    whole.replace("ssh }", "ssh, for: 1h }"),
  );
  assertEquals(
    editIncluded("a: {}\n", (text) => removeClientText(text, "a")),
    "",
  );
});
