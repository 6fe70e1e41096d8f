"""The metrics are added to the server's own, in the format that was asked for."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from tests.http.server import COUNTERS, JSON, Client, Server

ROOT = Path(__file__).parents[2]
TEXT = {"content-type": "text/plain; version=0.0.4; charset=utf-8"}
OPEN = {"content-type": "application/openmetrics-text; version=1.0.0; charset=utf-8"}
OWN = b"# HELP vllm:ready Ready.\n# TYPE vllm:ready gauge\nvllm:ready 1.0\n"


def scraped(client: Client, headers: dict[str, str] = TEXT, own: bytes = OWN) -> Any:
    """The reply to a scrape."""
    head = {**headers, "content-length": str(len(own))}
    return asyncio.run(Server(client, head, [own[:9], own[9:]]).ask("/metrics", method="GET"))


def samples(exposition: bytes) -> dict[tuple[str, tuple[str, ...]], float]:
    """Values by name and labels."""
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(exposition.decode())
        for sample in family.samples
    }


def test_the_metrics_follow_the_servers_own() -> None:
    """Which are as they were; the length is right."""
    reply = scraped(Client())

    assert reply.body.startswith(OWN)
    assert reply.headers["content-length"] == str(len(reply.body))
    found = samples(reply.body)
    assert found["vllm:ready", ()] == 1
    assert {
        name[1][0]: v for name, v in found.items() if name[0] == "value_steer_requests_total"
    } == {
        "abstained": 2,
        "no_acceptable": 1,
        "refused": 2,
        "exempt": 7,
        "control": 2,
        "steered": 5,
        "thinking_ended": 1,
    }
    assert found["value_steer_judged_tokens_total", ()] == 70
    assert found["value_steer_p_good_bucket", ("0.05",)] == 1
    assert found["value_steer_p_good_bucket", ("0.1",)] == 3
    assert found["value_steer_p_good_bucket", ("+Inf",)] == 6
    assert found["value_steer_step_seconds_sum", ()] == 0.25
    assert found["value_steer_step_seconds_count", ()] == 90
    assert found["value_steer_threshold", ("", "abstain")] == 0.5
    assert found["value_steer_threshold", ("", "vfd")] == float("inf")
    assert found["value_steer_evidence", ("abstain", "validated")] == 1
    assert found["value_steer_disabled", ()] == 0


def test_every_counter_is_exported() -> None:
    """A new one has to find its place."""
    base = samples(scraped(Client()).body)

    for key, value in COUNTERS.items():
        client = Client()
        client.counters[key] = [n + 1 for n in value] if isinstance(value, list) else value + 1
        assert samples(scraped(client).body) != base, key


def test_openmetrics_ends_once() -> None:
    """A scraper that asks for that format gets all of it in that format."""
    reply = scraped(Client(), OPEN, OWN + b"# EOF\n")

    parse: Any = openmetrics.text_string_to_metric_families
    families = {family.name for family in parse(reply.body.decode())}
    assert {"vllm:ready", "value_steer_requests", "value_steer_p_good"} <= families
    assert reply.body.count(b"# EOF\n") == 1


def test_the_exposition_is_well_formed() -> None:
    """As a linter would have it: names, help, types, no sample twice."""
    text = scraped(Client(), own=b"").body.decode()
    families = list(text_string_to_metric_families(text))
    names = [family.name for family in families]

    assert len(names) == len(set(names))
    for family in families:
        assert re.fullmatch(r"value_steer(_[a-z]+)*", family.name)
        assert family.documentation.endswith(".")
        assert family.type != "unknown"
        assert not family.name.endswith(("_total", "_count", "_sum", "_bucket"))
        keys = [(s.name, tuple(sorted(s.labels.items()))) for s in family.samples]
        assert len(keys) == len(set(keys))
        if family.type == "histogram":
            counts = [s.value for s in family.samples if s.name.endswith("_bucket")]
            assert counts == sorted(counts)


def test_a_scrape_is_not_compressed() -> None:
    """What is compressed cannot be added to, so the server is not asked for that."""
    server = Server(Client(), TEXT, [OWN])
    head = {"accept-encoding": "gzip", "accept": "text/plain"}

    asyncio.run(server.ask("/metrics", method="GET", headers=head))

    assert server.seen[-1]["headers"] == [(b"accept", b"text/plain")]


def test_scrapes_share_what_the_engine_says() -> None:
    """For a second."""
    client = Client()
    server = Server(client, TEXT, [OWN])

    async def ask() -> None:
        await asyncio.gather(*(server.ask("/metrics", method="GET") for _ in range(5)))
        assert len(client.asked("steer_counters")) == 1
        await asyncio.sleep(1.05)
        await server.ask("/metrics/", method="GET")
        assert len(client.asked("steer_counters")) == 2

    asyncio.run(ask())


@pytest.mark.parametrize(
    ("status", "headers"),
    [(500, TEXT), (200, JSON), (200, {**TEXT, "content-encoding": "gzip"})],
)
def test_what_is_no_exposition_is_not_touched(status: int, headers: dict[str, str]) -> None:
    """A failure, another format, an encoding all the same."""
    server = Server(Client(), headers, [OWN], status)

    assert asyncio.run(server.ask("/metrics", method="GET")).body == OWN


def test_the_servers_own_metrics_do_not_depend_on_the_engine(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """They are there when it fails; that is said once."""
    client = Client()

    async def before(method: str) -> None:
        raise RuntimeError(method)

    client.before = before

    assert scraped(client).body == OWN
    assert caplog.text.count("not in /metrics") == 1


def test_engines_are_summed() -> None:
    """Under data parallelism."""
    client = Client()

    class Core:
        core_engines = (b"0", b"1")

        async def _call_utility_async(self, *call: Any, engine: bytes) -> list[Any]:
            assert engine in self.core_engines
            return await client.collective_rpc(call[1])

    client.engine_core = Core()  # type: ignore[attr-defined]
    found = samples(scraped(client).body)

    assert found["value_steer_judged_tokens_total", ()] == 140
    assert found["value_steer_p_good_bucket", ("+Inf",)] == 12


def test_the_dashboard_asks_for_what_there_is() -> None:
    """Every query names metrics that are exported, and every metric is asked for."""
    dashboard = json.loads((ROOT / "dashboards" / "grafana.json").read_text(encoding="utf-8"))
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    asked = {name for query in queries for name in re.findall(r"value_steer\w*", query)}
    exported = {name for name, _ in samples(scraped(Client()).body)}

    assert queries
    assert asked <= exported
    assert {name for name in exported if name.startswith("value_steer")} <= asked


def test_the_dashboard_is_one_that_grafana_reads() -> None:
    """Unique panels inside the grid, a data source that is chosen when it is imported."""
    dashboard = json.loads((ROOT / "dashboards" / "grafana.json").read_text(encoding="utf-8"))
    panels = dashboard["panels"]

    assert dashboard["schemaVersion"] >= 38
    assert [i["name"] for i in dashboard["templating"]["list"]] == ["datasource"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        (x, y)
        for grid in (panel["gridPos"] for panel in panels)
        for x in range(grid["x"], grid["x"] + grid["w"])
        for y in range(grid["y"], grid["y"] + grid["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24
    for panel in panels:
        assert panel["title"]
        assert panel["description"]
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
