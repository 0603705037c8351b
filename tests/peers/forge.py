#!/usr/bin/env python3
"""Sends UDP packets with any source address, for tests: frames written whole.

    forge.py INTERFACE TARGET-MAC TARGET PORT[,PORT...] HEX SOURCE...
"""

import socket
import struct
import sys


def checksum(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF or 0xFFFF


def udp(pseudo, port, payload):
    head = struct.pack("!HHH", 40000, port, 8 + len(payload))
    total = pseudo + struct.pack("!HH", 17, 8 + len(payload))
    return head + struct.pack("!H", checksum(total + head + b"\0\0" + payload)) + payload


def packet(source, target, port, payload):
    if ":" in target:
        ends = b"".join(socket.inet_pton(socket.AF_INET6, a) for a in (source, target))
        body = udp(ends, port, payload)
        return struct.pack("!IHBB", 6 << 28, len(body), 17, 64) + ends + body
    ends = socket.inet_aton(source) + socket.inet_aton(target)
    body = udp(ends, port, payload)
    head = struct.pack("!BBHHHBB", 0x45, 0, 20 + len(body), 1, 0, 64, 17)
    return head + struct.pack("!H", checksum(head + b"\0\0" + ends)) + ends + body


interface, mac, target, ports, payload, *sources = sys.argv[1:]
link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
link.bind((interface, 0))
own = link.getsockname()[4]
kind = b"\x86\xdd" if ":" in target else b"\x08\x00"
for source in sources:
    for port in ports.split(","):
        frame = packet(source, target, int(port), bytes.fromhex(payload))
        link.send(bytes.fromhex(mac.replace(":", "")) + own + kind + frame)
