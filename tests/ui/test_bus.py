"""bus.py: what goes to the page, and that a subscription neither blocks nor loses the end."""

from __future__ import annotations

import asyncio
import json
import threading

import pytest

from studio.errors import StudioError
from studio.ui import bus


async def gather(iterator):
    return [item async for item in bus.relay(iterator)]


def test_no_script_tag_can_stand_in_a_message():
    message = bus.dump({"prompt": "</script><script>alert(1)</script>"})
    assert "<" not in message and json.loads(message)["prompt"].startswith("</script>")


def test_the_last_snapshot_is_never_lost():
    items = ({"seq": n} for n in range(1000))
    assert asyncio.run(gather(items))[-1] == {"seq": 999}


def test_order_is_kept_and_nothing_comes_twice():
    got = [item["seq"] for item in asyncio.run(gather({"seq": n} for n in range(200)))]
    assert got == sorted(set(got))


def test_an_error_of_the_studio_reaches_the_page():
    def broken():
        yield {"seq": 1}
        raise StudioError("No such run.")

    with pytest.raises(StudioError, match="No such run"):
        asyncio.run(gather(broken()))


def test_leaving_ends_the_subscription_not_the_source():
    go_on, ended = threading.Event(), threading.Event()

    def source():
        try:
            for n in range(100):
                yield {"seq": n}
                go_on.wait(5)
        finally:
            ended.set()

    async def leave_early():
        stream = bus.relay(source())
        first = await anext(stream)
        await stream.aclose()
        return first

    assert asyncio.run(leave_early()) == {"seq": 0}
    go_on.set()
    assert ended.wait(5)


def test_a_waiting_page_does_not_hold_up_the_others():
    blocked = threading.Event()

    def slow():
        blocked.wait(10)
        yield {"seq": 1}

    async def both():
        waiting = asyncio.ensure_future(gather(slow()))
        quick = await asyncio.wait_for(gather({"seq": n} for n in range(3)), 5)
        blocked.set()
        return quick, await waiting

    quick, late = asyncio.run(both())
    assert quick[-1] == {"seq": 2} and late == [{"seq": 1}]


def test_a_refused_run_names_node_and_hint():
    error = StudioError("Steps is 500.", hint="It may be 1 to 200.", node="s", socket="steps")
    message = json.loads(bus.failure(error, title="Schedule"))
    assert message["job"]["state"] == "error"
    assert message["error"] == {
        "message": "Steps is 500.", "hint": "It may be 1 to 200.",
        "node": "s", "socket": "steps", "title": "Schedule",
    }  # fmt: skip
