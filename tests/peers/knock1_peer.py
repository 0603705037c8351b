#!/usr/bin/env python3
"""A second client of knock/1, for tests: written from docs/protocol.md alone.

Python's standard library is all it needs: X25519 and AES-256-GCM are written
out here, slowly and not in constant time. Do not use it for anything real.

    knock1_peer.py URI open|close [tcp/22 udp/53 ...] [options]
    knock1_peer.py URI run NAME [options]
    knock1_peer.py URI ping [options]
    knock1_peer.py URI send FILE [options]     a packet that --save stored
    knock1_peer.py --selftest knock1.json

URI is an enrolment: knock://HOST:PORT/?server=K&key=K&psk=K#NAME. One JSON
object is printed; the exit status is 0 if the reply says done or none was
waited for, 1 otherwise, 2 for a mistake in the arguments.
"""

import argparse
import base64
import hashlib
import hmac
import ipaddress
import json
import os
import socket
import struct
import sys
import time
import urllib.parse

NAME = b"Noise_IKpsk1_25519_AESGCM_SHA256"
ACTIONS = {"open": 1, "close": 2, "run": 3, "ping": 4}
PROTOCOLS = {"tcp": 6, "udp": 17}
STATUSES = {0: "done", 1: "refused", 2: "failed"}

# --- X25519, RFC 7748 section 5

PRIME = 2**255 - 19


def x25519(scalar, point):
    k = bytearray(scalar)
    k[0] &= 248
    k[31] = k[31] & 127 | 64
    k = int.from_bytes(k, "little")
    x1 = int.from_bytes(point, "little") & (2**255 - 1)
    x2, z2, x3, z3 = 1, 0, x1, 1
    for bit in range(254, -1, -1):
        if k >> bit & 1:
            x3, z3, x2, z2 = ladder(x1, x3, z3, x2, z2)
        else:
            x2, z2, x3, z3 = ladder(x1, x2, z2, x3, z3)
    shared = x2 * pow(z2, PRIME - 2, PRIME) % PRIME
    if shared == 0:
        raise ValueError("the shared secret is all zero")
    return shared.to_bytes(32, "little")


def ladder(x1, x2, z2, x3, z3):
    a, b, c, d = x2 + z2, x2 - z2, x3 + z3, x3 - z3
    aa, bb, da, cb = a * a % PRIME, b * b % PRIME, d * a % PRIME, c * b % PRIME
    e = aa - bb
    return (
        aa * bb % PRIME,
        e * (aa + 121665 * e) % PRIME,
        (da + cb) ** 2 % PRIME,
        x1 * (da - cb) ** 2 % PRIME,
    )


def public_of(private):
    return x25519(private, (9).to_bytes(32, "little"))


# --- AES-256, FIPS 197


def double(byte):
    return (byte << 1 ^ (0x11B if byte & 0x80 else 0)) & 0xFF


def make_sbox():
    # Powers of 3 and of its inverse run through the field side by side.
    sbox, p, q = [0x63] * 256, 1, 1
    while True:
        p ^= double(p)
        q ^= q << 1
        q ^= q << 2
        q ^= q << 4
        q &= 0xFF
        if q & 0x80:
            q ^= 0x09
        x = q
        for turn in (1, 2, 3, 4):
            x ^= (q << turn | q >> (8 - turn)) & 0xFF
        sbox[p] = x ^ 0x63
        if p == 1:
            return sbox


SBOX = make_sbox()


def expand_key(key):
    words, round_constant = [list(key[i : i + 4]) for i in range(0, 32, 4)], 1
    for i in range(8, 60):
        word = list(words[i - 1])
        if i % 8 == 0:
            word = [SBOX[byte] for byte in word[1:] + word[:1]]
            word[0] ^= round_constant
            round_constant = double(round_constant)
        elif i % 8 == 4:
            word = [SBOX[byte] for byte in word]
        words.append([a ^ b for a, b in zip(words[i - 8], word)])
    return [sum(words[i : i + 4], []) for i in range(0, 60, 4)]


