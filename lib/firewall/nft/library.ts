/**
 * Runs nft scripts, each one transaction: through libnftables inside this
 * process, or by the `nft` program where the library cannot be used. Whether
 * this process may change the kernel's packet filter.
 * @module
 */

import type {
  NativeLibrary,
  NativeSymbols,
  Runtime,
} from "../../runtime/runtime.ts";
import { FirewallError, MissingError } from "../firewall.ts";
import { failing, orNull } from "../../values/errors.ts";

/** Runs nft scripts. */
export interface Nft {
  /** Name of the way: "libnftables 1.0.6" or "/usr/sbin/nft, forked". */
  readonly name: string;
  /**
   * Runs a script, all of it or nothing, and returns what it lists: numbers
   * for names, no counters, no elements of sets; or as `list` says. Throws
   * {@linkcode FirewallError}.
   */
  run(script: string, list?: ListForm): Promise<string>;
  /** Frees what it holds. Safe to call twice. */
  close(): void;
}

/** As {@linkcode Nft.run} has it; with the elements of sets, with what counters counted, or as JSON with words for numbers. */
type ListForm = "plain" | "elements" | "counts" | "json";

/** Lists next to nothing; "list tables" would fetch every element of every set. */
const CHEAP_LIST = "list ruleset arp\n";

/**
 * Characters of a script from which a child runs it, where there is the
 * program: the memory for a hundred thousand elements (some 100 MB) goes away
 * with the child, and the server hears packets meanwhile.
 */
const LARGE_SCRIPT = 65_536;

const LIBRARY = "libnftables.so.1";
const PROGRAMS: readonly string[] = [
  "/usr/sbin/nft",
  "/sbin/nft",
  "/usr/bin/nft",
  "/usr/local/sbin/nft",
];

/** Flags of nft_ctx_output_set_flags(), from nftables/libnftables.h. */
const STATELESS = 1 << 2;
const JSON_OUTPUT = 1 << 4;
const NUMERIC_ALL = 1 << 7 | 1 << 8 | 1 << 9 | 1 << 10;
const TERSE = 1 << 11;
/** By the form of a listing: for the library, and for the program. */
const FORMS: Readonly<
  Record<ListForm, { flags: number; options: string }>
> = {
  plain: { flags: STATELESS | NUMERIC_ALL | TERSE, options: "-snt" },
  elements: { flags: STATELESS | NUMERIC_ALL, options: "-sn" },
  counts: { flags: NUMERIC_ALL | TERSE, options: "-nt" },
  json: { flags: JSON_OUTPUT | STATELESS | TERSE, options: "-jst" },
};

/** The protocol of nfnetlink sockets, from linux/netlink.h. */
const NETLINK_NETFILTER = "12";

/** Longest run of the program; a hundred thousand elements need 1 s. */
const PROGRAM_TIMEOUT_MS = 30_000;

const SYMBOLS = {
  nft_ctx_new: { parameters: ["u32"], result: "pointer" },
  nft_ctx_free: { parameters: ["pointer"], result: "void" },
  nft_ctx_buffer_output: { parameters: ["pointer"], result: "i32" },
  nft_ctx_buffer_error: { parameters: ["pointer"], result: "i32" },
  nft_ctx_get_output_buffer: { parameters: ["pointer"], result: "pointer" },
  nft_ctx_get_error_buffer: { parameters: ["pointer"], result: "pointer" },
  nft_ctx_output_set_flags: { parameters: ["pointer", "u32"], result: "void" },
  nft_run_cmd_from_buffer: { parameters: ["pointer", "buffer"], result: "i32" },
} as const satisfies NativeSymbols;

/** Finds a way to run nft scripts; throws FirewallError when there is none. */
export async function openNft(runtime: Runtime): Promise<Nft> {
  // Without the right, the library writes to standard error by itself.
  if (mayAdministerNetwork(runtime) === false) {
    throw nftError("Error: Operation not permitted");
  }
  const program = PROGRAMS.find((path) => runtime.files.stat(path)?.isFile);
  // The library ends the whole process when it finds no netlink socket, so a
  // child must try first wherever that is in doubt.
  const forked = program === undefined ? null : forkedNft(runtime, program);
  if (forked && !hasNetlink(runtime)) await forked.run(CHEAP_LIST);
  const library = await runtime.openLibrary(LIBRARY, SYMBOLS);
  if (library) return linkedNft(library, forked);
  if (forked) return forked;
  throw new MissingError(
    "nftables is not installed: no libnftables.so.1 and no nft program",
    "apt install nftables, or set firewall.backend to gate",
  );
}

