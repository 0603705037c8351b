/** tcpdump, as sequences need it: its filter (pcap-filter(7)), and the program, started again whenever it ends. */

import type { KernelForm } from "../dialects/dialect.ts";
import type { Child, Runtime } from "../runtime/runtime.ts";
import { mergePorts, onePort } from "../values/ports.ts";
import { EXTENSIONS, UDP_HEADER_SIZE } from "./packet.ts";
import { type Captured, PcapReader } from "./pcap.ts";
import type { Hit } from "./sequence.ts";
import { orNull, SystemError } from "../values/errors.ts";

/** So much of a packet is needed: headers, with extensions of IPv6. */
const SNAP_SIZE = 512;

/** KiB that may wait for us in the kernel. */
const BUFFER_KIB = 16_384;

/** A capture of so many bytes a packet, to standard output. */
function capturing(
  source: readonly string[],
  snapSize: number,
  ...filter: readonly string[]
): string[] {
  // deno-fmt-ignore
  return [
    "tcpdump", "-i", ...source,
    "-B", `${BUFFER_KIB}`, "-s", `${snapSize}`, "-U", "-w", "-", ...filter,
  ];
}

/** Whatever comes in at any interface, also at one that is added later. */
const INCOMING = ["any", "-Q", "in", "-n", "-p", "--immediate-mode"];

/** Packets that come in to some ports. */
export function sniffCommand(ports: readonly Hit[]): string[] {
  const ranges = mergePorts(
    ports.map(({ protocol, port }) => onePort(protocol, port)),
  );
  const parts = ranges.map(({ protocol, first, last }) =>
    `${protocol} dst portrange ${first}-${last}`
  );
  // The filter does not look behind these.
  const extended = EXTENSIONS.map((header) => `ip6[6] = ${header}`);
  const filter = [...parts, ...extended].join(" or ");
  return capturing(INCOMING, SNAP_SIZE, filter);
}

/** Packets that firewall rules log to a group. */
export function logCommand(group: number, snapSize = SNAP_SIZE): string[] {
  return capturing([`nflog:${group}`, "-n"], snapSize);
}

/** Size of a captured knock: longer than any, with its headers. */
export const KNOCK_SIZE = 2048;

/**
 * Knocks to some UDP ports, wherever they come in, in one of these forms. By
 * IPv6 only those without extension headers: no client sends others.
 */
export function sniffedKnocks(
  ports: readonly number[],
  forms: readonly KernelForm[],
): string[] {
  const to = [...new Set(ports)].map((port) => `udp dst port ${port}`);
  const fits = (length: string, first: string) =>
    either(forms.map((form) =>
      both(
        `${length} >= ${form.least + UDP_HEADER_SIZE}`,
        `${length} <= ${form.most + UDP_HEADER_SIZE}`,
        ...form.first
          ? [either(form.first.map((byte) => `${first} = ${byte}`))]
          : [],
      )
    ));
  const by4 = both("ip", fits("udp[4:2]", "udp[8]"));
  const by6 = both("ip6", fits("ip6[44:2]", "ip6[48]"));
  const filter = both(either(to), either([by4, by6]));
  return capturing(INCOMING, KNOCK_SIZE, filter);
}

// "and" and "or" bind alike, from the left: each in brackets of its own.
function both(...parts: readonly string[]): string {
  return `(${parts.join(" and ")})`;
}

function either(parts: readonly string[]): string {
  return `(${[...new Set(parts)].join(" or ")})`;
}

/** Pause before a restart, milliseconds: the first, and the longest. */
const FIRST_WAIT_MS = 500;
const MAX_WAIT_MS = 30_000;

/** After so long without an end it waits as at first again. */
const STEADY_MS = 60_000;

/** Longest time that start() waits for it to listen, milliseconds. */
const READY_MS = 5000;

/** Longest wait for the end of a process that was stopped, milliseconds. */
const ORPHAN_MS = 1000;
const ORPHAN_STEP_MS = 20;

