"""A node's cables, in a network namespace that ends with the test."""

import subprocess
import sys

import pytest

from tests.faults import cable

PROGRAM = """
import asyncio, subprocess, sys
from tests.faults.hosts import Host

SEND = "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.sendto(b'x', ({!r}, 9))"

def heard(receiver, prefix, address):
    '''Whether a datagram that `prefix` sends to the address arrives at the host of `receiver`.'''
    listen = "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('', 9)); " \\
        "s.settimeout({}); print('bound', flush=True); print(s.recv(9))"
    with subprocess.Popen([*receiver, sys.executable, "-c", listen.format(PATIENCE)],
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as listening:
        listening.stdout.readline()
        subprocess.run([*prefix, sys.executable, "-c", SEND.format(address)], stderr=subprocess.DEVNULL)
        return listening.stdout.readline() != b""

async def main():
    global PATIENCE
    host = Host(0)
    await host.open()
    node, run = host.prefix(), ()
    cuts = (("both", False, False), ("to node", False, True), ("from node", True, False))
    for direction, to_node, from_node in cuts:
        PATIENCE = 30
        assert heard(node, run, host.far("redis")) and heard(run, node, host.near("redis"))
        host.unplug("redis", direction)
        PATIENCE = 30 if to_node else 0.5
        assert heard(node, run, host.far("redis")) is to_node, direction
        PATIENCE = 30 if from_node else 0.5
        assert heard(run, node, host.near("redis")) is from_node, direction
        PATIENCE = 30
        assert heard(run, node, host.near("postgres")), "the other cables stay"
        host.plug("redis", direction)
    await host.close()

asyncio.run(main())
"""


@pytest.mark.timeout(300)
def test_a_cable_loses_what_is_sent_in_the_directions_that_are_cut() -> None:
    inside = ["unshare", "--net", "sh", "-c", 'ip link set lo up; exec "$@"', "sh", sys.executable, "-c", PROGRAM]
    run = subprocess.run(inside, capture_output=True, text=True, check=False)
    assert (run.returncode == 0) is cable.possible(), run.stdout + run.stderr
