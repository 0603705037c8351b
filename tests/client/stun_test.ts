import { assertEquals, assertRejects } from "@std/assert";
import fc from "../fakes/fast_check.ts";
import { test } from "node:test";
import { findOwnAddress } from "../../lib/client/address/find.ts";
import { readStunAnswer, stunRequest } from "../../lib/client/address/stun.ts";
import {
  FailureError,
  SystemError,
  UsageError,
} from "../../lib/values/errors.ts";
import { FakeRuntime } from "../fakes/fake_runtime.ts";
import { PROFILE } from "../fakes/fake_server.ts";

const TRANSACTION = Uint8Array.fromHex("b7e7a701bc34d686fa87dfae");

/** RFC 5769 §2.2 and §2.3. */
const ANSWER4 = Uint8Array.fromHex(
  "0101003c2112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f7220" +
    "002000080001a147e112a643000800142b91f599fd9e90c38c7489f92af9ba53f06be7d7" +
    "80280004c07d4c96",
);
const ANSWER6 = Uint8Array.fromHex(
  "010100482112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f7220" +
    "002000140002a1470113a9faa5d3f179bc25f4b5bed2b9d900080014a382954e4be67bf1" +
    "1784c97c8292c275bfe3ed4180280004c8fb0b4c",
);
/** Where the value of XOR-MAPPED-ADDRESS is in the two. */
const VALUE = 40;

test("stunRequest() is a binding request with the magic cookie", () => {
  assertEquals(
    stunRequest(TRANSACTION).toHex(),
    "000100002112a442b7e7a701bc34d686fa87dfae",
  );
});

test("readStunAnswer() reads the RFC's vectors", () => {
  assertEquals(readStunAnswer(ANSWER4, TRANSACTION), "192.0.2.1");
  assertEquals(
    readStunAnswer(ANSWER6, TRANSACTION),
    "2001:db8:1234:5678:11:2233:4455:6677",
  );
});

test("readStunAnswer() reads MAPPED-ADDRESS of an old server, and prefers the other", () => {
  const header = "2112a442b7e7a701bc34d686fa87dfae";
  const mapped = "000100080001000ccb007105";
  const old = Uint8Array.fromHex(`0101000c${header}${mapped}`);
  assertEquals(readStunAnswer(old, TRANSACTION), "203.0.113.5");
  const xored = "002000080001a147e112a643";
  const both = Uint8Array.fromHex(`01010018${header}${mapped}${xored}`);
  assertEquals(readStunAnswer(both, TRANSACTION), "192.0.2.1");
});

test("readStunAnswer() takes no answer to another request", () => {
  for (let bit = 0; bit < 96; bit++) {
    const other = TRANSACTION.slice();
    other[bit >> 3]! ^= 1 << (bit & 7);
    assertEquals(readStunAnswer(ANSWER4, other), null, `bit ${bit}`);
  }
});

const forged: [name: string, offset: number, value: number][] = [
  ["an error response", 1, 0x11],
  ["a request", 0, 0],
  ["another cookie", 4, 0x20],
  ["a longer message", 3, 0x40],
  ["a length that is no multiple of 4", 3, 0x3d],
  ["a family that is none", VALUE + 1, 3],
  ["the other family's length", VALUE + 1, 2],
  ["an attribute that must be understood", VALUE - 4, 0x01],
  ["an attribute that runs over the end", VALUE - 1, 0xff],
];
for (const [name, offset, value] of forged) {
  test(`readStunAnswer() is null for ${name}`, () => {
    const bytes = ANSWER4.with(offset, value);
    assertEquals(readStunAnswer(bytes, TRANSACTION), null);
  });
}

const HEADER = "2112a442b7e7a701bc34d686fa87dfae";
const MAPPED = "000100080001000ccb007105";
/** A good address, and an attribute behind it. */
const behind: [name: string, attribute: string, address: string | null][] = [
  ["an optional attribute", "80220004616263ff", "203.0.113.5"],
  ["one that is known and no matter", "00060004616263ff", "203.0.113.5"],
  ["one that must be understood", "00020004616263ff", null],
  ["one that must be understood, too", "7fff0004616263ff", null],
  ["one that runs over the end", "80220005616263ff", null],
  ["one of 65535 bytes", "8022ffff616263ff", null],
];
for (const [name, attribute, address] of behind) {
  test(`readStunAnswer() reads ${address} before ${name}`, () => {
    const bytes = Uint8Array.fromHex(`01010014${HEADER}${MAPPED}${attribute}`);
    assertEquals(readStunAnswer(bytes, TRANSACTION), address);
  });
}

