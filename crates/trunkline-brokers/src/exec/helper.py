"""Runs an event broker class that was written for Rasa, as an `exec` broker of Trunkline.

Standard input and output belong to the protocol (docs/brokers/exec.md). Whatever the class prints goes to standard error.
The last line there says what is wrong when this ends with a status other than 0.
"""

import asyncio
import difflib
import importlib
import importlib.util
import inspect
import json
import os
import re
import sys
import traceback

# An event on which `publish` raises is rejected after so many attempts when other events have gone through since...
ATTEMPTS_BESIDE_OTHERS = 3
# ... and after so many when it is the only one that was tried since the last success.
ATTEMPTS_ALONE = 8

LONGEST_LINE = 64 * 1024 * 1024


class Hopeless(Exception):
    """What is wrong with the class or its settings, as one sentence."""


class LookAlike:
    """Rasa's `EndpointConfig`, as far as a broker reads it, for where Rasa is not installed."""

    def __init__(
        self, url=None, params=None, headers=None, basic_auth=None, token=None, token_name="token", cafile=None, **kwargs
    ):
        self.url = url
        self.params = params or {}
        self.headers = headers or {}
        self.basic_auth = basic_auth or {}
        self.token = token
        self.token_name = token_name
        self.cafile = cafile
        self.type = kwargs.pop("store_type", kwargs.pop("type", None))
        self.kwargs = kwargs

    @classmethod
    def from_dict(cls, data):
        return cls(**data)


def endpoint_config_class():
    try:
        is_installed = importlib.util.find_spec("rasa") is not None
    except (ImportError, ValueError):
        is_installed = False
    if is_installed:
        try:
            from rasa.utils.endpoints import EndpointConfig

            return EndpointConfig
        except Exception as error:
            say(f"Rasa is installed and cannot be imported ({described(error)}); the class gets a look-alike of its EndpointConfig")
    return LookAlike


def say(text):
    print(text, file=sys.stderr, flush=True)


def described(error):
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def load_class(path):
    module_name, _, class_name = path.rpartition(".")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        missing = error.name or module_name
        if module_name == missing or module_name.startswith(missing + "."):
            raise Hopeless(
                f"there is no Python module `{missing}` in {os.getcwd()} or elsewhere on the path of {sys.executable}; "
                f"put it there, install it, or set PYTHONPATH"
            ) from None
        raise Hopeless(
            f"module `{module_name}` needs the module `{missing}`, which is not installed for {sys.executable}; "
            f"install it, or name another interpreter: `trunkline: {{python: ...}}`"
        ) from error
    except Exception as error:
        raise Hopeless(f"module `{module_name}` could not be imported: {described(error)}") from error
    if not hasattr(module, class_name):
        near = difflib.get_close_matches(class_name, dir(module), 1)
        hint = f"; did you mean `{module_name}.{near[0]}`?" if near else ""
        raise Hopeless(f"module `{module_name}` has no class `{class_name}`{hint}")
    found = getattr(module, class_name)
    if not inspect.isclass(found):
        raise Hopeless(f"`{path}` is not a class, but a {type(found).__name__}")
    if not callable(getattr(found, "from_endpoint_config", None)):
        raise Hopeless(f"class `{path}` has no class method `from_endpoint_config`, by which event brokers are made")
    return found


async def made(value):
    """The value itself, or what it comes to when it has to be awaited."""
    return await value if inspect.isawaitable(value) else value


async def make_broker(path, endpoint):
    found = load_class(path)
    try:
        config = endpoint_config_class().from_dict(endpoint)
        broker = await made(found.from_endpoint_config(config))
    except Exception as error:
        raise Hopeless(f"`{path}.from_endpoint_config` raised {described(error)}") from error
    if broker is None:
        raise Hopeless(f"`{path}.from_endpoint_config` returned None instead of a broker; look at the settings of the broker")
    if not callable(getattr(broker, "publish", None)):
        raise Hopeless(f"what `{path}.from_endpoint_config` returned, a {type(broker).__name__}, has no method `publish`")
    return broker


async def readiness(broker):
    """`None` when the broker is ready, otherwise the reason."""
    try:
        if not hasattr(broker, "is_ready") or await made(broker.is_ready()):
            return None
        return "`is_ready` of the class returned False"
    except Exception as error:
        traceback.print_exc()
        return f"`is_ready` of the class raised {described(error)}"


