"""A child that behaves as its settings say. It keeps a record of every line it is given and of what became of it."""

import json
import os
import select
import sys
import time

out = sys.stdout.buffer
source = os.fdopen(0, "rb", buffering=0)


def say(message):
    out.write((message if isinstance(message, str) else json.dumps(message)).encode() + b"\n")
    out.flush()


def note(*words):
    with open("record", "a") as record:
        print(*words, file=record)


buffered = b""


def lines():
    global buffered
    while True:
        while b"\n" in buffered:
            line, _, buffered = buffered.partition(b"\n")
            yield line
        chunk = os.read(0, 1 << 16)
        if not chunk:
            return
        buffered += chunk


def more_waits():
    return b"\n" in buffered or bool(select.select([0], [], [], 0.01)[0])


stream = lines()
hello = json.loads(next(stream))
settings = hello["settings"]
how = settings.get("how", "well")
note("hello", os.getpid(), hello["version"], hello["broker"], os.environ.get("GREETING", "-"))
# What goes wrong does so in the first life only, unless it is to go wrong always.
lives = open("record").read().count("hello")
at = settings.get("at", 0) if lives == 1 or settings.get("always") else -1

if how == "no hello" and at >= 0:
    print("Traceback: no cheese", file=sys.stderr)
    print("there is no cheese", file=sys.stderr)
    sys.exit(3)
if how == "garbage first" and at >= 0:
    say("Starting up...")
say({"type": "hello", "version": 7 if how == "version" else 1, "name": "a child", "news": True})

held, count = [], 0
for line in stream:
    message = json.loads(line)
    kind = message["type"]
    if kind == "ready":
        say({"type": "ready", "ready": how != "not ready", "reason": "the\ncellar is locked"})
    elif kind == "close":
        note("close")
        sys.exit(0)
    else:
        count += 1
        identity, event = message["id"], message["event"]
        answer = {"type": "outcome", "id": identity, "outcome": "delivered"}
        text = json.loads(line)["event"].get("text", "")
        if count == at:
            if how == "dies":
                print("out of cheese", file=sys.stderr)
                os._exit(4)
            elif how == "garbage":
                say("print() goes to standard output")
            elif how == "too long":
                say(json.dumps({"type": "outcome", "id": identity, "outcome": "delivered", "reason": "x" * (2 << 20)}))
            elif how == "misspelt":
                say({"type": "outcome", "id": identity, "outcome": "ok"})
            elif how == "unknown id":
                say({"type": "outcome", "id": "nobody", "outcome": "delivered"})
            elif how == "twice":
                say(answer)
            elif how == "closes":
                os.close(1)
                time.sleep(1_000)
            elif how == "hangs":
                time.sleep(1_000)
        if text.endswith("reject"):
            answer.update(outcome="reject", reason="nobody wants it")
        elif text.endswith("retry"):
            answer.update(outcome="retry", reason="not on a Sunday", after=7.5)
        else:
            note("event", event["sender_id"], event["timestamp"], identity, message.get("export", "-"))
        if how == "noisy":
            print("x" * 100_000, file=sys.stderr)
            answer["reason"] = "y" * 60_000
        if how == "backwards":
            held.append(answer)
            if not more_waits():
                for answer in reversed(held):
                    say(answer)
                held = []
        else:
            say(answer)
note("end of file")
