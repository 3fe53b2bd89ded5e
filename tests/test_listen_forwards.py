"""Alerts that `edge-listen` forwards: what services get, and what becomes of it when they or the listener fail."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

from edge.listen import main
from edge.listen.answers import LaterError
from edge.listen.forwards import Forwards
from edge.listen.services import Gundi, Item, Service, Webhook, read_services
from edge.listen.store import Store
from tests import services
from tests.broker import Subscriber, free_port, require, wait_until
from tests.listening import BASE, PICTURE, TEXT, Listener, ask, changed, listening, send
from tests.samples import ID
from tests.services import HttpService, Request

OTHER = "0196889f-5a3a-7c1e-9b1f-000000000002"
STATES = "SELECT service, state, why FROM forwards ORDER BY rowid"
WITHOUT_PICTURE = changed(image_topic=None)

# Apprise imports it where Python still has it.
IMGHDR = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[Listener]:
    with listening(tmp_path) as made:
        yield made


@contextmanager
def forwarding(
    folder: Path, *services: Service, delays_s: tuple[float, float] = (0.02, 0.1), replays: bool = False
) -> Iterator[Store]:
    """A store whose alerts are forwarded to some services."""
    with closing(Store(folder, [each.name for each in services], replays)) as store:
        forwards = Forwards(store.database, services, delays_s)
        forwards.start()
        put = store.alert
        try:
            store.alert = lambda payload, name: (put(payload, name), forwards.wake())[0]  # type: ignore[method-assign]
            yield store
        finally:
            forwards.end()


def write(path: Path, text: str) -> str:
    path.write_text(text)
    path.chmod(0o600)
    return str(path)


def until(folder: Path, states: Sequence[tuple[object, ...]]) -> None:
    wait_until(lambda: ask(folder, STATES) == list(states))


def test_webhook_gets_the_alert_as_it_came(listener: Listener, tmp_path: Path) -> None:
    with HttpService() as service:
        file = write(
            tmp_path / "f.toml", f'[office]\nkind = "webhook"\nurl = "{service.url}"\nauthorization = "Bearer x"'
        )
        listener.start("--forward", file)
        send(listener.broker, TEXT, TEXT, PICTURE)
        [request] = service.wait_for(1)
        until(listener.folder, [("office", "sent", None)])
        assert len(service.requests) == 1
    assert request.body == TEXT.payload
    assert request.path == "/hook"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["idempotency-key"] == ID
    assert request.headers["authorization"] == "Bearer x"
    assert listener.warnings == []


def test_alert_that_was_not_forwarded_when_the_listener_was_killed_is_after_a_restart(
    listener: Listener, tmp_path: Path
) -> None:
    service = HttpService()
    file = write(tmp_path / "f.toml", f'[office]\nkind = "webhook"\nurl = "{service.url}"')
    listener.start("--forward", file)
    with Subscriber(listener.broker, [f"{BASE}/command/ack"], client_id="trap") as trap:
        trap.publish(TEXT)
        # Nobody answers there; the trap has its receipt all the same.
        trap.until(lambda: len(trap.received) == 1)
    wait_until(lambda: len(listener.warnings) == 1)
    assert listener.warnings[0].startswith("edge-listen: office takes no alerts: ")
    listener.kill()
    with service:
        listener.start("--forward", file)
        service.wait_for(1)
        until(listener.folder, [("office", "sent", None)])
    assert [request.json["id"] for request in service.requests] == [ID]
    assert len(listener.lines) == 1


def test_request_that_a_kill_cut_off_is_made_again_with_the_same_key(listener: Listener, tmp_path: Path) -> None:
    released = threading.Event()

    def hang_once(_: Request) -> services.Answer:
        if len(service.requests) == 1:
            released.wait(60)
        return services.OK

    with HttpService(hang_once) as service:
        try:
            file = write(tmp_path / "f.toml", f'[office]\nkind = "webhook"\nurl = "{service.url}"')
            listener.start("--forward", file)
            send(listener.broker, TEXT)
            service.wait_for(1)
            listener.kill()
        finally:
            released.set()
        listener.start("--forward", file)
        until(listener.folder, [("office", "sent", None)])
    assert [request.headers["idempotency-key"] for request in service.requests] == [ID, ID]


def test_service_that_hangs_holds_up_neither_receiving_nor_receipts_nor_others(
    listener: Listener, tmp_path: Path
) -> None:
    released = threading.Event()

    def hang(_: Request) -> services.Answer:
        released.wait(60)
        return services.OK

    alerts = [changed(id=f"0196889f-5a3a-7c1e-9b1f-{number:012}", image_topic=None) for number in range(30)]
    with HttpService(hang) as slow, HttpService() as quick:
        try:
            file = write(
                tmp_path / "f.toml",
                f'[slow]\nkind = "webhook"\nurl = "{slow.url}"\n[quick]\nkind = "webhook"\nurl = "{quick.url}"',
            )
            listener.start("--forward", file)
            with Subscriber(listener.broker, [f"{BASE}/command/ack"], client_id="trap") as trap:
                for each in alerts:
                    trap.publish(each)
                trap.until(lambda: len(trap.received) == len(alerts))
            quick.wait_for(len(alerts))
            assert len(slow.requests) == 1
        finally:
            released.set()
        slow.wait_for(len(alerts))
        wait_until(lambda: ask(listener.folder, "SELECT DISTINCT state FROM forwards") == [("sent",)])
    expected = [json.loads(each.payload)["id"] for each in alerts]
    assert [request.json["id"] for request in slow.requests] == expected
    assert [request.json["id"] for request in quick.requests] == expected


@pytest.mark.parametrize("code", [301, 302, 401, 403, 404, 408, 429, 500, 503])
def test_answer_that_may_change_is_waited_for(tmp_path: Path, capsys: pytest.CaptureFixture[str], code: int) -> None:
    answers = [(code, {"Location": "/elsewhere"}, b"not\n now")] * 3 + [services.OK]
    with HttpService(lambda _: answers.pop(0)) as service:
        with forwarding(tmp_path, Webhook(name="office", url=service.url)) as store:
            store.alert(WITHOUT_PICTURE.payload, "trap 7")
            until(tmp_path, [("office", "sent", None)])
        assert [request.path for request in service.requests] == ["/hook"] * 4
    assert ask(tmp_path, "SELECT tries FROM forwards") == [(4,)]
    assert capsys.readouterr().err.splitlines() == [
        f"edge-listen: office takes no alerts: HTTP {code} not now; trying again until it does",
        "edge-listen: office takes alerts again",
    ]


@pytest.mark.parametrize("code", [400, 409, 413, 415, 422])
def test_alert_that_a_service_finds_wrong_is_given_up_and_the_next_is_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], code: int
) -> None:
    answers = [(code, {}, b"no such\x1b species"), services.OK]
    with (
        HttpService(lambda _: answers.pop(0)) as service,
        forwarding(tmp_path, Webhook(name="office", url=service.url)) as store,
    ):
        store.alert(WITHOUT_PICTURE.payload, "trap 7")
        store.alert(changed(id=OTHER, image_topic=None).payload, "trap 7")
        why = f"HTTP {code} no such? species"
        until(tmp_path, [("office", "given up", why), ("office", "sent", None)])
    assert capsys.readouterr().err == f"edge-listen: alert {ID} is not forwarded to office: {why}\n"


def test_alert_that_a_service_chokes_on_does_not_hold_up_the_next(tmp_path: Path) -> None:
    def choke(request: Request) -> services.Answer:
        return (500, {}, b"") if request.json["id"] == ID else services.OK

    with HttpService(choke) as service, forwarding(tmp_path, Webhook(name="office", url=service.url)) as store:
        store.alert(WITHOUT_PICTURE.payload, "trap 7")
        service.wait_for(2)
        store.alert(changed(id=OTHER, image_topic=None).payload, "trap 7")
        until(tmp_path, [("office", "waiting", "HTTP 500 Internal Server Error"), ("office", "sent", None)])


def test_service_is_left_alone_as_long_as_it_asks(tmp_path: Path) -> None:
    times = []

    def answer(_: Request) -> services.Answer:
        times.append(time.monotonic())
        return (429, {"Retry-After": "1"}, b"") if len(times) == 1 else services.OK

    with HttpService(answer) as service, forwarding(tmp_path, Webhook(name="office", url=service.url)) as store:
        store.alert(WITHOUT_PICTURE.payload, "trap 7")
        service.wait_for(2)
        until(tmp_path, [("office", "sent", None)])
    assert times[1] - times[0] >= 1


@pytest.mark.parametrize(("replays", "expected"), [(False, [ID]), (True, [OTHER, ID])])
def test_tests_are_forwarded_and_replays_only_when_asked_for(
    tmp_path: Path, replays: bool, expected: list[str]
) -> None:
    test, replay = changed(test=True, image_topic=None), changed(id=OTHER, replay=True, image_topic=None)
    with (
        HttpService() as service,
        forwarding(tmp_path, Webhook(name="office", url=service.url), replays=replays) as store,
    ):
        for each in (replay, test):
            store.alert(each.payload, "trap 7")
        until(tmp_path, [("office", "sent", None)] * len(expected))
    assert [request.json["id"] for request in service.requests] == expected
    assert service.requests[-1].json["test"] is True


def test_waiting_for_a_service_that_is_not_named_any_more_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with forwarding(tmp_path, Webhook(name="office", url=f"http://127.0.0.1:{free_port()}/")) as store:
        store.alert(WITHOUT_PICTURE.payload, "trap 7")
    capsys.readouterr()
    with forwarding(tmp_path):
        pass
    assert capsys.readouterr().err == (
        "edge-listen: 1 alerts wait for [office], which --forward does not name; they stay in edge-listen.sqlite\n"
    )


def test_gundi_takes_what_it_is_told(tmp_path: Path) -> None:
    with services.Gundi() as gundi:
        service = Gundi(name="er", key=gundi.KEY, event_type="camera_trap", url=gundi.url, seconds_between=0)
        with forwarding(tmp_path, service) as store:
            store.alert(changed(test=True).payload, "trap 7")
            until(tmp_path, [("er", "sent", None)])
    assert gundi.refused == []
    assert gundi.events == [
        {
            "source": "trap 7",
            "title": "Test: Bengal tiger at trap 7",
            "event_type": "camera_trap",
            "recorded_at": "2026-05-01T06:15:30.250+05:30",
            "location": {"lat": 21.5, "lon": 79.25},
            "event_details": {
                "alert_id": ID,
                "species": "Bengal tiger",
                "scientific_name": "Panthera tigris",
                "probability": 0.9877,
                "count": 1,
                "lighting": "day",
                "model": "wildlife 1",
                "replay": False,
                "timestamp_issues": False,
                "test": True,
            },
        }
    ]


def test_gundi_is_asked_no_more_often_than_it_allows_also_over_a_restart(tmp_path: Path) -> None:
    with services.Gundi(seconds_between=0.4) as gundi:
        service = Gundi(name="er", key=gundi.KEY, event_type="camera_trap", url=gundi.url, seconds_between=0.5)
        for name in ("a", "b"):
            with forwarding(tmp_path, service) as store:
                for number in range(2):
                    id = f"0196889f-5a3a-7c1e-9b1f-0000000000{name}{number}"
                    store.alert(changed(id=id, deployment=name).payload, name)
                wait_until(lambda: not ask(tmp_path, "SELECT 1 FROM forwards WHERE state = 'waiting'"))
    assert gundi.refused == []
    assert [event["source"] for event in gundi.events] == ["a", "a", "b", "b"]


def test_gundi_with_a_wrong_key_waits_for_the_right_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with services.Gundi() as gundi:
        made = {"name": "er", "event_type": "camera_trap", "url": gundi.url, "seconds_between": 0}
        with forwarding(tmp_path, Gundi(key="wrong", **made)) as store:
            store.alert(TEXT.payload, "trap 7")
            until(tmp_path, [("er", "waiting", 'HTTP 401 {"message": "Unauthorized"}')])
        assert "wrong" not in capsys.readouterr().err
        with forwarding(tmp_path, Gundi(key=gundi.KEY, **made)):
            until(tmp_path, [("er", "sent", None)])
    assert set(gundi.refused) == {401}


def test_alert_without_a_place_needs_one_for_gundi(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = changed(location=None).payload
    with services.Gundi() as gundi:
        made = {"key": gundi.KEY, "event_type": "camera_trap", "url": gundi.url, "seconds_between": 0}
        with forwarding(
            tmp_path, Gundi(name="bare", **made), Gundi(name="placed", latitude=1.0, longitude=-2.0, **made)
        ) as store:
            store.alert(text, "trap 7")
            why = "it says no place; give [bare] a latitude and longitude for such alerts"
            until(tmp_path, [("bare", "given up", why), ("placed", "sent", None)])
    assert capsys.readouterr().err == f"edge-listen: alert {ID} is not forwarded to bare: {why}\n"
    assert [event["location"] for event in gundi.events] == [{"lat": 1.0, "lon": -2.0}]


def test_hopeless_alerts_cost_no_minute_each(tmp_path: Path) -> None:
    made = {"key": "k", "event_type": "camera_trap", "url": f"http://127.0.0.1:{free_port()}/"}
    with forwarding(tmp_path, Gundi(name="er", **made)) as store:
        for number in range(3):
            text = changed(id=f"0196889f-5a3a-7c1e-9b1f-{number:012}", location=None)
            store.alert(text.payload, "trap 7")
        wait_until(lambda: ask(tmp_path, "SELECT count(*) FROM forwards WHERE state = 'given up'") == [(3,)])


class Recorder:
    """A service that wants pictures, and remembers what it got."""

    name, seconds_between = "recorder", 0.0

    def __init__(self, picture_s: float) -> None:
        self.picture_s = picture_s
        self.items: list[Item] = []

    def send(self, item: Item) -> None:
        self.items.append(item)
        if len(self.items) == 1:
            raise LaterError("not now")


def test_picture_is_waited_for_and_not_for_long(tmp_path: Path) -> None:
    patient, hasty = Recorder(30), Recorder(0.1)
    with forwarding(tmp_path / "patient", patient) as store:
        store.alert(TEXT.payload, "trap 7")
        store.picture(PICTURE.payload, ID, "trap 7")
        store.alert(TEXT.payload, "trap 7")
        wait_until(lambda: len(patient.items) == 2)
    with forwarding(tmp_path / "hasty", hasty) as store:
        store.alert(TEXT.payload, "trap 7")
        wait_until(lambda: len(hasty.items) == 2)
    assert [item.picture is not None and item.picture.read_bytes() for item in patient.items] == [PICTURE.payload] * 2
    assert [(item.picture, item.tries) for item in hasty.items] == [(None, 0), (None, 1)]


def test_apprise_tells_with_the_picture(listener: Listener, tmp_path: Path) -> None:
    require(find_spec("apprise") is not None, "apprise")
    with HttpService() as service:
        url = f"json://127.0.0.1:{service.port}/token"
        listener.start("--forward", write(tmp_path / "f.toml", f'[phones]\nkind = "apprise"\nurl = "{url}"'))
        send(listener.broker, TEXT, PICTURE)
        [request] = service.wait_for(1)
        until(listener.folder, [("phones", "sent", None)])
    assert request.json["title"] == "Bengal tiger at trap 7"
    assert request.json["message"] == "2026-05-01T06:15:30.250+05:30; 99 % sure; 21.5, 79.25"
    [attached] = request.json["attachments"]  # type: ignore[misc]
    assert attached["filename"].endswith(f"{ID}.jpg")
    assert listener.warnings == []


@IMGHDR
def test_apprise_that_takes_nothing_is_asked_again_without_naming_its_address(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    require(find_spec("apprise") is not None, "apprise")
    from edge.listen.notify import Apprise

    answers = [(500, {}, b"")] * 2 + [services.OK]
    with HttpService(lambda _: answers.pop(0)) as service:
        made = Apprise(name="phones", url=f"json://127.0.0.1:{service.port}/secret")
        assert "secret" not in repr(made)
        with forwarding(tmp_path, made) as store:
            store.picture(PICTURE.payload, ID, "trap 7")
            store.alert(TEXT.payload, "trap 7")
            until(tmp_path, [("phones", "sent", None)])
    # In case it is the picture that is not taken.
    assert [len(request.json["attachments"]) for request in service.requests] == [1, 1, 0]  # type: ignore[arg-type]
    assert "secret" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected a table like [office] for each service, found none"),
        ("[", "expected a TOML file, found "),
        ("x = 1", "expected a table like [office] for each service, found the key x"),
        ("[a]", "[a]: expected kind = \"webhook\", \"apprise\" or \"gundi\", found None"),
        ('[a]\nkind = "webhook"', "[a]: expected url, found none"),
        ('[a]\nkind = "gundi"', "[a]: expected key and event_type, found none"),
        ('[a]\nkind = "webhook"\nurl = "https://x/SECRET"\nspeed = 1', "[a]: expected url, authorization, plain,"),
        ('[a]\nkind = "webhook"\nurl = 7', "[a]: expected url to be a text, found something else"),
        ('[a]\nkind = "webhook"\nurl = "http://x/SECRET"', "[a]: expected a url with https://"),
        ('[a]\nkind = "webhook"\nurl = "https://u:SECRET@x"', "[a]: expected a url without user and password"),
        ('[a]\nkind = "webhook"\nurl = "ftp://x/SECRET"', "[a]: expected a url like https://example.org/hook"),
        ('[a]\nkind = "webhook"\nurl = "https://[SECRET"', "[a]: expected a url like https://example.org/hook"),
        (
            '[a]\nkind = "webhook"\nurl = "https://x"\nauthorization = "SECRET\\n"',
            "[a]: expected authorization in printable ASCII letters of one line",
        ),
        (
            '[a]\nkind = "gundi"\nkey = "SECRET"\nevent_type = "x"\nlatitude = 91\nlongitude = 1',
            "[a]: expected a latitude of -90 to 90, found 91",
        ),
        (
            '[a]\nkind = "gundi"\nkey = "SECRET"\nevent_type = "x"\nlatitude = 9',
            "[a]: expected latitude and longitude, or neither",
        ),
        (
            '[a]\nkind = "gundi"\nkey = "SECRET"\nevent_type = "x"\nseconds_between = true',
            "[a]: expected seconds_between to be a number",
        ),
    ],
)  # fmt: skip
def test_wrong_file_is_refused_in_a_line_without_secrets(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, message: str
) -> None:
    file = write(tmp_path / "f.toml", text)
    assert main(["--forward", file, "--folder", str(tmp_path / "alerts")]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"edge-listen: --forward {file}: {message}")
    assert err.count("\n") == 1
    assert "SECRET" not in err


@IMGHDR
def test_address_that_apprise_does_not_know_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    require(find_spec("apprise") is not None, "apprise")
    file = write(tmp_path / "f.toml", '[phones]\nkind = "apprise"\nurl = "SECRET"')
    assert main(["--forward", file, "--folder", str(tmp_path / "alerts")]) == 2
    err = capsys.readouterr().err
    expected = "[phones]: expected a url of Apprise, as ntfys://ntfy.sh/topic, found another"
    assert err == f"edge-listen: --forward {file}: {expected}\n"


def test_file_that_others_may_read_is_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "f.toml"
    write(file, '[office]\nkind = "webhook"\nurl = "https://example.org"')
    read_services(file)
    assert caplog.messages == []
    file.chmod(0o644)
    read_services(file)
    assert caplog.messages == [f"{file} can be used by others on this computer (mode 644); type `chmod 600 {file}`"]


def test_plain_http_is_for_this_machine_or_whoever_says_so(tmp_path: Path) -> None:
    for url, plain in (("http://localhost/x", ""), ("http://[::1]:80/x", ""), ("http://example.org/x", "plain = true")):
        file = tmp_path / "f.toml"
        write(file, f'[a]\nkind = "webhook"\nurl = "{url}"\n{plain}')
        assert [each.name for each in read_services(file)] == ["a"]
