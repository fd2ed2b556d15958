"""An event broker as one writes it for Rasa. With Rasa installed it would be a subclass of its `EventBroker`; it need not be."""

import csv


class CsvEventBroker:
    """A CSV file with a row for every event."""

    def __init__(self, path, delimiter=","):
        self.file = open(path, "a", newline="")
        self.rows = csv.writer(self.file, delimiter=delimiter)

    @classmethod
    async def from_endpoint_config(cls, broker_config):
        """`broker_config` is Rasa's `EndpointConfig`: `url`, `token` and the like, and every other key in `kwargs`."""
        return cls(**broker_config.kwargs)

    def publish(self, event):
        """Delivered means that this returns."""
        self.rows.writerow([event["sender_id"], event["timestamp"], event["event"], event.get("text") or ""])
        self.file.flush()

    def is_ready(self):
        return not self.file.closed

    async def close(self):
        self.file.close()
