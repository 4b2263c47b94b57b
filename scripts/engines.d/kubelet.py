#!/usr/bin/env python3
"""usage: kubelet.py exec|attach POD CONTAINER [-i] [-t] [COMMAND...]
       kubelet.py forward POD PORT

Calls the kubelet's streaming interface, as the API server does for `kubectl exec`, `attach` and
`port-forward`: WebSocket over TLS. exec prints the command's output and exits with its status.
-i passes standard input on, which forward always does. Pods are in the namespace `default`.
"""
import base64
import json
import os
import select
import socket
import ssl
import struct
import sys
from urllib.parse import quote

KUBELET = ("127.0.0.1", 10250)
STDOUT, STDERR, ERROR = 1, 2, 3  # of exec and attach; forward has data on 0 and errors on 1


class Stream:
    """A WebSocket connection whose messages begin with the number of a channel."""

    def __init__(self, path):
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        self.socket = context.wrap_socket(socket.create_connection(KUBELET))
        head = f"GET {path} HTTP/1.1\r\nHost: kubelet\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        head += "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: v4.channel.k8s.io\r\n"
        head += f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}\r\nOrigin: https://kubelet\r\n\r\n"
        self.socket.sendall(head.encode())
        self.data = b""
        while b"\r\n\r\n" not in self.data:
            self.more()
        answer, _, self.data = self.data.partition(b"\r\n\r\n")
        if b" 101 " not in answer.split(b"\r\n")[0]:
            sys.exit(f"{path}: {answer.decode()}\n{self.data.decode(errors='replace')}")

    def more(self):
        got = self.socket.recv(65536)
        if not got:
            raise EOFError
        self.data += got

    def take(self, count):
        while len(self.data) < count:
            self.more()
        taken, self.data = self.data[:count], self.data[count:]
        return taken

    def receive(self):
        """The next message's channel and data."""
        while True:
            kind, size = self.take(2)
            if size == 126:
                (size,) = struct.unpack(">H", self.take(2))
            elif size == 127:
                (size,) = struct.unpack(">Q", self.take(8))
            message = self.take(size)
            if kind & 15 == 8:
                raise EOFError
            if kind & 15 in (1, 2) and message:
                return message[0], message[1:]

    def send(self, channel, data):
        """One message of a client, whose mask is zero."""
        message = bytes([channel]) + data
        self.socket.sendall(bytes([0x82, 0x80 | 126]) + struct.pack(">H", len(message)) + bytes(4) + message)

    def messages(self, with_input):
        """The messages until the connection ends, while standard input goes to channel 0."""
        watched = [self.socket, 0] if with_input else [self.socket]
        while True:
            ready = [self.socket] if self.data or self.socket.pending() else select.select(watched, [], [])[0]
            if 0 in ready:
                data = os.read(0, 32768)
                if data:
                    self.send(0, data)
                else:
                    watched.remove(0)
            if self.socket in ready:
                try:
                    yield self.receive()
                except EOFError:
                    return


def output(to, data):
    to.buffer.write(data)
    to.flush()


def run(verb, pod, container, words):
    flags = [words.pop(0) for _ in range(2) if words and words[0] in ("-i", "-t")]
    query = ["output=1"] + [f"command={quote(word)}" for word in words]
    query.append("tty=1" if "-t" in flags else "error=1")
    if "-i" in flags:
        query.append("input=1")
    status = 0
    for channel, data in Stream(f"/{verb}/default/{pod}/{container}?{'&'.join(query)}").messages("-i" in flags):
        if channel == ERROR and data:
            told = json.loads(data)
            if told["status"] != "Success":
                causes = told.get("details", {}).get("causes", [])
                codes = [int(cause["message"]) for cause in causes if cause.get("reason") == "ExitCode"]
                status = codes[0] if codes else 255
                if not codes:
                    print(told.get("message"), file=sys.stderr)
        elif channel in (STDOUT, STDERR):
            output(sys.stdout if channel == STDOUT else sys.stderr, data)
    return status


def forward(pod, port):
    begun, status = set(), 0
    for channel, data in Stream(f"/portForward/default/{pod}?port={port}").messages(True):
        if channel not in begun:
            begun.add(channel)
            data = data[2:]  # the port
        if channel == 1 and data:
            status = 1
        output(sys.stderr if channel == 1 else sys.stdout, data)
    return status


def main():
    verb, pod, *words = sys.argv[1:]
    return forward(pod, *words) if verb == "forward" else run(verb, pod, words[0], words[1:])


sys.exit(main())
