"""An event broker for Trunkline in plain Python: one SQLite table with the messages of people and bots.

It speaks the protocol of docs/brokers/exec.md: one JSON object per line, in on standard input, out on standard output.
"""

import json
import sqlite3
import sys


class Messages:
    def __init__(self, path):
        self.database = sqlite3.connect(path)
        self.database.execute(
            "CREATE TABLE IF NOT EXISTS messages (id TEXT PRIMARY KEY, conversation TEXT, time REAL, speaker TEXT, text TEXT)"
        )

    def publish(self, identity, event):
        """Delivered means committed. The same event may come again, and then changes nothing: its id stays the same."""
        if event["event"] in ("user", "bot"):
            row = (identity, event["sender_id"], event["timestamp"], event["event"], event.get("text"))
            with self.database:
                self.database.execute("INSERT OR IGNORE INTO messages VALUES (?, ?, ?, ?, ?)", row)

    def check(self):
        self.database.execute("SELECT 1 FROM messages LIMIT 1")

    def close(self):
        self.database.close()


def main():
    # Only answers may go to standard output. Whatever else prints, prints to standard error, which Trunkline logs.
    answers, sys.stdout = sys.stdout, sys.stderr

    def answer(**message):
        answers.write(json.dumps(message) + "\n")
        answers.flush()

    broker = None
    for line in sys.stdin:
        try:
            message = json.loads(line)
        except ValueError as error:  # a number of more digits than Python reads
            answer(type="outcome", id=line.split('"')[7], outcome="reject", reason=str(error))
            continue
        kind = message["type"]
        if kind == "hello":
            if message["version"] != 1:
                sys.exit("this program speaks version 1 of the protocol")
            broker = Messages(message["settings"].get("database", "messages.db"))
            answer(type="hello", version=1, name="messages in SQLite")
        elif kind == "publish":
            try:
                broker.publish(message["id"], message["event"])
                answer(type="outcome", id=message["id"], outcome="delivered")
            except sqlite3.OperationalError as error:  # a full disk, a locked file: it may pass
                answer(type="outcome", id=message["id"], outcome="retry", reason=str(error))
            except (KeyError, sqlite3.Error) as error:  # this event will never fit
                answer(type="outcome", id=message["id"], outcome="reject", reason=f"{type(error).__name__}: {error}")
        elif kind == "ready":
            try:
                broker.check()
                answer(type="ready", ready=True)
            except sqlite3.Error as error:
                answer(type="ready", ready=False, reason=str(error))
        elif kind == "close":
            break
    # Also when the input just ends: then Trunkline is gone.
    if broker:
        broker.close()


if __name__ == "__main__":
    main()
