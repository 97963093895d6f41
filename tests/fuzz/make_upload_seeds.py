#!/usr/bin/python3
"""Writes the seeds of upload_fuzz: uploads of an agent, encoded by hand so that nothing has to be generated first.
make_upload_seeds.py [CORPUS]; run it again when an upload gets a new field."""
import pathlib
import struct
import sys

SESSION = "aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa"


def varint(number):
    out = b""
    while number >= 0x80:
        out += bytes([number & 0x7F | 0x80])
        number >>= 7
    return out + bytes([number])


def field(number, value):
    """int: varint; float: fixed64 of that integer; text and bytes: with their length."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    if isinstance(value, float):
        return varint(number << 3 | 1) + struct.pack("<Q", int(value))
    content = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(content)) + content


def attribute(key, value):
    kind = 3 if isinstance(value, int) else 1
    any_value = value if isinstance(value, bytes) else field(kind, value)
    return field(1, key) + field(2, any_value)


def span(number, extra=b"", status=b""):
    return (field(1, b"\0" * 15 + bytes([number])) + field(2, b"\0" * 7 + bytes([number])) + field(4, b"12345678")
            + field(5, "GET /cart") + field(6, 2) + field(7, 1000.0) + field(8, 3000.0)
            + field(9, attribute("url.path", "/caf\u00e9")) + field(9, attribute("http.response.status_code", 200))
            + extra + field(15, status))


def resource(*attributes):
    return b"".join(field(1, attribute(*pair)) for pair in attributes)


def traces(resource_bytes, spans):
    scope = field(1, field(1, "sonde") + field(2, "0.1.0")) + b"".join(field(2, one) for one in spans)
    return field(1, field(1, resource_bytes) + field(2, scope) + field(3, "https://opentelemetry.io/schemas/1.44.0"))


def upload(traces_bytes, losses=b"", batch=1):
    return field(1, "boot") + field(2, batch) + field(3, SESSION) + field(4, traces_bytes) + losses


def seeds():
    shop = resource(("service.name", "shop"), ("process.pid", 4711), ("host.name", "liar"), ("sonde.agent.id", "liar"))
    cart = resource(("service.name", "cart"))
    loss = field(5, field(1, "RING_FULL") + field(2, 3))
    failed = field(2, "boom") + field(3, 2)
    event = field(11, field(1, 2000.0) + field(2, "exception") + field(3, attribute("exception.type", "panic")))
    link = field(13, field(1, b"\1" * 16) + field(2, b"\2" * 8))
    nested = field(9, attribute("list", field(5, field(1, field(1, "a")) + field(1, field(3, 1)))))
    yield "one_span", upload(traces(shop, [span(1)]))
    yield "two_services_and_a_loss", upload(traces(shop, [span(1), span(2, status=failed)]) + traces(cart, [span(3)]), loss)
    yield "events_links_and_lists", upload(traces(cart, [span(1, event + link + nested)]), batch=1 << 40)
    yield "a_bad_span_between_good_ones", upload(traces(cart, [span(1), field(5, "no ids"), span(2)]))
    yield "losses_alone", upload(b"", loss * 2)


def main():
    corpus = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent / "corpus")
    folder = corpus / "upload_fuzz"
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in seeds():
        (folder / name).write_bytes(content)


if __name__ == "__main__":
    main()