def encrypt_block(keys, block):
    state = [a ^ b for a, b in zip(block, keys[0])]
    for number in range(1, 15):
        state = [SBOX[state[(i + 4 * (i % 4)) % 16]] for i in range(16)]
        if number < 14:
            mixed = []
            for column in range(0, 16, 4):
                c = state[column : column + 4]
                whole = c[0] ^ c[1] ^ c[2] ^ c[3]
                for i in range(4):
                    mixed.append(c[i] ^ whole ^ double(c[i] ^ c[(i + 1) % 4]))
            state = mixed
        state = [a ^ b for a, b in zip(state, keys[number])]
    return bytes(state)


# --- GCM, NIST SP 800-38D, with a nonce of 96 bits


def multiply(x, y):
    product = 0
    for bit in range(127, -1, -1):
        if x >> bit & 1:
            product ^= y
        y = y >> 1 ^ (0xE1 << 120 if y & 1 else 0)
    return product


def gcm(key, nonce, data):
    keys = expand_key(key)
    out = b""
    for i in range(0, len(data), 16):
        pad = encrypt_block(keys, nonce + struct.pack(">I", 2 + i // 16))
        out += bytes(a ^ b for a, b in zip(data[i : i + 16], pad))
    return out


def gcm_tag(key, nonce, associated, sealed):
    keys = expand_key(key)
    h = int.from_bytes(encrypt_block(keys, bytes(16)), "big")
    lengths = struct.pack(">QQ", 8 * len(associated), 8 * len(sealed))
    y = 0
    for part in (associated, sealed, lengths):
        for i in range(0, len(part), 16):
            block = part[i : i + 16].ljust(16, b"\0")
            y = multiply(y ^ int.from_bytes(block, "big"), h)
    mask = encrypt_block(keys, nonce + struct.pack(">I", 1))
    return bytes(a ^ b for a, b in zip(y.to_bytes(16, "big"), mask))


# --- Noise


class Noise:
    """The symmetric state: ck, h and, after a mixed key, k with n = 0."""

    def __init__(self, prologue, server):
        self.ck = self.h = NAME
        self.k = None
        self.mix_hash(prologue)
        self.mix_hash(server)

    def mix_hash(self, data):
        self.h = hashlib.sha256(self.h + data).digest()

    def derive(self, material, count):
        key = hmac.digest(self.ck, material, "sha256")
        outputs, last = [], b""
        for number in range(1, count + 1):
            last = hmac.digest(key, last + bytes([number]), "sha256")
            outputs.append(last)
        return outputs

    def mix_key(self, material):
        self.ck, self.k = self.derive(material, 2)

    def mix_key_and_hash(self, material):
        self.ck, mixed, self.k = self.derive(material, 3)
        self.mix_hash(mixed)

    # Each key seals a single text in a handshake, so n is always 0.
    def seal(self, text):
        sealed = gcm(self.k, bytes(12), text)
        sealed += gcm_tag(self.k, bytes(12), self.h, sealed)
        self.mix_hash(sealed)
        return sealed

    def open(self, data):
        sealed, tag = data[:-16], data[-16:]
        if gcm_tag(self.k, bytes(12), self.h, sealed) != tag:
            return None
        text = gcm(self.k, bytes(12), sealed)
        self.mix_hash(data)
        return text


# --- knock/1


class Keys:
    def __init__(self, server, key, psk, ephemeral):
        self.server, self.key, self.psk = server, key, psk
        self.ephemeral = ephemeral


def shared_key(label, server):
    return hashlib.sha256(label + server).digest()


def seal_knock(keys, payload, clock_ms):
    """The packet, and the Noise state that opens its reply."""
    window = struct.pack(">Q", clock_ms // 60000)
    tag_key = shared_key(b"knock/1 tag", keys.server)
    tag = hmac.digest(tag_key, window, "sha256")[:8]
    noise = Noise(b"knock/1" + tag, keys.server)
    e = public_of(keys.ephemeral)
    noise.mix_hash(e)
    noise.mix_key(e)
    noise.mix_key(x25519(keys.ephemeral, keys.server))
    static = noise.seal(public_of(keys.key))
    noise.mix_key(x25519(keys.key, keys.server))
    noise.mix_key_and_hash(keys.psk)
    packet = tag + e + static + noise.seal(payload)
    mac_key = shared_key(b"knock/1 mac", keys.server)
    return packet + hmac.digest(mac_key, packet, "sha256")[:16], noise


def open_reply(keys, noise, packet):
    """The reply as a dictionary; None if it does not prove itself."""
    if len(packet) != 80:
        return None
    e = packet[:32]
    noise.mix_hash(e)
    noise.mix_key(e)
    try:
        noise.mix_key(x25519(keys.ephemeral, e))
        noise.mix_key(x25519(keys.key, e))
    except ValueError:
        return None
    payload = noise.open(packet[32:])
    if payload is None:
        return None
    status, reason, count, seconds, time_ms = struct.unpack(">BBHIQ", payload[:16])
    if status not in STATUSES or reason != 0 and STATUSES[status] != "refused":
        return None
    address = ipaddress.IPv6Address(payload[16:])
    return {
        "status": STATUSES[status],
        "reason": reason,
        "count": count,
        "seconds": seconds,
        "time_ms": time_ms,
        "address": str(address.ipv4_mapped or address),
    }


def make_payload(action, items, seconds, time_ms, address, code, wants_reply):
    if action == "run":
        body = items[0].encode()
        count = len(body)
    else:
        body, count = b"", len(items)
        for item in items:
            protocol, port = item.split("/")
            body += struct.pack(">BBH", PROTOCOLS[protocol], 0, int(port))
    packed = bytes(16)
    if address:
        parsed = ipaddress.ip_address(address)
        mapped = b"\0" * 10 + b"\xff\xff" + parsed.packed
        packed = mapped if parsed.version == 4 else parsed.packed
    head = struct.pack(
        ">BBHIQ", ACTIONS[action], int(wants_reply), count, seconds, time_ms
    )
    field = struct.pack(">I", 0 if code is None else code + 1)
    return (head + packed + field + body).ljust(96, b"\0")


# --- the program


def key_of(text):
    key = base64.b64decode(text + "=", altchars=b"-_", validate=True)
    if len(key) != 32:
        raise ValueError("a key must have 32 bytes")
    return key


def parse_enrolment(uri):
    parts = urllib.parse.urlsplit(uri)
    query = dict(urllib.parse.parse_qsl(parts.query, strict_parsing=True))
    if parts.scheme != "knock" or parts.port is None:
        raise ValueError("the URI must be knock://HOST:PORT/?server=…&key=…&psk=…")
    keys = Keys(
        key_of(query["server"]), key_of(query["key"]), key_of(query["psk"]),
        os.urandom(32),
    )
    return (parts.hostname, parts.port), keys


def change(packet, options):
    packet = bytearray(packet)
    for bit in options.flip:
        packet[bit >> 3] ^= 1 << (bit & 7)
    if options.good_mac is not None:
        packet[200:] = hmac.digest(options.good_mac, bytes(packet[:200]), "sha256")[:16]
    if options.truncate is not None:
        packet = packet[: options.truncate]
    return bytes(packet)


def selftest(path):
    with open(path, encoding="utf-8") as file:
        vectors = json.load(file)
    for number, vector in enumerate(vectors):
        wanted = vector["request"]
        items = wanted["items"]
        payload = make_payload(
            wanted["action"],
            [items] if isinstance(items, str) else items,
            wanted["seconds"],
            wanted["timestamp_ms"],
            wanted["source"],
            wanted["one_time_code"],
            wanted["reply"],
        )
        keys = Keys(
            *(
                bytes.fromhex(vector[name])
                for name in (
                    "server_public", "client_private", "psk", "ephemeral_private",
                )
            )
        )
        packet, _ = seal_knock(keys, payload, vector["now_ms"])
        if packet.hex() != vector["packet"]:
            print(f"vector {number} differs", file=sys.stderr)
            return 1
    print(json.dumps({"vectors": len(vectors)}))
    return 0


def parse_arguments():
    parser = argparse.ArgumentParser(description="a second client of knock/1")
    parser.add_argument("uri", nargs="?")
    parser.add_argument("action", nargs="?", choices=[*ACTIONS, "send"])
    parser.add_argument("items", nargs="*")
    parser.add_argument("--selftest", metavar="FILE", help="check the vectors")
    parser.add_argument("--seconds", type=int, default=0)
    parser.add_argument("--address", help="the address to open for")
    parser.add_argument("--code", type=int, help="a one-time code")
    parser.add_argument("--at", type=int, metavar="MS",
                        help="the clock of tag and timestamp")
    parser.add_argument("--stamp", type=int, metavar="MS",
                        help="the clock of the timestamp alone")
    parser.add_argument("--payload", metavar="HEX",
                        help="these 96 bytes instead of the request")
    parser.add_argument("--ephemeral", metavar="HEX",
                        help="this private key, not a fresh one")
    parser.add_argument("--flip", type=int, action="append", default=[],
                        metavar="BIT", help="change a bit, 0 to 1727")
    parser.add_argument("--remac", action="store_true",
                        help="make the mac good again after --flip")
    parser.add_argument("--truncate", type=int, metavar="BYTES")
    parser.add_argument("--save", metavar="FILE", help="store the packet")
    parser.add_argument("--dry", action="store_true", help="do not send")
    parser.add_argument("--host", help="send it to this address instead")
    parser.add_argument("--source", help="send it from this address")
    parser.add_argument("--no-reply", action="store_true", help="want none")
    parser.add_argument("--no-wait", action="store_true", help="wait for none")
    parser.add_argument("--timeout", type=float, default=2.0, metavar="SECONDS")
    options = parser.parse_intermixed_args()
    if not options.selftest and not options.action:
        parser.error("URI and an action are wanted")
    if options.action in ("run", "send") and len(options.items) != 1:
        parser.error(f"{options.action} wants one name")
    return options


def exchange(packet, endpoint, options):
    """Sends the packet; the datagram that answers it, or None."""
    host, port = endpoint
    found = socket.getaddrinfo(options.host or host, port, type=socket.SOCK_DGRAM)
    family, kind, protocol, _, address = found[0]
    with socket.socket(family, kind, protocol) as channel:
        if options.source:
            channel.bind((options.source, 0))
        channel.connect(address)
        channel.send(packet)
        if options.no_wait:
            return None
        channel.settimeout(options.timeout)
        try:
            return channel.recv(2048)
        except (TimeoutError, ConnectionError):
            return None


def main():
    options = parse_arguments()
    if options.selftest:
        return selftest(options.selftest)
    endpoint, keys = parse_enrolment(options.uri)
    if options.ephemeral:
        keys.ephemeral = bytes.fromhex(options.ephemeral)
    clock_ms = int(time.time() * 1000) if options.at is None else options.at
    noise = None
    if options.action == "send":
        with open(options.items[0], "rb") as file:
            packet = file.read()
    else:
        payload = make_payload(
            options.action,
            options.items,
            options.seconds,
            clock_ms if options.stamp is None else options.stamp,
            options.address,
            options.code,
            not options.no_reply,
        )
        if options.payload:
            payload = bytes.fromhex(options.payload)
        packet, noise = seal_knock(keys, payload, clock_ms)
    options.good_mac = (
        shared_key(b"knock/1 mac", keys.server) if options.remac else None
    )
    packet = change(packet, options)
    if options.save:
        with open(options.save, "wb") as file:
            file.write(packet)
    if options.dry:
        print(json.dumps({"packet": packet.hex(), "reply": None}))
        return 0
    answer = exchange(packet, endpoint, options)
    # The reply to a stored packet stays sealed: its ephemeral key is gone.
    reply = open_reply(keys, noise, answer) if answer and noise else None
    print(json.dumps({
        "packet": packet.hex(),
        "received": None if answer is None else len(answer),
        "reply": reply,
    }))
    if options.no_wait:
        return 0
    return 0 if reply is not None and reply["status"] == "done" else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (ValueError, KeyError, IndexError, OSError, struct.error) as mistake:
        print(f"knock1_peer: {mistake!r}", file=sys.stderr)
        sys.exit(2)