/** Turns the words of nft into one error. */
export function nftError(said: string): FirewallError {
  const line = said.split("\n").find((line) => /error|^E:/i.test(line)) ??
    said.split("\n")[0] ?? "";
  const words = line.replace(/^.*?(?:Error|E): /, "")
    .replace(/^(?:Could not process rule|cache initialization failed): /, "")
    .trim();
  const lower = words.charAt(0).toLowerCase() + words.slice(1);
  if (/operation not permitted/i.test(said)) {
    return new FirewallError(
      "nft: operation not permitted",
      "run as root or with CAP_NET_ADMIN, or set firewall.backend to gate",
    );
  }
  if (/protocol not supported|unable to initialize netlink/i.test(said)) {
    return new MissingError(
      "nft: this kernel has no nf_tables",
      "modprobe nf_tables, or set firewall.backend to iptables or gate",
    );
  }
  return new FirewallError(`nft: ${lower || "failed without a word"}`);
}

function linkedNft(library: NativeLibrary, forked: Nft | null): Nft {
  let context = library.call("nft_ctx_new", 0);
  if (!context) throw new FirewallError("nft: no context");
  const call = (symbol: keyof typeof SYMBOLS, ...values: unknown[]) =>
    library.call(symbol, context, ...values);
  call("nft_ctx_buffer_output");
  call("nft_ctx_buffer_error");
  const runAs = (list: ListForm | "version", script: string) => {
    const flags = list === "version" ? JSON_OUTPUT : FORMS[list].flags;
    call("nft_ctx_output_set_flags", flags);
    const bytes = new TextEncoder().encode(script + "\0");
    const failed = call("nft_run_cmd_from_buffer", bytes) !== 0;
    // Both are read every time: what is not read stays in the buffer.
    const output = library.textAt(call("nft_ctx_get_output_buffer"));
    const errors = library.textAt(call("nft_ctx_get_error_buffer"));
    return { failed, output, errors };
  };
  // The library tells its version only in JSON, if built with it.
  const { output } = runAs("version", CHEAP_LIST);
  const version = /"version": *"([\w.]+)"/.exec(output)?.[1];
  return {
    name: `libnftables${version === undefined ? "" : ` ${version}`}`,

    async run(script, list = "plain") {
      if (!context) throw new FirewallError("nft: closed");
      if (forked && script.length >= LARGE_SCRIPT) {
        return await forked.run(script, list);
      }
      const { failed, output, errors } = runAs(list, script);
      if (failed) throw nftError(errors);
      return output;
    },

    close() {
      if (!context) return;
      call("nft_ctx_free");
      context = null;
      library.close();
    },
  };
}

function forkedNft(runtime: Runtime, program: string): Nft {
  return {
    name: `${program}, forked`,

    async run(script, list = "plain") {
      // With -j it takes a file for JSON, too.
      const argv = list === "json" ? script.trim().split(" ") : ["-f", "-"];
      const ran = await failing(
        ({ message }) =>
          new FirewallError(`cannot run "${program}": ${message}`),
        () =>
          runtime.run([program, FORMS[list].options, ...argv], {
            ...(list !== "json" && { stdin: script }),
            env: { LC_ALL: "C" },
            timeoutMs: PROGRAM_TIMEOUT_MS,
          }),
      );
      if (ran.code === 0) return ran.stdout;
      throw ran.code === null
        ? new FirewallError(`nft: no answer within ${PROGRAM_TIMEOUT_MS} ms`)
        : nftError(ran.stderr);
    },

    close() {},
  };
}

/** True if a netfilter socket is sure to be had. */
function hasNetlink(runtime: Runtime): boolean {
  const sockets = orNull(() => runtime.files.readText("/proc/net/netlink"));
  return (sockets ?? "").split("\n")
    .some((line) => line.trim().split(/\s+/)[1] === NETLINK_NETFILTER);
}

/** The bit of CAP_NET_ADMIN, from linux/capability.h. */
const CAP_NET_ADMIN = 12n;

/** True if this process has CAP_NET_ADMIN; null where the system does not say. */
export function mayAdministerNetwork(runtime: Runtime): boolean | null {
  const status = orNull(() => runtime.files.readText("/proc/self/status"));
  const hex = /^CapEff:\s*([0-9a-f]+)$/m.exec(status ?? "")?.[1];
  return hex === undefined
    ? null
    : (BigInt(`0x${hex}`) >> CAP_NET_ADMIN & 1n) === 1n;
}
