"""Prints what `Dice::named(7, "test")` and its stream 5 yield, from the definition alone: ChaCha with 8 rounds
(Bernstein 2008, 64-bit counter, 64-bit nonce = stream), key = SHA-256(name, 0, seed), multiply-and-reject."""

import hashlib
import struct

M = 0xFFFFFFFF


def block(key, counter, stream):
    state = [0x61707865, 0x3320646E, 0x79622D32, 0x6B206574, *struct.unpack("<8I", key)]
    state += [counter & M, counter >> 32, stream & M, stream >> 32]
    x = state[:]

    def quarter(a, b, c, d):
        for to, frm, by, rot in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
            x[to] = (x[to] + x[frm]) & M
            x[by] ^= x[to]
            x[by] = ((x[by] << rot) | (x[by] >> (32 - rot))) & M

    for _ in range(4):
        for i in range(4):
            quarter(i, 4 + i, 8 + i, 12 + i)
        for i in range(4):
            quarter(i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4)
    return [(a + b) & M for a, b in zip(x, state)]


def words(name, seed, stream):
    key = hashlib.sha256(name.encode() + b"\0" + struct.pack("<Q", seed)).digest()
    counter = 0
    while True:
        yield from block(key, counter, stream)
        counter += 1


def below(source, n):
    while True:
        product = next(source) * n
        if product & M >= (-n & M) % n:
            return product >> 32


for stream in (0, 5):
    source = words("test", 7, stream)
    print(stream, [below(source, 1000) for _ in range(6)], [below(source, 3_000_000_000) for _ in range(20)][-3:])
