/**
 * Floods a UDP port with packets from many sources: HOST PORT SOURCES SECONDS
 * as the arguments, on standard input a JSON array of `{perSecond, packets}`,
 * with base64. The sources are addresses from 10.98.0.1 on, which must be this
 * machine's. Ends after these seconds, by SIGTERM, or when whoever started it is
 * gone, with a line of JSON: how many of each went out, in how long.
 */

import * as dgram from "node:dgram";
import process from "node:process";

/** Packets to send, in turns, and how often. */
export interface Junk {
  readonly perSecond: number;
  readonly packets: readonly string[];
}

const TICK_MS = 2;
/** Datagrams that wait for the kernel; what is due beyond them is left out. */
const MAX_WAITING = 1000;

if (import.meta.main) {
  const [host, port, sources, seconds] = process.argv.slice(2);
  let text = "";
  for await (const chunk of process.stdin) text += chunk;
  const kinds = (JSON.parse(text) as Junk[]).map(({ perSecond, packets }) => ({
    perSecond,
    packets: packets.map((packet) => Uint8Array.fromBase64(packet)),
    due: 0,
    sent: 0,
  }));
  const sockets: dgram.Socket[] = [];
  for (let index = 1; index <= Number(sources); index++) {
    const socket = dgram.createSocket({ type: "udp4" });
    socket.on("error", () => {});
    await new Promise<void>((resolve) =>
      socket.bind(0, `10.98.${index >> 8}.${index & 0xff}`, resolve)
    );
    sockets.push(socket);
  }
  let turn = 0;
  let waiting = 0;
  const parent = process.ppid;
  const startMs = Date.now();
  const timer = setInterval(() => {
    const goneMs = Date.now() - startMs;
    for (const kind of kinds) {
      const due = Math.floor(kind.perSecond * goneMs / 1000);
      while (kind.due < due) {
        if (waiting >= MAX_WAITING) {
          kind.due = due;
          break;
        }
        waiting++;
        const packet = kind.packets[kind.due++ % kind.packets.length]!;
        const socket = sockets[turn++ % sockets.length]!;
        socket.send(packet, Number(port), host!, (error) => {
          waiting--;
          if (!error) kind.sent++;
        });
      }
    }
    const isOver = goneMs >= Number(seconds) * 1000;
    if (isOver || process.ppid !== parent) end();
  }, TICK_MS);
  const end = () => {
    const goneMs = Date.now() - startMs;
    clearInterval(timer);
    const sent = kinds.map((kind) => kind.sent);
    process.stdout.write(
      JSON.stringify({ sent, goneMs }) + "\n",
      () => process.exit(0),
    );
  };
  process.once("SIGTERM", end);
}
