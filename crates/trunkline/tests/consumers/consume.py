"""Reads everything that a receiver has, with the client that people in the field use, and prints it.

    consume.py rabbitmq PORT QUEUE
    consume.py kafka PORT TOPIC
    consume.py postgresql PORT DATABASE
    consume.py mariadb PORT DATABASE
    consume.py redis PORT KEY

One JSON object a line, in the order of the receiver: {"id": our id of the event or null, "body": the text as it is there}.
User and password come from the variables RECEIVER_USER and RECEIVER_PASSWORD.
"""

import json
import os
import sys

HOST = "127.0.0.1"
USER = os.environ["RECEIVER_USER"]
PASSWORD = os.environ["RECEIVER_PASSWORD"]


def show(identity, body):
    print(json.dumps({"id": identity, "body": body.decode() if isinstance(body, bytes) else body}))


def rabbitmq(port, queue):
    import pika

    credentials = pika.PlainCredentials(USER, PASSWORD)
    connection = pika.BlockingConnection(pika.ConnectionParameters(HOST, port, credentials=credentials))
    channel = connection.channel()
    while True:
        method, properties, body = channel.basic_get(queue, auto_ack=True)
        if method is None:
            break
        show(properties.message_id, body)
    connection.close()


def kafka(port, topic):
    from confluent_kafka import Consumer, TopicPartition

    consumer = Consumer({"bootstrap.servers": f"{HOST}:{port}", "group.id": "test", "enable.auto.commit": False})
    partitions = consumer.list_topics(topic, timeout=30).topics[topic].partitions
    for partition in partitions:
        low, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=30)
        consumer.assign([TopicPartition(topic, partition, low)])
        while low < high:
            message = consumer.poll(30)
            if message is None or message.error():
                sys.exit(f"partition {partition} ended at {low} of {high}: {message and message.error()}")
            low = message.offset() + 1
            headers = dict(message.headers() or [])
            identity = headers.get("trunkline-event-id")
            show(identity and identity.decode(), message.value())
    consumer.close()


def postgresql(port, database):
    import psycopg

    with psycopg.connect(host=HOST, port=port, dbname=database, user=USER, password=PASSWORD) as connection:
        for (data,) in connection.execute("SELECT data FROM events ORDER BY id"):
            show(None, data)


def mariadb(port, database):
    import pymysql

    connection = pymysql.connect(host=HOST, port=port, database=database, user=USER, password=PASSWORD)
    with connection.cursor() as cursor:
        cursor.execute("SELECT data FROM events ORDER BY id")
        for (data,) in cursor.fetchall():
            show(None, data)
    connection.close()


def redis(port, key):
    from redis import Redis

    client = Redis(HOST, port, username=USER, password=PASSWORD)
    if client.type(key) == b"list":
        for body in client.lrange(key, 0, -1):
            show(None, body)
        return
    last = "-"
    while entries := client.xrange(key, last, count=1000):
        for entry, fields in entries:
            show(fields[b"id"].decode(), fields[b"data"])
        last = b"(" + entry


if __name__ == "__main__":
    receiver, port, place = sys.argv[1:]
    {"rabbitmq": rabbitmq, "kafka": kafka, "postgresql": postgresql, "mariadb": mariadb, "redis": redis}[receiver](int(port), place)