class Judge:
    """Tells whether an event is at fault on which `publish` raises, or the receiver behind the class.

    A class has one way to say both. The receiver works when other events go through. It may be down when several events fail
    and none goes through; then none is given up. An event that fails alone, nothing else having been tried, is given up after
    more attempts, because nothing else of its conversation can be tried before.
    """

    def __init__(self):
        self.successes = 0
        self.failed = {}
        self.since_success = set()

    def delivered(self, event_id):
        self.successes += 1
        self.failed.pop(event_id, None)
        self.since_success.clear()

    def is_at_fault(self, event_id):
        attempts, successes_before = self.failed.get(event_id, (0, self.successes))
        attempts += 1
        if len(self.failed) > 10_000:
            self.failed.clear()
        self.failed[event_id] = (attempts, successes_before)
        self.since_success.add(event_id)
        if self.successes > successes_before:
            at_fault = attempts >= ATTEMPTS_BESIDE_OTHERS
        else:
            at_fault = attempts >= ATTEMPTS_ALONE and len(self.since_success) == 1
        if at_fault:
            del self.failed[event_id]
        return at_fault


async def publish(broker, judge, event_id, event):
    answer = {"type": "outcome", "id": event_id}
    try:
        # A coroutine is awaited here; Rasa would drop it without a word.
        await made(broker.publish(event))
    except Exception as error:
        traceback.print_exc()
        answer["reason"] = f"`publish` of the class raised {described(error)}"
        reason = await readiness(broker)
        if reason is not None:
            answer["outcome"] = "retry"
            answer["reason"] += f"; {reason}"
        else:
            answer["outcome"] = "reject" if judge.is_at_fault(event_id) else "retry"
        return answer
    judge.delivered(event_id)
    answer["outcome"] = "delivered"
    return answer


def unreadable(line, error):
    """The outcome of an event that Python cannot read. Its id stands in front of it."""
    found = re.match(rb'\{"type":"publish","id":"([0-9a-f-]+)"', line)
    if found is None:
        raise error
    reason = f"Python cannot read the event: {described(error)}"
    return {"type": "outcome", "id": found[1].decode(), "outcome": "reject", "reason": reason}


async def serve(source, sink):
    loop = asyncio.get_running_loop()
    lines = asyncio.StreamReader(limit=LONGEST_LINE)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), source)

    def answer(message):
        sink.write(json.dumps(message).encode() + b"\n")
        sink.flush()

    hello = json.loads(await lines.readline() or "{}")
    if hello.get("version") != 1:
        raise Hopeless("this helper is started by Trunkline, with a hello of version 1 on standard input")
    settings = hello["settings"]
    broker = await make_broker(settings["class"], settings["endpoint"])
    answer({"type": "hello", "version": 1, "name": settings["class"]})

    judge = Judge()
    while True:
        line = await lines.readline()
        # Without this a class that leaves work to the event loop would starve it.
        await asyncio.sleep(0)
        try:
            message = json.loads(line) if line else {"type": "close"}
        except (ValueError, RecursionError) as error:
            answer(unreadable(line, error))
            continue
        if message["type"] == "publish":
            answer(await publish(broker, judge, message["id"], message["event"]))
        elif message["type"] == "ready":
            reason = await readiness(broker)
            answer({"type": "ready", "ready": reason is None, "reason": reason})
        elif message["type"] == "close":
            if hasattr(broker, "close"):
                await made(broker.close())
            return


def main():
    # Only we write to what was standard output; the class, and whatever it starts, gets standard error instead, and nothing to
    # read.
    source = os.fdopen(os.dup(0), "rb", buffering=0)
    sink = os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    # As when Rasa runs in the directory of the project.
    sys.path[:] = [os.getcwd()] + [path for path in sys.path if path not in ("", os.getcwd())]
    try:
        asyncio.run(serve(source, sink))
    except Hopeless as error:
        if error.__cause__ is not None:
            traceback.print_exception(type(error.__cause__), error.__cause__, error.__cause__.__traceback__)
        say(error)
        sys.exit(1)
    except BrokenPipeError:
        sys.exit(0)


if __name__ == "__main__":
    main()
