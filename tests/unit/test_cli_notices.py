"""`alerts` and `webhooks` on the command line: what is asked for, and what is printed."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.cli_stub import Answer, Stub, problem, running_stub

from taximeter.adapters.cli import main

ALERT = {
    "id": "near", "on": "usage", "feature": "chat", "thresholds": ["80%"], "customer": None,
    "email": [], "created_at": "2026-11-20T10:00:00Z",
}  # fmt: skip
HOOK = {
    "id": "ops", "url": "https://example.com/hooks", "types": ["*"], "description": "",
    "email": [], "status": "disabled", "disabled_at": "2026-11-20T10:00:00Z",
    "disabled_reason": "gone", "failing_since": "2026-11-19T10:00:00Z",
    "previous_secret_until": "2026-11-21T10:00:00Z", "created_at": "2026-11-18T10:00:00Z",
}  # fmt: skip
DELIVERY = {
    "id": "dlv_1", "notice": "msg_1", "type": "webhook.test", "channel": "webhook",
    "target": "ops", "status": "delivered", "created_at": "2026-11-20T10:00:00Z",
    "next_attempt_at": None, "resolved_at": "2026-11-20T10:00:00Z",
    "attempts": [
        {"at": "2026-11-20T10:00:00Z", "duration_ms": 7, "status": 200, "error": None,
         "response": "ok"},
    ],
}  # fmt: skip


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Any:
    with running_stub() as found:
        monkeypatch.setenv("TAXIMETER_URL", found.url)
        monkeypatch.delenv("TAXIMETER_KEY", raising=False)
        yield found


def failed() -> dict[str, Any]:
    attempt = DELIVERY["attempts"][0] | {"status": 500, "error": "The endpoint answered 500."}
    return DELIVERY | {"status": "pending", "attempts": [attempt]}


def test_an_alert_is_put_as_a_document(stub: Stub) -> None:
    stub.routes["PUT", "/v1/alerts/near"] = Answer(body=ALERT)
    assert main(["alerts", "put", "near", "usage", "chat", "--at", "80%", "--at", "5000"]) == 0
    assert stub.asked[0].json() == {
        "on": "usage", "feature": "chat", "customer": None, "email": [],
        "thresholds": ["80%", "5000"],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("words", "document"),
    [
        ("balance usd --at 10 --customer acme", {"credit": "usd", "thresholds": ["10"]}),
        ("budget team --at 90%", {"budget": "team", "thresholds": ["90%"]}),
        ("forecast chat --within 3d", {"feature": "chat", "within": "3d"}),
    ],
)
def test_each_kind_of_alert_names_its_number(
    stub: Stub, words: str, document: dict[str, Any]
) -> None:
    stub.routes["PUT", "/v1/alerts/a"] = Answer(body=ALERT)
    assert main(["alerts", "put", "a", *words.split()]) == 0
    sent = stub.asked[0].json()
    assert sent == sent | document
    assert ("thresholds" in sent) == ("forecast" not in words)


def test_alerts_are_listed_over_all_pages(stub: Stub, capsys: pytest.CaptureFixture[str]) -> None:
    pages = [{"items": [ALERT], "next": "near"}, {"items": [ALERT | {"id": "b"}], "next": None}]
    stub.routes["GET", "/v1/alerts"] = [Answer(body=page) for page in pages]
    assert main(["alerts", "list"]) == 0
    printed = capsys.readouterr().out
    assert "near" in printed
    assert "80%" in printed
    assert stub.asked[1].query["cursor"] == "near"


def test_the_servers_refusal_is_printed_with_its_hint(
    stub: Stub, capsys: pytest.CaptureFixture[str]
) -> None:
    detail = "feature: the catalogue has no 'chta'. Did you mean 'chat'?"
    stub.routes["PUT", "/v1/alerts/a"] = problem(422, "alert_invalid", detail=detail)
    assert main(["alerts", "put", "a", "usage", "chta", "--at", "80%"]) == 2
    assert "Did you mean 'chat'?" in capsys.readouterr().err


def test_deleting_says_so(stub: Stub, capsys: pytest.CaptureFixture[str]) -> None:
    stub.routes["DELETE", "/v1/alerts/near"] = Answer(204)
    stub.routes["DELETE", "/v1/webhooks/ops"] = Answer(204)
    assert main(["alerts", "delete", "near"]) == 0
    assert main(["webhooks", "delete", "ops"]) == 0
    printed = capsys.readouterr().out
    assert "near is deleted" in printed
    assert "ops is deleted" in printed


def test_only_the_secret_goes_to_stdout(stub: Stub, capsys: pytest.CaptureFixture[str]) -> None:
    stub.routes["PUT", "/v1/webhooks/ops"] = Answer(body=HOOK | {"secret": "whsec_x"})
    assert main(["webhooks", "put", "ops", "https://example.com", "--type", "usage.*"]) == 0
    printed = capsys.readouterr()
    assert printed.out == "whsec_x\n"
    assert "shown only now" in printed.err
    sent = stub.asked[0].json()
    assert (sent["types"], sent["enabled"]) == (["usage.*"], True)


def test_a_rotation_prints_the_new_secret_and_how_long_the_old_one_signs(
    stub: Stub, capsys: pytest.CaptureFixture[str]
) -> None:
    stub.routes["POST", "/v1/webhooks/ops/rotate"] = Answer(body=HOOK | {"secret": "whsec_y"})
    assert main(["webhooks", "rotate", "ops", "--overlap", "1h"]) == 0
    printed = capsys.readouterr()
    assert printed.out == "whsec_y\n"
    assert "2026-11-21 10" in printed.err
    assert stub.asked[0].json() == {"overlap": "1h"}


def test_a_list_says_why_an_endpoint_is_disabled(
    stub: Stub, capsys: pytest.CaptureFixture[str]
) -> None:
    stub.routes["GET", "/v1/webhooks"] = Answer(body={"items": [HOOK], "next": None})
    assert main(["webhooks", "list"]) == 0
    assert "disabled (gone)" in capsys.readouterr().out


def test_a_test_that_fails_exits_1_and_says_why(
    stub: Stub, capsys: pytest.CaptureFixture[str]
) -> None:
    stub.routes["POST", "/v1/webhooks/ops/test"] = [Answer(body=DELIVERY), Answer(body=failed())]
    assert main(["webhooks", "test", "ops"]) == 0
    assert "delivered: 200 in 7 ms" in capsys.readouterr().out
    assert main(["webhooks", "test", "ops"]) == 1
    assert "answered 500" in capsys.readouterr().out


def test_deliveries_are_listed_by_status_and_sent_again(
    stub: Stub, capsys: pytest.CaptureFixture[str]
) -> None:
    page = {"items": [failed()], "next": None}
    stub.routes["GET", "/v1/webhooks/ops/deliveries"] = Answer(body=page)
    stub.routes["POST", "/v1/deliveries/dlv_1/resend"] = Answer(body=DELIVERY)
    assert main(["webhooks", "deliveries", "ops", "--status", "failed"]) == 0
    assert "dlv_1" in capsys.readouterr().out
    assert stub.asked[0].query["status"] == "failed"
    assert main(["webhooks", "resend", "dlv_1"]) == 0


@pytest.mark.parametrize(
    "words", ["alerts list", "webhooks list", "webhooks deliveries ops", "webhooks test ops"]
)
def test_json_is_what_the_server_answered(
    stub: Stub, capsys: pytest.CaptureFixture[str], words: str
) -> None:
    for path in ("alerts", "webhooks", "webhooks/ops/deliveries"):
        stub.routes["GET", f"/v1/{path}"] = Answer(body={"items": [], "next": None})
    stub.routes["POST", "/v1/webhooks/ops/test"] = Answer(body=DELIVERY)
    assert main([*words.split(), "--json"]) == 0
    assert capsys.readouterr().out.startswith(("[", "{"))
