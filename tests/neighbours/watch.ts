/**
 * Watches that a port is never open: connects from an address again and again,
 * each time with a new socket. ADDRESS:HOST:PORT as the argument, with blanks
 * for colons. Prints "ready", and when its standard input ends a line of JSON:
 * attempts, and the moments at which one of them was accepted.
 */

import { connect, type Socket } from "node:net";
import process from "node:process";

const EVERY_MS = 4;
/** A SYN that got no answer for so long has got none. */
const PATIENCE_MS = 120;

if (import.meta.main) {
  const [localAddress, host, port] = process.argv.slice(2);
  const open: string[] = [];
  let attempts = 0;
  const attempt = () => {
    attempts++;
    const socket: Socket = connect({
      host: host!,
      port: Number(port),
      localAddress: localAddress!,
    });
    const end = setTimeout(() => socket.destroy(), PATIENCE_MS);
    socket.on("connect", () => {
      open.push(new Date().toISOString());
      socket.destroy();
    });
    socket.on("error", () => {});
    socket.on("close", () => clearTimeout(end));
  };
  const timer = setInterval(attempt, EVERY_MS);
  process.stdout.write("ready\n");
  process.stdin.resume();
  process.stdin.on("end", () => {
    clearInterval(timer);
    setTimeout(() => {
      const line = JSON.stringify({ attempts, open }) + "\n";
      process.stdout.write(line, () => process.exit(0));
    }, 2 * PATIENCE_MS);
  });
}
