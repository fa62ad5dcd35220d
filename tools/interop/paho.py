"""Runs the tests of Eclipse Paho's MQTT testing suite that apply to Orrery, against a running platform.

Orrery is no broker: clients do not publish to each other, there are no wildcards, retained messages, wills or stored
sessions (manual 6.2). Application mode comes closest, since whoever may publish to a FIFO may consume it: the suite's
topics become FIFOs, and its clients log in. What then still cannot apply is listed with the reason.

Configuration is a JSON object in the first argument: checkout, version (4 or 5), host, port, ca, apiUrl, apiKey.
Prints one line per test, and exits with 1 when a test that applies fails.
"""

import io
import itertools
import json
import logging
import signal
import ssl
import sys
import unittest
import urllib.request
from contextlib import redirect_stdout

config = json.loads(sys.argv[1])
sys.path.insert(0, config["checkout"] + "/interoperability")
logging.disable(logging.CRITICAL)

NO_WILDCARDS = "subscribes to wildcards, which the manual refuses"
NO_RETAINED = "needs retained messages, which the manual excludes"
NO_WILL = "needs a will, which the manual excludes"
NO_SESSIONS = "needs sessions that outlive their connection, which the manual excludes"
NO_PROPERTIES = "needs properties of a publication to reach its consumer: a FIFO keeps the message alone"
NO_EMPTY_ID = "connects without a client id, which every client must have (manual 6.4)"
SHARED = "needs two consumers to get a copy each: the consumers of a FIFO share it"

DOES_NOT_APPLY = {
    4: {
        "test_retained_messages": NO_RETAINED,
        "test_offline_message_queueing": NO_WILDCARDS,
        "test_overlapping_subscriptions": NO_WILDCARDS,
        "test_keepalive": NO_WILL,
        "test_redelivery_on_reconnect": NO_SESSIONS,
        "test_dollar_topics": NO_WILDCARDS,
        "test_zero_length_clientid": NO_EMPTY_ID,
    },
    5: {
        "test_retained_message": NO_RETAINED,
        "test_will_message": NO_WILL,
        "test_offline_message_queueing": NO_WILDCARDS,
        "test_overlapping_subscriptions": NO_WILDCARDS,
        "test_keepalive": NO_WILL,
        "test_redelivery_on_reconnect": NO_SESSIONS,
        "test_dollar_topics": NO_WILDCARDS,
        "test_zero_length_clientid": NO_EMPTY_ID,
        "test_assigned_clientid": NO_EMPTY_ID,
        "test_flow_control2": "needs a server that takes fewer than 65,535 publications at once",
        "test_session_expiry": NO_SESSIONS,
        "test_user_properties": NO_PROPERTIES,
        "test_payload_format": NO_PROPERTIES,
        "test_publication_expiry": NO_SESSIONS,
        "test_subscribe_options": SHARED,
        "test_subscribe_identifiers": SHARED,
        "test_request_response": SHARED,
        "test_server_topic_alias": "needs a server that sets topic aliases, which it need not (MQTT 5, 3.3.2.3.4)",
        "test_server_keep_alive": "needs a server that shortens the keep alive to 60 s, which it need not",
        "test_will_delay": NO_WILL,
        "test_shared_subscriptions": NO_WILDCARDS,
    },
}[config["version"]]

if config["version"] == 4:
    import client_test as suite
else:
    import client_test5 as suite

trust = ssl.create_default_context(cafile=config["ca"])
Client = suite.mqtt_client.Client
connect = Client.connect
plain_socket = suite.mqtt_client.main.socket.socket


def tls_socket(*arguments):
    return trust.wrap_socket(plain_socket(*arguments), server_hostname=config["host"])


def connect_as_application(self, **options):
    suite.mqtt_client.main.socket.socket = tls_socket
    try:
        return connect(self, username="application", password=config["apiKey"].encode(), **options)
    finally:
        suite.mqtt_client.main.socket.socket = plain_socket


def make_fifo(name):
    request = urllib.request.Request(
        config["apiUrl"] + "/api/v0/topics/fifo",
        json.dumps({"name": name}).encode(),
        {"X-API-Key": config["apiKey"], "Content-Type": "application/json"},
    )
    urllib.request.urlopen(request).close()
    return "fifo/" + name


Client.connect = connect_as_application
suite.host, suite.port = config["host"], config["port"]
suite.nosubscribe_topics = ("test/nosubscribe",)
suite.cleanup = lambda: None
suite.setData = lambda: None


class Applicable(suite.Test):
    """The suite's tests, each with FIFOs of its own."""

    def setUp(self):
        # Short, for the test of the largest packet.
        suite.topics = tuple(make_fifo(f"{config['version']}{next(numbers)}") for _ in range(5))
        suite.wildtopics = suite.topics * 2
        suite.callback.clear()
        suite.callback2.clear()


numbers = itertools.count()


def give_up(*_):
    raise TimeoutError("no end within 60 s")


signal.signal(signal.SIGALRM, give_up)
failed = False
for name in unittest.TestLoader().getTestCaseNames(Applicable):
    if name in DOES_NOT_APPLY:
        print(f"-  {name}: does not apply, {DOES_NOT_APPLY[name]}", flush=True)
        continue
    output = io.StringIO()
    result = unittest.TestResult()
    signal.alarm(60)
    with redirect_stdout(output):
        unittest.TestSuite([Applicable(name)]).run(result)
    signal.alarm(0)
    problems = result.failures + result.errors
    print(f"{'no' if problems else 'ok'} {name}", flush=True)
    for _, text in problems:
        failed = True
        print(output.getvalue() + text, file=sys.stderr, flush=True)
sys.exit(1 if failed else 0)
