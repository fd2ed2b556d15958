"""A child that keeps what it is given in the file `kept`, byte for byte; while there is a file `down`, its receiver is down."""

import json
import os
import sys

kept = os.open("kept", os.O_WRONLY | os.O_APPEND | os.O_CREAT)


def answer(**message):
    os.write(1, json.dumps(message).encode() + b"\n")


for line in sys.stdin.buffer:
    message = json.loads(line)
    if message["type"] == "hello":
        with open("pid.new", "w") as file:
            file.write(str(os.getpid()))
        os.rename("pid.new", "pid")
        answer(type="hello", version=1)
    elif message["type"] == "ready":
        answer(type="ready", ready=not os.path.exists("down"), reason="the receiver is down")
    elif message["type"] == "close":
        break
    elif message["event"].get("text") == "poison":
        answer(type="outcome", id=message["id"], outcome="reject", reason="nobody takes poison")
    elif os.path.exists("down"):
        answer(type="outcome", id=message["id"], outcome="retry", reason="the receiver is down")
    else:
        body = line[line.index(b'"event":') + len(b'"event":') : -2]
        os.write(kept, message["id"].encode() + b" " + body + b"\n")
        answer(type="outcome", id=message["id"], outcome="delivered")
