/** UDP by node:dgram, which Deno takes too where its own is not turned on. */

import { test } from "node:test";
import { assertEquals, assertRejects } from "@std/assert";
import { listenDatagram } from "../lib/runtime/node_datagrams.ts";
import { SystemError } from "../lib/runtime/runtime.ts";

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

test("send() says by SystemError that it cannot: port 0, a closed socket", async () => {
  const socket = await listenDatagram({ host: "::", port: 0 }, () => {});
  const bytes = new Uint8Array(1);
  // Whoever writes a packet by hand chooses the port that it comes from.
  const nowhere = { host: "127.0.0.1", port: 0 };
  await assertRejects(() => socket.send(bytes, nowhere), SystemError);
  await socket.close();
  const gone = { host: "127.0.0.1", port: 9 };
  await assertRejects(() => socket.send(bytes, gone), SystemError);
});
