"""Publishes with one of Rasa's own event brokers for some seconds and prints the rate.

Arguments: kind, port, place, seconds. Pika and Kafka publish in the background, so the time until all is flushed counts too.
"""

import asyncio
import json
import logging
import sys
import time

import structlog

logging.disable(logging.CRITICAL)
# As a Rasa server does, which would otherwise print each event.
structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
kind, port, place, seconds = sys.argv[1], int(sys.argv[2]), sys.argv[3], float(sys.argv[4])
USER, PASSWORD = "trunkline", "a secret/50%"
EVENT = {
    "sender_id": "s0000001",
    "event": "user",
    "timestamp": 1795245025.5860035,
    "metadata": {"assistant_id": "pizzeria"},
    "text": "hello there, one large margherita please, hello there, one large margherita please",
    "parse_data": {
        "intent": {"name": "greet", "confidence": 0.98},
        "entities": [],
        "text": "hello there",
        "metadata": {},
        "text_tokens": [[0, 5], [6, 11]],
    },
    "input_channel": "rest",
    "message_id": "0" * 32,
}


async def main():
    import rasa.shared.core.events  # the brokers reach for it without importing it

    if kind == "pika":
        from rasa.core.brokers.pika import PikaEventBroker

        broker = PikaEventBroker("127.0.0.1", USER, PASSWORD, port=port, queues=[place], exchange_name=place)
        await broker.connect()
        began = time.monotonic()
        count = 0
        while time.monotonic() - began < seconds:
            for _ in range(512):
                broker.publish(EVENT)
            count += 512
            tasks = [task for task in asyncio.all_tasks() if "_publish" in repr(task)]
            await asyncio.gather(*tasks)
        print(count / (time.monotonic() - began))
        await broker.close()
        return
    if kind == "kafka":
        from rasa.core.brokers.kafka import KafkaEventBroker

        broker = KafkaEventBroker(f"127.0.0.1:{port}", topic=place, security_protocol="PLAINTEXT", partition_by_sender=True)
    elif kind == "file":
        from rasa.core.brokers.file import FileEventBroker

        broker = FileEventBroker(f"{place}.log")
    else:
        from rasa.core.brokers.sql import SQLEventBroker

        if kind == "sqlite":
            broker = SQLEventBroker(dialect="sqlite", db=f"{place}.db")
        else:
            broker = SQLEventBroker("postgresql", "127.0.0.1", port, place, USER, PASSWORD)
    broker.publish(EVENT)
    began = time.monotonic()
    count = 0
    while time.monotonic() - began < seconds:
        for _ in range(64):
            broker.publish(EVENT)
        count += 64
    if kind == "kafka":
        broker.producer.flush()
    print(count / (time.monotonic() - began))


asyncio.run(main())
