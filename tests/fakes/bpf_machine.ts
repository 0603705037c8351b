/**
 * A machine for programs of XDP, in place of the kernel: what such a program
 * does with a frame and with its maps. It knows the instructions of
 * lib/firewall/xdp/assembler.ts, and throws for all that the kernel's verifier
 * would refuse on the way that is taken: memory beyond the frame, the stack or
 * a value, and registers that nothing has set.
 */

/** A map of the program: bytes of the key in hexadecimal -> value. */
export interface FakeMap {
  readonly keySize: number;
  readonly values: Map<string, Uint8Array>;
}

/** Most instructions of a run. */
const MAX_STEPS = 10_000;
const STACK_SIZE = 512;

/** Bytes that a register points into, from an offset on. */
interface Pointer {
  readonly memory: Uint8Array;
  readonly offset: number;
}

type Value = bigint | Pointer | FakeMap;

/** Runs a program on a frame; the verdict. Maps are named by their file descriptors. */
export function runMachine(
  program: Uint8Array,
  frame: Uint8Array,
  maps: ReadonlyMap<number, FakeMap>,
): number {
  const view = new DataView(program.buffer, program.byteOffset);
  const stack = new Uint8Array(STACK_SIZE);
  // The context's first two words are pointers to the frame.
  const context = new Uint8Array(24);
  const packet = frame.slice();
  const registers: (Value | undefined)[] = Array(11);
  registers[1] = { memory: context, offset: 0 };
  registers[10] = { memory: stack, offset: STACK_SIZE };
  const get = (register: number): Value => {
    const value = registers[register];
    if (value === undefined) throw new Error(`r${register} is not set`);
    return value;
  };
  let slot = 0;
  for (let step = 0; step < MAX_STEPS; step++) {
    const at = slot * 8;
    const code = view.getUint8(at);
    const to = view.getUint8(at + 1) & 15;
    const from = view.getUint8(at + 1) >> 4;
    const offset = view.getInt16(at + 2, true);
    const value = view.getInt32(at + 4, true);
    slot++;
    const width = [4, 2, 1, 8][code >> 3 & 3]!;
    switch (code & 7) {
      case 0: // LD: a map
        registers[to] = maps.get(value)!;
        slot++;
        break;
      case 1: { // LDX
        const pointer = asPointer(get(from));
        registers[to] = pointer.memory === context
          ? { memory: packet, offset: offset === 0 ? 0 : packet.length }
          : read(pointer, offset, width);
        break;
      }
      case 2: // ST
        write(asPointer(get(to)), offset, width, BigInt(value));
        break;
      case 3: // STX
        write(asPointer(get(to)), offset, width, asNumber(get(from)));
        break;
      case 4: // ALU: to big endian, 16 bits
        registers[to] = swap(asNumber(get(to)));
        break;
      case 5: { // JMP
        const operation = code >> 4;
        if (operation === 9) return Number(asNumber(get(0)));
        if (operation === 8) {
          registers[0] = lookUp(get(1), asPointer(get(2)));
          registers.fill(undefined, 1, 6);
        } else if (operation === 0) slot += offset;
        else {
          const other = code & 8
            ? get(from)
            : BigInt.asUintN(64, BigInt(value));
          if (compare(operation, get(to), other)) slot += offset;
        }
        break;
      }
      case 7: { // ALU64
        const operation = code >> 4;
        const other = code & 8 ? get(from) : BigInt(value);
        registers[to] = operation === 11
          ? typeof other === "bigint" ? BigInt.asUintN(64, other) : other
          : calculate(operation, get(to), asNumber(other));
        break;
      }
      default:
        throw new Error(`no instruction 0x${code.toString(16)}`);
    }
  }
  throw new Error("no end");
}

function asPointer(value: Value): Pointer {
  if (typeof value === "object" && "memory" in value) return value;
  throw new Error("no pointer");
}

function asNumber(value: Value): bigint {
  if (typeof value === "bigint") return value;
  throw new Error("no number");
}

/** A view of memory at a pointer; throws beyond it. */
function viewOf({ memory, offset }: Pointer, more: number, size: number) {
  const at = offset + more;
  if (at < 0 || at + size > memory.length) {
    throw new Error(`${size} bytes at ${at} of ${memory.length}`);
  }
  return new DataView(memory.buffer, memory.byteOffset + at, size);
}

function read(pointer: Pointer, offset: number, width: number): bigint {
  const view = viewOf(pointer, offset, width);
  let value = 0n;
  for (let at = width - 1; at >= 0; at--) {
    value = value << 8n | BigInt(view.getUint8(at));
  }
  return value;
}

function write(
  pointer: Pointer,
  offset: number,
  width: number,
  value: bigint,
): void {
  const view = viewOf(pointer, offset, width);
  for (let at = 0; at < width; at++) {
    view.setUint8(at, Number(BigInt.asUintN(8, value >> BigInt(8 * at))));
  }
}

function swap(value: bigint): bigint {
  return (value & 0xffn) << 8n | value >> 8n & 0xffn;
}

function lookUp(map: Value, key: Pointer): Value {
  const { keySize, values } = map as FakeMap;
  const { buffer, byteOffset } = viewOf(key, 0, keySize);
  const found = values.get(new Uint8Array(buffer, byteOffset, keySize).toHex());
  return found ? { memory: found, offset: 0 } : 0n;
}

function calculate(operation: number, value: Value, other: bigint): Value {
  if (operation === 0 && typeof value === "object" && "memory" in value) {
    return { ...value, offset: value.offset + Number(other) };
  }
  const number = asNumber(value);
  if (operation === 0) return BigInt.asUintN(64, number + other);
  if (operation === 5) return number & BigInt.asUintN(64, other);
  throw new Error(`no calculation ${operation}`);
}

function compare(operation: number, value: Value, other: Value): boolean {
  // Pointers into one frame by their offsets; one that is there is not 0.
  const [left, right] = typeof value === "object" && "memory" in value
    ? typeof other === "bigint"
      ? [1n, other]
      : [BigInt(value.offset), BigInt(asPointer(other).offset)]
    : [asNumber(value), asNumber(other)];
  switch (operation) {
    case 1:
      return left === right;
    case 2:
      return left > right;
    case 5:
      return left !== right;
    case 10:
      return left < right;
  }
  throw new Error(`no comparison ${operation}`);
}
