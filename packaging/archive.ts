/** Archives in memory, the same bytes for the same files: tar (POSIX ustar) and ar. */

/** A file, a folder or a link of an archive. */
export interface Entry {
  /** Without a slash first; a folder's has none last. */
  readonly path: string;
  readonly mode: number;
  /** The bytes; null for a folder. */
  readonly data: Uint8Array | null;
}

const BLOCK = 512;
const encoder = new TextEncoder();

/** Fields of a ustar header: offset and size in bytes. */
const HEADER = {
  name: [0, 100],
  mode: [100, 8],
  uid: [108, 8],
  gid: [116, 8],
  size: [124, 12],
  mtime: [136, 12],
  checksum: [148, 8],
  type: [156, 1],
  magic: [257, 8],
  user: [265, 32],
  group: [297, 32],
} as const;

/** Writes a tar archive, all of root; the folders above each file are put in. */
export function formatTar(
  entries: readonly Entry[],
  seconds: number,
): Uint8Array {
  const all = new Map<string, Entry>();
  for (const entry of entries) {
    const parts = entry.path.split("/");
    for (let end = 1; end < parts.length; end++) {
      const path = parts.slice(0, end).join("/");
      if (!all.has(path)) all.set(path, { path, mode: 0o755, data: null });
    }
    all.set(entry.path, entry);
  }
  const blocks: Uint8Array[] = [
    tarHeader({ path: "", mode: 0o755, data: null }, seconds),
  ];
  const byPath = [...all.values()].sort((a, b) => a.path < b.path ? -1 : 1);
  for (const entry of byPath) {
    blocks.push(tarHeader(entry, seconds));
    if (entry.data === null) continue;
    blocks.push(entry.data);
    blocks.push(new Uint8Array(-entry.data.length & (BLOCK - 1)));
  }
  blocks.push(new Uint8Array(2 * BLOCK));
  return concat(blocks);
}

/** Writes an ar archive, as deb(5) has it. */
export function formatAr(
  entries: readonly Entry[],
  seconds: number,
): Uint8Array {
  const parts: Uint8Array[] = [encoder.encode("!<arch>\n")];
  for (const { path, mode, data } of entries) {
    const size = data?.length ?? 0;
    parts.push(encoder.encode(
      [
        path.padEnd(16),
        String(seconds).padEnd(12),
        "0".padEnd(6),
        "0".padEnd(6),
        (0o100000 | mode).toString(8).padEnd(8),
        String(size).padEnd(10),
        "`\n",
      ].join(""),
    ));
    if (data) parts.push(data);
    if (size % 2 === 1) parts.push(encoder.encode("\n"));
  }
  return concat(parts);
}

function tarHeader(
  { path, mode, data }: Entry,
  seconds: number,
): Uint8Array {
  const block = new Uint8Array(BLOCK);
  const put = ([offset, size]: readonly [number, number], text: string) => {
    const bytes = encoder.encode(text);
    if (bytes.length > size) throw new Error(`tar: too long: "${text}"`);
    block.set(bytes, offset);
  };
  const octal = (field: readonly [number, number], value: number) =>
    put(field, value.toString(8).padStart(field[1] - 1, "0"));
  put(HEADER.name, data === null ? `./${path}${path && "/"}` : `./${path}`);
  octal(HEADER.mode, mode);
  octal(HEADER.uid, 0);
  octal(HEADER.gid, 0);
  octal(HEADER.size, data?.length ?? 0);
  octal(HEADER.mtime, seconds);
  put(HEADER.type, data === null ? "5" : "0");
  put(HEADER.magic, "ustar\x0000");
  put(HEADER.user, "root");
  put(HEADER.group, "root");
  // The sum counts its own field as blanks.
  put(HEADER.checksum, " ".repeat(8));
  const sum = block.reduce((sum, byte) => sum + byte, 0);
  put(HEADER.checksum, `${sum.toString(8).padStart(6, "0")}\0 `);
  return block;
}

function concat(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(
    parts.reduce((size, { length }) => size + length, 0),
  );
  let offset = 0;
  for (const part of parts) {
    whole.set(part, offset);
    offset += part.length;
  }
  return whole;
}
