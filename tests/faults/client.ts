/**
 * Knocks without a program of its own each: one JSON order a line on standard
 * input, one answer a line on standard output. The arguments: an enrolment, and
 * the address to knock from.
 */

import * as dgram from "node:dgram";
import process from "node:process";
import { createInterface } from "node:readline";
import { parseEnrolment } from "../../lib/client/profile/enrolment.ts";
import type { Answer } from "../../lib/dialects/dialect.ts";
import { parsePortRange } from "../../lib/values/ports.ts";
import { type SealedKnock, sealKnock } from "../../lib/dialects/knock1/seal.ts";

/** Orders to the program. */
export type ClientOrder =
  | {
    readonly do: "knock";
    readonly action: "open" | "close" | "run" | "ping";
    /** Such as "tcp/22". */
    readonly ports?: readonly string[];
    /** Default: where the packet comes from. */
    readonly address?: string;
    readonly command?: string;
    readonly seconds?: number;
    readonly timeoutMs?: number;
    /** Error of the client's clock. */
    readonly clockMs?: number;
  }
  /** Sends packets once more, in hexadecimal, each so often; no answer is read. */
  | {
    readonly do: "send";
    readonly packets: readonly string[];
    readonly times?: number;
  };

/** Outcome of a knock. */
export interface Knocked {
  /** In hexadecimal. */
  readonly packet: string;
  /** When it was sent, Unix milliseconds of the right clock. */
  readonly sentMs: number;
  /** Null without an answer in time. */
  readonly status: Answer["status"] | null;
}

const TIMEOUT_MS = 10_000;
/** So many datagrams go out before the loop takes its turn. */
const BURST = 64;

async function main(): Promise<void> {
  const [uri, source] = process.argv.slice(2);
  const { server, key, psk, host, port } = parseEnrolment(uri!);
  const socket = dgram.createSocket("udp4");
  await new Promise<void>((resolve) => socket.bind(0, source, resolve));
  // An ICMP error of a server that is away is as good as no answer.
  socket.on("error", () => {});
  const waiting = new Map<SealedKnock, (answer: Answer) => void>();
  socket.on("message", (bytes) => {
    for (const [sealed, wake] of waiting) {
      const answer = sealed.openReply(new Uint8Array(bytes));
      if (answer) wake(answer);
    }
  });

  const send = (packet: Uint8Array) =>
    new Promise<void>((resolve) =>
      socket.send(packet, port, host, () => resolve())
    );

  async function knock(
    order: ClientOrder & { do: "knock" },
  ): Promise<Knocked> {
    const sentMs = Date.now();
    const ephemeral = crypto.getRandomValues(new Uint8Array(32));
    const sealed = sealKnock(
      { server, key: key!, psk, ephemeral },
      {
        action: order.action,
        ports: (order.ports ?? []).map((words) => parsePortRange(words)!),
        command: order.command ?? null,
        seconds: order.seconds ?? 0,
        address: order.address ?? null,
        code: null,
        wantsReply: true,
      },
      sentMs + (order.clockMs ?? 0),
    );
    const { promise, resolve } = Promise.withResolvers<Answer | null>();
    waiting.set(sealed, resolve);
    const timer = setTimeout(resolve, order.timeoutMs ?? TIMEOUT_MS, null);
    await send(sealed.packet);
    const answer = await promise;
    clearTimeout(timer);
    waiting.delete(sealed);
    const packet = sealed.packet.toHex();
    return { packet, sentMs, status: answer?.status ?? null };
  }

  async function copy({ packets, times = 1 }: ClientOrder & { do: "send" }) {
    const all = packets.map((hex) => Uint8Array.fromHex(hex));
    for (let done = 0; done < times; done += BURST) {
      const turn = Math.min(BURST, times - done);
      const sent: Promise<void>[] = [];
      for (let one = 0; one < turn; one++) {
        for (const packet of all) sent.push(send(packet));
      }
      await Promise.all(sent);
    }
    return {};
  }

  for await (const line of createInterface({ input: process.stdin })) {
    const order = JSON.parse(line) as ClientOrder & { id: number };
    const { id } = order;
    // Not one after the other: a load is many at a time.
    const done: Promise<object> = order.do === "knock"
      ? knock(order)
      : copy(order);
    done.then((answer) =>
      process.stdout.write(JSON.stringify({ id, ...answer }) + "\n")
    );
  }
  // Whoever gave the orders is gone.
  process.exit(0);
}

if (import.meta.main) await main();
