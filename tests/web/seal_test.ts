import { assertEquals, assertRejects } from "@std/assert";
import { test } from "node:test";
import {
  fromBase64url,
  generateKeys,
  importKey,
  seal,
  toBase64url,
} from "../../web/seal.ts";
import web from "../vectors/knock1-web.json" with { type: "json" };

const hex = (text: string) => Uint8Array.fromHex(text);

for (const [index, vector] of web.vectors.entries()) {
  const { action, items, seconds, source, one_time_code } = vector.request;
  // The page opens ports, for the address that it comes from.
  if (action !== "open" || source !== null || !Array.isArray(items)) continue;
  test(`seal() of web vector ${index}`, async () => {
    const own = await importKey(hex(vector.client_private));
    assertEquals(own.publicKey.toHex(), vector.client_public);
    assertEquals(own.privateKey.extractable, false);
    const sealed = await seal(
      {
        server: hex(vector.server_public),
        key: own.privateKey,
        publicKey: own.publicKey,
        psk: hex(vector.psk),
      },
      await importKey(hex(vector.ephemeral_private)),
      {
        ports: items.map((item) => {
          const [protocol, port] = item.split("/");
          return { protocol: protocol as "tcp" | "udp", port: Number(port) };
        }),
        seconds,
        code: one_time_code,
      },
      vector.now_ms,
    );
    assertEquals(sealed, { ufrag: vector.ufrag, pwd: vector.pwd });
  });
}

test("generateKeys() makes keys that cannot be extracted", async () => {
  const { privateKey, publicKey } = await generateKeys();
  assertEquals(publicKey.length, 32);
  await assertRejects(() => crypto.subtle.exportKey("pkcs8", privateKey));
});

test("fromBase64url() reads what toBase64url() writes, and nothing else", () => {
  const bytes = Uint8Array.from({ length: 32 }, (_, index) => 7 * index & 255);
  const text = toBase64url(bytes);
  assertEquals(fromBase64url(text, 32), bytes);
  for (
    const wrong of [
      "",
      text + "A",
      text.slice(1),
      text.slice(0, -1) + "B",
      "==",
    ]
  ) {
    assertEquals(fromBase64url(wrong, 32), null, wrong);
  }
});
