/**
 * Sends packets to the UDP port of fwknopd at the address in the first
 * argument: a JSON array of base64 on standard input.
 */

import * as dgram from "node:dgram";
import process from "node:process";

const PORT = 62201;
/** The daemon judges one packet for each of its wake-ups. */
const PAUSE_MS = 20;

if (import.meta.main) {
  let text = "";
  for await (const chunk of process.stdin) text += chunk;
  const socket = dgram.createSocket("udp4");
  for (const packet of JSON.parse(text) as string[]) {
    await new Promise<void>((resolve, reject) =>
      socket.send(
        Uint8Array.fromBase64(packet),
        PORT,
        process.argv[2],
        (error) => error ? reject(error) : resolve(),
      )
    );
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  }
  socket.close();
}
