/** A server of NATS on loopback that loses answers, and gives wrong ones, as told: a bucket and no more. */

import type { Listener, Stream } from "../../lib/runtime/runtime.ts";
import { runtime } from "./runtime.ts";

/** A request, as it came. */
interface Asked {
  readonly subject: string;
  readonly reply: string;
  readonly headers: string;
  readonly data: string;
}

/** A server, and the bucket that it has from the start. */
export class FakeNats {
  /** Keys that are stored, by their subjects. */
  readonly stored = new Map<string, string>();
  /** Values under way: they stand in the way of another, and cannot be read. */
  readonly underWay = new Set<string>();
  stream = "KV_knock";
  created = "2026-01-01T00:00:00Z";
  sequence = 10;
  /** Answers to writes that are still to be lost. */
  lostAnswers = 0;
  /** True: writes are not carried out, and not answered. */
  isSilent = false;
  /** The clock of the server less this machine's, milliseconds. */
  aheadMs = 0;
  #listener!: Listener;
  readonly #streams = new Set<Stream>();

  static async start(): Promise<FakeNats> {
    const fake = new FakeNats();
    fake.#listener = await runtime.listenStream(
      { host: "127.0.0.1", port: 0 },
      (stream) => void fake.#serve(stream).catch(() => {}),
    );
    return fake;
  }

  get address(): string {
    return `nats://127.0.0.1:${this.#listener.at.port}`;
  }

  async stop(): Promise<void> {
    for (const stream of this.#streams) stream.close();
    await this.#listener.close();
  }

  async #serve(stream: Stream): Promise<void> {
    this.#streams.add(stream);
    const say = (text: string) => stream.write(new TextEncoder().encode(text));
    await say(
      `INFO {"server_id":"f","server_name":"f","version":"2.15.1","proto":1,` +
        `"headers":true,"jetstream":true,"max_payload":1048576}\r\n`,
    );
    /** Subjects that are listened to, up to their wildcard, and the numbers of the subscriptions. */
    const inboxes = new Map<string, string>();
    let rest = "";
    while (true) {
      const chunk = await stream.read();
      if (chunk === null) return;
      rest += new TextDecoder("latin1").decode(chunk);
      while (rest.includes("\r\n")) {
        const line = rest.slice(0, rest.indexOf("\r\n"));
        const [verb, ...words] = line.split(" ");
        const isWrite = verb === "PUB" || verb === "HPUB";
        const size = isWrite ? Number(words.at(-1)) + 2 : 0;
        const end = line.length + 2 + size;
        if (rest.length < end) break;
        const body = rest.slice(line.length + 2, end - 2);
        rest = rest.slice(end);
        if (verb === "PING") await say("PONG\r\n");
        if (verb === "SUB") {
          inboxes.set(words[0]!.replace(/\*$/, ""), words[1]!);
        }
        if (!isWrite) continue;
        const headed = verb === "HPUB" ? Number(words.at(-2)) : 0;
        const [subject, reply = ""] = words;
        const answer = this.#answer({
          ...{ subject: subject!, reply, headers: body.slice(0, headed) },
          data: body.slice(headed),
        });
        const inbox = [...inboxes].find(([start]) => reply.startsWith(start));
        if (answer === null || !inbox) continue;
        const text = JSON.stringify(answer);
        await say(`MSG ${reply} ${inbox[1]} ${text.length}\r\n${text}\r\n`);
      }
    }
  }

  /** Null: no answer. */
  #answer({ subject, headers, data }: Asked): object | null {
    const { stream, created, sequence, stored } = this;
    if (subject === `$JS.API.STREAM.INFO.${stream}`) {
      const ts = new Date(runtime.nowMs() + this.aheadMs).toISOString();
      return { created, ts, state: { last_seq: sequence }, config: {} };
    }
    if (subject === `$JS.API.STREAM.MSG.GET.${stream}`) {
      const { last_by_subj } = JSON.parse(data);
      const value = stored.get(last_by_subj);
      return value === undefined
        ? { error: { code: 404, err_code: 10037, description: "none" } }
        : { message: { data: btoa(value) } };
    }
    if (!subject.startsWith("$KV.knock.") || this.isSilent) return null;
    const isTaken = stored.has(subject) || this.underWay.has(subject);
    if (headers.includes("Last-Subject-Sequence: 0") && isTaken) {
      return { error: { code: 400, err_code: 10071, description: "wrong" } };
    }
    stored.set(subject, data);
    this.sequence++;
    if (this.lostAnswers > 0) {
      this.lostAnswers--;
      return null;
    }
    return { stream, seq: this.sequence };
  }
}