/** Counts that tcpdump prints when it ends. */
const COUNTS = /^\d+ packets? (captured|received|dropped)/;

/** Most characters kept of its standard error. */
const MAX_WORDS = 300;

export interface CaptureListener {
  /** A packet came. */
  hear(captured: Captured): void;
  /** It listens now (null), or why it does not. */
  changed(trouble: string | null): void;
  /** It was started, as this process. */
  started(pid: number): void;
  /** The process that was started last, by whatever server; null = none. */
  lastPid(): number | null;
}

/**
 * Keeps a capture running until it is stopped. Resolves when it listens, or
 * when that is not to be expected.
 */
export async function keepCapturing(
  runtime: Runtime,
  argv: readonly string[],
  listener: CaptureListener,
): Promise<{ stop(): Promise<void> }> {
  const [program] = argv;
  const stopped = new AbortController();
  const ready = new AbortController();
  let child: Child | null = null;

  const keepRunning = async () => {
    const { signal } = stopped;
    let waitMs = FIRST_WAIT_MS;
    while (!signal.aborted) {
      const startMs = runtime.monotonicMs();
      const why = await runOnce();
      if (signal.aborted) return;
      if (runtime.monotonicMs() - startMs > STEADY_MS) waitMs = FIRST_WAIT_MS;
      listener.changed(why);
      ready.abort();
      await runtime.sleep(waitMs, signal);
      waitMs = Math.min(waitMs * 2, MAX_WAIT_MS);
    }
  };

  /** Runs it to its end; why it ended. */
  const runOnce = async () => {
    try {
      const running = child = runtime.spawn(argv);
      listener.started(running.pid);
      const reader = new PcapReader();
      let words = "";
      await Promise.all([
        eachChunk(running.stdout, (bytes) => {
          for (const captured of reader.feed(bytes)) listener.hear(captured);
          if (reader.broken !== null) running.kill("SIGTERM");
        }),
        eachChunk(running.stderr, (bytes) => {
          words = (words + new TextDecoder().decode(bytes)).slice(-MAX_WORDS);
          if (!/listening on .*\n/.test(words)) return;
          words = "";
          listener.changed(null);
          ready.abort();
        }),
      ]);
      const code = await running.ended;
      if (reader.broken !== null) return `${program}: ${reader.broken}`;
      const said = words.trim().split("\n").filter((line) => !COUNTS.test(line))
        .at(-1);
      return said ||
        `${program} ended ${code === null ? "by a signal" : `with ${code}`}`;
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
      return `cannot run "${program}": ${error.message}`;
    } finally {
      child = null;
    }
  };

  await endOrphan(runtime, listener.lastPid(), argv);
  const loop = keepRunning();
  await runtime.sleep(READY_MS, ready.signal);
  return {
    stop: async () => {
      stopped.abort();
      child?.kill("SIGTERM");
      await loop;
    },
  };
}

async function eachChunk(
  stream: AsyncIterable<Uint8Array>,
  take: (bytes: Uint8Array) => void,
): Promise<void> {
  for await (const bytes of stream) take(bytes);
}

/**
 * Ends what a server that was killed has left running: it would go on taking
 * what the kernel logs.
 */
async function endOrphan(
  runtime: Runtime,
  pid: number | null,
  argv: readonly string[],
): Promise<void> {
  if (pid === null || runtime.platform !== "linux") return;
  // Null: it has ended, too.
  const line = orNull(() => runtime.files.readText(`/proc/${pid}/cmdline`));
  // The program itself stands there with its whole path.
  const args = line?.split("\0").slice(1, -1);
  if (args?.join("\0") !== argv.slice(1).join("\0")) return;
  runtime.signalProcess(pid, "SIGTERM");
  for (let waitedMs = 0; waitedMs < ORPHAN_MS; waitedMs += ORPHAN_STEP_MS) {
    if (!runtime.signalProcess(pid, "test")) return;
    await runtime.sleep(ORPHAN_STEP_MS);
  }
}
