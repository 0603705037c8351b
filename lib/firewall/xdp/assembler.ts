/** Assembler of BPF: instructions as data, labels, 8 bytes each. RFC 9669. Pure. */

/** Register: 0 result, 1 to 5 arguments (lost by a call), 6 to 9 kept, 10 the stack's end. */
export type Register = 0 | 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 | 9 | 10;

/** Size of what is loaded or stored: 1, 2, 4 or 8 bytes. */
type Width = 1 | 2 | 4 | 8;

/** Instruction of 8 bytes; a map's pointer takes as many again, all zero. */
interface Instruction {
  readonly code: number;
  readonly to?: Register;
  readonly from?: number;
  readonly offset?: number;
  readonly value?: number;
  /** Label that a jump leads to, in place of the offset. */
  readonly goto?: string;
}

/** Line of a program: an instruction, or the name of the place before the next one. */
export type Line = Instruction | { readonly label: string };

// Classes, sources and modes of RFC 9669 §3 to §5.
const LD_IMM64 = 0x18;
const LDX_MEM = 0x61;
const ST_MEM = 0x62;
const STX_MEM = 0x63;
const ALU64 = 0x07;
const ALU = 0x04;
const JMP = 0x05;
const FROM_REGISTER = 0x08;
const MOV = 0xb0;
const ADD = 0x00;
const AND = 0x50;
const TO_BIG_ENDIAN = 0xd8;
const MAP_FD = 1;
const WIDTHS: Record<Width, number> = { 4: 0x00, 2: 0x08, 1: 0x10, 8: 0x18 };
const COMPARISONS = { "==": 0x10, ">": 0x20, "!=": 0x50, "<": 0xa0 } as const;

/** Loads from memory at a register. */
export function load(
  width: Width,
  to: Register,
  from: Register,
  offset: number,
): Line {
  return { code: LDX_MEM | WIDTHS[width], to, from, offset };
}

/** Stores a register in memory at another. */
export function store(
  width: Width,
  to: Register,
  offset: number,
  from: Register,
): Line {
  return { code: STX_MEM | WIDTHS[width], to, offset, from };
}

/** Stores a value of 32 bits in memory at a register. */
export function storeValue(
  width: Width,
  to: Register,
  offset: number,
  value: number,
): Line {
  return { code: ST_MEM | WIDTHS[width], to, offset, value };
}

/** Sets a register to a value of 32 bits, sign-extended. */
export function set(to: Register, value: number): Line {
  return { code: ALU64 | MOV, to, value };
}

export function move(to: Register, from: Register): Line {
  return { code: ALU64 | MOV | FROM_REGISTER, to, from };
}

export function add(to: Register, value: number): Line {
  return { code: ALU64 | ADD, to, value };
}

/** Keeps the bits of a value in a register. */
export function and(to: Register, value: number): Line {
  return { code: ALU64 | AND, to, value };
}

/** Turns the low 16 bits of a register around on a little-endian machine, and clears the rest. */
export function swap16(to: Register): Line {
  return { code: ALU | TO_BIG_ENDIAN, to, value: 16 };
}

/** Sets a register to a map, by its file descriptor. */
export function mapPointer(to: Register, fd: number): Line {
  return { code: LD_IMM64, to, from: MAP_FD, value: fd };
}

export function jump(label: string): Line {
  return { code: JMP, goto: label };
}

/** Goes on at a label if a register compares so with a value, unsigned. */
export function jumpIf(
  register: Register,
  comparison: keyof typeof COMPARISONS,
  value: number,
  label: string,
): Line {
  const code = JMP | COMPARISONS[comparison];
  return { code, to: register, value, goto: label };
}

/** Goes on at a label if a register compares so with another, unsigned. */
export function jumpIfRegister(
  register: Register,
  comparison: keyof typeof COMPARISONS,
  other: Register,
  label: string,
): Line {
  const code = JMP | COMPARISONS[comparison] | FROM_REGISTER;
  return { code, to: register, from: other, goto: label };
}

/** Calls a function of the kernel by its number. */
export function call(number: number): Line {
  return { code: 0x85, value: number };
}

/** Ends the program with register 0. */
export const exit: Line = { code: 0x95 };

/** The bytes of a program, little-endian. Throws RangeError for a label that is not there. */
export function assemble(lines: readonly Line[]): Uint8Array<ArrayBuffer> {
  const places = new Map<string, number>();
  const slots: Instruction[] = [];
  for (const line of lines) {
    if ("label" in line) places.set(line.label, slots.length);
    else if (line.code === LD_IMM64) slots.push(line, { code: 0 });
    else slots.push(line);
  }
  const bytes = new Uint8Array(new ArrayBuffer(slots.length * 8));
  const view = new DataView(bytes.buffer);
  for (const [slot, line] of slots.entries()) {
    const { code, to = 0, from = 0, offset = 0, value = 0, goto } = line;
    const next = slot + 1;
    const target = goto === undefined ? next + offset : places.get(goto);
    if (target === undefined) throw new RangeError(`no label "${goto}"`);
    const at = slot * 8;
    view.setUint8(at, code);
    view.setUint8(at + 1, from << 4 | to);
    view.setInt16(at + 2, target - next, true);
    view.setInt32(at + 4, value, true);
  }
  return bytes;
}
