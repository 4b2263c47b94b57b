#!/usr/bin/env python3
"""usage: cri.py METHOD [FIELD=VALUE...]

Calls one method of containerd's CRI (v1): gRPC over curl's HTTP/2. Prints the reply, one line
per field, as in `1.2=text` or `3=7`; bytes that are not text are hexadecimal.

A FIELD is the path of field numbers of k8s.io/cri-api's api.proto, as in `1.1.2=name`. VALUE is a
number if it is `int:N` and text otherwise. A path that is given twice is a list; adjacent
fields with the same leading numbers are one message.
"""
import subprocess
import sys

SOCKET = "/run/containerd/containerd.sock"


def varint(number):
    out = b""
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


def field(number, value):
    if value.startswith("int:"):
        return varint(number << 3) + varint(int(value[4:]))
    return delimited(number, value.encode())


def delimited(number, data):
    return varint(number << 3 | 2) + varint(len(data)) + data


def encode(fields):
    """Fields as pairs of a path and a value."""
    out = b""
    while fields:
        head = fields[0][0][0]
        number = int(head)
        if len(fields[0][0]) == 1:
            out += field(number, fields.pop(0)[1])
            continue
        message = [(fields[0][0][1:], fields.pop(0)[1])]
        while fields and fields[0][0][0] == head and len(fields[0][0]) > 1:
            message.append((fields[0][0][1:], fields.pop(0)[1]))
        out += delimited(number, encode(message))
    return out


def read_varint(data, at):
    number = shift = 0
    while True:
        byte = data[at]
        number |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return number, at


def decode(data, path=""):
    """The fields of a message. A value that is a well-formed message is parsed as one too."""
    lines, at = [], 0
    while at < len(data):
        tag, at = read_varint(data, at)
        name = f"{path}{tag >> 3}"
        if tag >> 3 == 0 or tag & 7 not in (0, 2):
            raise ValueError("no message")
        number, at = read_varint(data, at)
        if tag & 7 == 0:
            lines.append(f"{name}={number}")
            continue
        if at + number > len(data):
            raise ValueError("no message")
        inner, at = data[at : at + number], at + number
        text = inner.decode("ascii", "replace")
        if not text.rstrip().isprintable() or not text:
            try:
                lines += decode(inner, name + ".")
                continue
            except (ValueError, IndexError):
                text = "0x" + inner.hex()
        lines.append(f"{name}={text.rstrip()}")
    return lines


def main():
    method, words = sys.argv[1], [word.partition("=") for word in sys.argv[2:]]
    message = encode([(path.split("."), value) for path, _, value in words])
    service = "ImageService" if "Image" in method else "RuntimeService"
    curl = ["curl", "-sS", "--http2-prior-knowledge", "--unix-socket", SOCKET, "--data-binary", "@-"]
    curl += ["-H", "content-type: application/grpc", "-H", "te: trailers", "-D", "/dev/stderr"]
    call = subprocess.run(
        curl + [f"http://localhost/runtime.v1.{service}/{method}"],
        input=b"\0" + len(message).to_bytes(4, "big") + message,
        capture_output=True,
    )
    headers = call.stderr.decode().replace("\r", "")
    if call.returncode != 0 or "grpc-status: 0\n" not in headers + "\n":
        sys.exit(f"{method}: curl says {call.returncode}\n{headers}")
    print("\n".join(decode(call.stdout[5:])))


main()
