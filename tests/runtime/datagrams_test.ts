/** UDP by each runtime's own sockets, and by node:dgram, which Deno takes where its own is not turned on. */

import { assert, assertEquals, assertRejects } from "@std/assert";
import { test } from "node:test";
import { listenDatagram } from "../../lib/runtime/sockets/node.ts";
import { runtime } from "../fakes/runtime.ts";
import { SystemError } from "../../lib/values/errors.ts";

const SOCKETS = [
  ["node:dgram", listenDatagram],
  [runtime.name, runtime.listenDatagram],
] as const;

for (const [name, listen] of SOCKETS) {
  for (const host of ["127.0.0.1", "::"]) {
    test(`${name} at ${host} hears what was sent to it`, async () => {
      const { promise, resolve } = Promise.withResolvers<[string, string]>();
      const ear = await listen({ host, port: 0 }, (bytes, source) => {
        resolve([new TextDecoder().decode(bytes), source.host]);
      });
      const mouth = await listen({ host, port: 0 }, () => {});
      try {
        const to = { host: "127.0.0.1", port: ear.at.port };
        await mouth.send(new TextEncoder().encode("knock"), to);
        assertEquals(await promise, ["knock", "127.0.0.1"]);
      } finally {
        await Promise.all([ear.close(), mouth.close()]);
      }
    });
  }

  test(`${name} says by SystemError that it cannot send: port 0, a closed socket`, async () => {
    const socket = await listen({ host: "::", port: 0 }, () => {});
    const bytes = new Uint8Array(1);
    // Whoever writes a packet by hand chooses the port that it comes from.
    const nowhere = { host: "127.0.0.1", port: 0 };
    await assertRejects(() => socket.send(bytes, nowhere), SystemError);
    await socket.close();
    const gone = { host: "127.0.0.1", port: 9 };
    await assertRejects(() => socket.send(bytes, gone), SystemError);
  });

  test(`${name} binds no port twice, and frees it when it is closed`, async () => {
    const host = "127.0.0.1";
    const first = await listen({ host, port: 0 }, () => {});
    const at = { host, port: first.at.port };
    const error = await assertRejects(() => listen(at, () => {}), SystemError);
    assertEquals(error.code, "EADDRINUSE");
    await first.close();
    await (await listen(at, () => {})).close();
  });

  test(`${name} sends on after a port that nobody listens at`, async () => {
    const host = "127.0.0.1";
    let heard = 0;
    const ear = await listen({ host, port: 0 }, () => void heard++);
    const mouth = await listen({ host, port: 0 }, () => {});
    const closed = await listen({ host, port: 0 }, () => {});
    await closed.close();
    try {
      for (let round = 0; round < 5; round++) {
        await mouth.send(new Uint8Array(1), { host, port: closed.at.port });
        await runtime.sleep(10); // the ICMP error comes
        await mouth.send(new Uint8Array(1), { host, port: ear.at.port });
      }
      for (let waited = 0; heard < 5 && waited < 100; waited++) {
        await runtime.sleep(10);
      }
      assertEquals(heard, 5);
    } finally {
      await Promise.all([ear.close(), mouth.close()]);
    }
  });
}

for (const host of ["127.0.0.1", "::1", "::"]) {
  test(`${runtime.name} at ${host} and a port of its own hears, answers and ends`, async () => {
    const listen = runtime.listenDatagram;
    const free = await listen({ host: "127.0.0.1", port: 0 }, () => {});
    const at = { host, port: free.at.port };
    await free.close();
    const server = await listen(at, (bytes, source) => {
      heard.push(bytes.length);
      void server.send(bytes, source);
    }, { apart: true });
    const heard: number[] = [];
    for (const to of host === "::" ? ["127.0.0.1", "::1"] : [host]) {
      const { promise, resolve } = Promise.withResolvers<string>();
      const mouth = await listen({ host: to, port: 0 }, (bytes, source) => {
        if (bytes.length === 5) resolve(source.host);
      });
      await mouth.send(new Uint8Array(9000), { host: to, port: at.port });
      await mouth.send(new Uint8Array(0), { host: to, port: at.port });
      const bytes = new TextEncoder().encode("knock");
      await mouth.send(bytes, { host: to, port: at.port });
      assertEquals(await promise, to);
      await mouth.close();
    }
    // A long one may be cut: no packet is so long.
    const [long = 0, ...rest] = heard.toSorted((a, b) => b - a);
    assert(long >= 2048 && rest.includes(5) && rest.includes(0), `${heard}`);
    await server.close();
    await assertRejects(() => server.send(new Uint8Array(1), at), SystemError);
    await (await listen(at, () => {}, { apart: true })).close();
  });
}
