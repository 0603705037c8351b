/** Questions and answers of DNS over HTTPS, as the page asks and reads them. */

import { assertEquals } from "@std/assert";
import fc from "../fakes/fast_check.ts";
import { test } from "node:test";
import { dnsQuestion, readDnsAnswer, RECORDS } from "../../web/dns.ts";

const bytes = (hex: string) => Uint8Array.fromHex(hex.replace(/\s/g, ""));

test("dnsQuestion() is that of RFC 8484 §4.1.1", () => {
  assertEquals(
    dnsQuestion(
      "https://dnsserver.example.net/dns-query",
      "www.example.com",
      1,
    ),
    "https://dnsserver.example.net/dns-query" +
      "?dns=AAABAAABAAAAAAAAA3d3dwdleGFtcGxlA2NvbQAAAQAB",
  );
  const url = dnsQuestion("https://d/q?key=1", "a.b.", RECORDS.AAAA);
  assertEquals(url, "https://d/q?key=1&dns=AAABAAABAAAAAAAAAWEBYgAAHAAB");
});

test("dnsQuestion() asks for no name that is none", () => {
  for (const name of ["", "a..b", "a b", "ä", `${"x".repeat(64)}.org`]) {
    assertEquals(dnsQuestion("https://d/q", name, 1), null, name);
  }
});

const ANSWER = bytes(`
  0000 8180 0001 0003 0000 0000
  03777777 076578616d706c65 03636f6d 00 001c 0001
  c00c 0005 0001 00000080 0004 0161 c010
  c02d 0001 0001 00000080 0004 cb007109
  c02d 001c 0001 00000080 0010 20010db8000000000000000000000009`);

test("readDnsAnswer() finds the addresses behind an alias", () => {
  assertEquals(readDnsAnswer(ANSWER), ["203.0.113.9", "2001:db8:0:0:0:0:0:9"]);
});

test("readDnsAnswer() reads what is whole of any cut answer, and never throws", () => {
  for (let size = 0; size < ANSWER.length; size++) {
    const found = readDnsAnswer(ANSWER.slice(0, size));
    assertEquals(found.length, size < ANSWER.length - 28 ? 0 : 1, `${size}`);
  }
  fc.assert(fc.property(fc.uint8Array({ maxLength: 600 }), (junk) => {
    readDnsAnswer(new Uint8Array(junk));
  }));
});