test("findOwnAddress() takes no address of the other family than it asked over", async () => {
  const fake = machine();
  fake.network.world = ({ bytes }) => {
    const ipv6 = Uint8Array.fromHex(
      `01010018${"00".repeat(16)}000100140002000120010db8${"00".repeat(11)}05`,
    );
    ipv6.set(bytes.subarray(4, 20), 4);
    assertEquals(readStunAnswer(ipv6, bytes.subarray(8, 20)), "2001:db8::5");
    return [{ bytes: ipv6 }];
  };
  const profile = { ...PROFILE, resolve: { ...NOTHING, stun: STUN } };
  await assertRejects(() => findOwnAddress(fake, profile), FailureError);
});

test("readStunAnswer() is null for every cut, and a byte too many", () => {
  for (const answer of [ANSWER4, ANSWER6]) {
    for (let size = 0; size < answer.length; size++) {
      assertEquals(readStunAnswer(answer.subarray(0, size), TRANSACTION), null);
    }
    const longer = new Uint8Array([...answer, 0]);
    assertEquals(readStunAnswer(longer, TRANSACTION), null);
  }
});

test("readStunAnswer() never throws", () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 80 }), (bytes) => {
    readStunAnswer(bytes, TRANSACTION);
    const answer = ANSWER4.slice();
    answer.set(bytes.subarray(0, answer.length - 20), 20);
    readStunAnswer(answer, TRANSACTION);
  }));
});

const STUN = { host: "stun.example.org", port: 3478 };
const NOTHING = { stun: null, https: null, dns: null };

function machine(addresses: readonly string[] = ["198.51.100.1"]) {
  const fake = new FakeRuntime();
  fake.network.names.set(STUN.host, addresses);
  return fake;
}

/** A success response for the request, with an address in plain. */
function answer(request: Uint8Array, address: string): Uint8Array {
  const bytes = Uint8Array.fromHex(`0101000c${"00".repeat(28)}`);
  bytes.set(request.subarray(4, 20), 4);
  bytes.set(Uint8Array.fromHex("00010008000100"), 20);
  bytes.set(address.split(".").map(Number), 28);
  return bytes;
}

test("findOwnAddress() asks the STUN server, and again when it is silent", async () => {
  const fake = machine();
  fake.network.world = ({ bytes, from }, count) => {
    assertEquals(from.host, "::");
    return count < 3 ? [] : [{ bytes: answer(bytes, "203.0.113.5") }];
  };
  const profile = { ...PROFILE, resolve: { ...NOTHING, stun: STUN } };
  assertEquals(await findOwnAddress(fake, profile), { IPv4: "203.0.113.5" });
  assertEquals(fake.network.sent.length, 3);
  assertEquals(fake.network.open, 0);
});

test("findOwnAddress() takes no answer from elsewhere, forged or cut", async () => {
  const fake = machine();
  fake.network.world = ({ bytes, to }) => {
    const good = answer(bytes, "192.0.2.66");
    return [
      { bytes: good, source: { host: "192.0.2.66", port: to.port } },
      { bytes: good, source: { host: to.host, port: 1 } },
      { bytes: good.with(8, good[8]! ^ 1) },
      { bytes: good.subarray(0, 31) },
      { bytes: new Uint8Array() },
    ];
  };
  const profile = { ...PROFILE, resolve: { ...NOTHING, stun: STUN } };
  await assertRejects(
    () => findOwnAddress(fake, profile),
    FailureError,
    "stun stun.example.org:3478: no answer",
  );
});

test("findOwnAddress() goes on to HTTPS, and then DNS", async () => {
  const fake = machine(["2001:db8::1", "198.51.100.1"]);
  fake.network.world = () => {
    throw new SystemError("ENETUNREACH", "no way");
  };
  const url = "https://example.org/ip";
  const dns = { name: "me.example.org", server: { ...STUN, port: 53 } };
  const profile = { ...PROFILE, resolve: { stun: STUN, https: url, dns } };
  fake.pages.set(url, " 2001:DB8::5\n");
  assertEquals(await findOwnAddress(fake, profile), { IPv6: "2001:db8::5" });
  fake.pages.set(url, "<html>");
  fake.records.set("me.example.org IPv6", ["2001:db8::6"]);
  fake.records.set("me.example.org IPv4", ["203.0.113.6"]);
  assertEquals(await findOwnAddress(fake, profile), {
    IPv6: "2001:db8::6",
    IPv4: "203.0.113.6",
  });
  fake.records.clear();
  await assertRejects(
    () => findOwnAddress(fake, profile),
    FailureError,
    "https example.org: the page is no address; dns stun.example.org:53: ",
  );
});

test("findOwnAddress() asks nobody that was not named", async () => {
  const fake = machine();
  await assertRejects(
    () => findOwnAddress(fake, { ...PROFILE, resolve: NOTHING }),
    UsageError,
    "does not say who tells",
  );
  assertEquals(fake.network.sent.length, 0);
});
