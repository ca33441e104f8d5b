"""Eight threads that wait for slow peers, all at the same time: nothing is to be gained on this host."""

import socket
import threading

from common import threads


def talk(_):
    ours, theirs = socket.socketpair()
    peer = threading.Timer(1, theirs.sendall, [b"answer"])
    peer.start()
    ours.recv(10)
    peer.join()


threads(talk, range(8))
