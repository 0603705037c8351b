import { assert, assertEquals } from "@std/assert";
import { test } from "node:test";
import {
  formatEnrolment,
  parseEnrolment,
} from "../../lib/client/profile/enrolment.ts";
import { formatWebLink } from "../../lib/client/profile/web.ts";
import { answerFor } from "../../web/ice.ts";
import {
  formatLeft,
  isAddress,
  readCode,
  readEnrolment,
} from "../../web/profile.ts";
import { bytesOf } from "../fakes/packets.ts";

const enrolment = {
  name: "my phone",
  host: "door.example.org",
  port: 62201,
  server: bytesOf("server"),
  key: bytesOf("key"),
  psk: bytesOf("psk"),
};
const line = formatEnrolment(enrolment);

function read(text: string) {
  const got = readEnrolment(text);
  if (!got.ok) throw new Error(got.why);
  return got.enrolment;
}

test("readEnrolment() reads what the server prints, alone and behind a page's link", () => {
  const wanted = {
    ...enrolment,
    at: [],
    doh: null,
    then: null,
    auto: false,
    code: false,
    seconds: 0,
  };
  assertEquals(read(line), wanted);
  assertEquals(read(`https://door.example.org/#${line}`), wanted);
  // Wrapped by a mail program.
  assertEquals(read(`  ${line.slice(0, 60)}\n ${line.slice(60)}`), wanted);
});

test("readEnrolment() reads what is the page's, as the server writes it", () => {
  const web = {
    page: "https://door.example.org/",
    at: ["203.0.113.9", "2001:db8::9"],
    doh: "https://dns.example.org/q?a=1&b=2",
    then: "https://nas.example.org/?x=1#y",
    auto: true,
    seconds: 3600,
  };
  const link = formatWebLink({ ...enrolment, code: "JBSWY3DPEHPK3PXP" }, web);
  assert(link.startsWith("https://door.example.org/#knock://door.example"));
  assert(!link.includes("JBSWY3DPEHPK3PXP"), "the codes' secret stays away");
  const { page: _page, ...rest } = web;
  assertEquals(read(link), { ...enrolment, ...rest, code: true });
  // The program's own client takes the same line.
  assertEquals(parseEnrolment(link), { ...enrolment, code: "ask" });
  const bad = read(line.replace("#", "&at=203.0.113.9,bad&for=1e9#"));
  assertEquals([bad.at, bad.seconds], [["203.0.113.9"], 0]);
  assertEquals(
    read(formatEnrolment({ ...enrolment, host: "2001:db8::9" })).host,
    "2001:db8::9",
  );
  assertEquals(read(formatEnrolment({ ...enrolment, key: null })).key, null);
});

for (
  const [name, text] of [
    ["nothing", ""],
    ["another link", "https://example.org/#top"],
    ["a cut one", line.slice(0, -30)],
    ["one without its name", line.split("#")[0]!],
    ["a changed key", line.replace(/server=./, "server=")],
    ["a changed private key", line.replace(/&key=./, "&key=")],
    ["port 0", line.replace(":62201", ":0")],
    ["a link to a script", line.replace("#", "&then=javascript%3Aalert(1)#")],
    ["a resolver without TLS", line.replace("#", "&doh=http%3A%2F%2Fx#")],
  ] as const
) {
  test(`readEnrolment() refuses ${name}, in words`, () => {
    const got = readEnrolment(text);
    assert(!got.ok && got.why.length > 10);
  });
}

test("isAddress(), formatLeft() and readCode()", () => {
  for (const yes of ["203.0.113.9", "::1", "2001:db8::9"]) {
    assert(isAddress(yes));
  }
  for (
    const no of ["", "256.1.1.1", "example.org", "1.2.3", "a:b", "1::2::3"]
  ) {
    assertEquals(isAddress(no), false, no);
  }
  assertEquals([0, 59, 65, 7199].map(formatLeft), [
    "0s",
    "59s",
    "1m05s",
    "1h59m",
  ]);
  assertEquals([readCode("123 456"), readCode("12345"), readCode("12345a")], [
    123456,
    null,
    null,
  ]);
});

test("answerFor() names the server as the one candidate", () => {
  const sdp = answerFor(
    { ufrag: "u".repeat(248), pwd: "p".repeat(43) },
    "203.0.113.9",
    62201,
  );
  assert(
    sdp.includes(
      "a=candidate:1 1 UDP 2130706431 203.0.113.9 62201 typ host\r\n",
    ),
  );
  assert(sdp.includes(`a=ice-ufrag:${"u".repeat(248)}\r\n`));
});
