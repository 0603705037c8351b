/**
 * Sends packets by UDP, in order: HOST PORT [SOURCE] as the arguments, a JSON
 * array of base64 on standard input.
 */

import * as dgram from "node:dgram";
import process from "node:process";

if (import.meta.main) {
  const [host, port, source] = process.argv.slice(2);
  let text = "";
  for await (const chunk of process.stdin) text += chunk;
  const socket = dgram.createSocket(host!.includes(":") ? "udp6" : "udp4");
  await new Promise<void>((resolve) =>
    source ? socket.bind(0, source, resolve) : resolve()
  );
  for (const packet of JSON.parse(text) as string[]) {
    await new Promise<void>((resolve, reject) =>
      socket.send(
        Uint8Array.fromBase64(packet),
        Number(port),
        host!,
        (error) => error ? reject(error) : resolve(),
      )
    );
  }
  socket.close();
}
