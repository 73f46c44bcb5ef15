"""Prints the ids of the healthy instances of web, one line for each answer."""

import sys
import time

import consul

host, port = sys.argv[1].split(":")
client = consul.Consul(host=host, port=int(port))
index = None
while True:
    try:
        index, entries = client.health.service("web", index=index, wait="30s", passing=True)
    except Exception:
        time.sleep(0.5)
        index = None
        continue
    if not isinstance(index, str) or int(index) < 1:
        sys.exit("the index is %r" % (index,))
    print(" ".join(e["Service"]["ID"] for e in entries), flush=True)
