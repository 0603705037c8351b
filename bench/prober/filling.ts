/** Opening a port for many addresses, by valid knocks. */

import { parseEnrolment } from "../../lib/client/profile/enrolment.ts";
import { close, openDatagram, receive, send } from "../native.ts";
import {
  clientAddress,
  type Filled,
  type ProbeOrder,
  REPLY_US,
} from "./orders.ts";
import { sealKnock } from "../../lib/dialects/knock1/seal.ts";

/** Packets between two replies, which are the flow control. */
const FILL_WINDOW = 64;
const FILL_SOURCES = 250;

/** Sends a knock for each address, as fast as they are answered. */
export function fill(order: Extract<ProbeOrder, { do: "fill" }>): Filled {
  const { enrolment, from, count, port, seconds } = order;
  const { server, key, psk, host, port: knockPort } = parseEnrolment(enrolment);
  const sockets = Array.from(
    { length: FILL_SOURCES },
    (_, index) => openDatagram(clientAddress(0x10000 + index), host, knockPort),
  );
  const startMs = performance.now();
  let answered = 0;
  let asked = 0;
  for (let index = 0; index < count; index++) {
    const wantsReply = index % FILL_WINDOW === FILL_WINDOW - 1 ||
      index === count - 1;
    const { packet } = sealKnock(
      {
        server,
        key: key!,
        psk,
        ephemeral: crypto.getRandomValues(new Uint8Array(32)),
      },
      {
        action: "open",
        ports: [{ protocol: "tcp", first: port, last: port }],
        command: null,
        seconds,
        address: clientAddress(from + index),
        code: null,
        wantsReply,
      },
      Date.now(),
    );
    const socket = sockets[index % FILL_SOURCES]!;
    send(socket, packet);
    if (!wantsReply) continue;
    asked++;
    if (receive(socket, REPLY_US)) answered++;
  }
  sockets.forEach(close);
  return { ms: performance.now() - startMs, answered, asked };
}
