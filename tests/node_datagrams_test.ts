/** UDP by node:dgram, which Deno takes too where its own is not turned on. */

import { test } from "node:test";
import { assertEquals } from "@std/assert";
import { listenDatagram } from "../lib/runtime/node_datagrams.ts";

for (const host of ["127.0.0.1", "::"]) {
  test(`listenDatagram() at ${host} hears what was sent to it`, async () => {
    const { promise, resolve } = Promise.withResolvers<[string, string]>();
    const ear = await listenDatagram({ host, port: 0 }, (bytes, source) => {
      resolve([new TextDecoder().decode(bytes), source.host]);
    });
    const mouth = await listenDatagram({ host, port: 0 }, () => {});
    try {
      const to = { host: "127.0.0.1", port: ear.at.port };
      await mouth.send(new TextEncoder().encode("knock"), to);
      assertEquals(await promise, ["knock", "127.0.0.1"]);
    } finally {
      await Promise.all([ear.close(), mouth.close()]);
    }
  });
}
